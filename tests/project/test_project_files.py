"""Files that other programs read: GitHub, pre-commit, and whoever cites."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def test_ci_runs_make_test_and_nothing_else() -> None:
    workflow = read(".github/workflows/ci.yml")
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["make test"]
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in used), used
    python = next(step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/setup-python"))
    assert python["cache"] == "pip"
    assert all((ROOT / name).is_file() for name in python["cache-dependency-path"].split())
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_pre_commit_checks_what_make_lint_checks() -> None:
    config = read(".pre-commit-config.yaml")
    hooks = {hook["id"] for repo in config["repos"] for hook in repo["hooks"]}
    assert {
        "ruff-check",
        "ruff-format",
        "mypy",
        "import-linter",
        "end-of-file-fixer",
        "check-added-large-files",
    } <= hooks
    ruff = next(repo["rev"] for repo in config["repos"] if repo["repo"].endswith("ruff-pre-commit"))
    assert f"ruff=={ruff.removeprefix('v')}" in (ROOT / "constraints.txt").read_text().splitlines()
    lint = (ROOT / "Makefile").read_text()
    for repo in config["repos"]:
        for hook in repo["hooks"]:
            if repo["repo"] == "local":
                assert Path(hook["entry"]).name in lint


def test_the_citation_names_this_version_and_the_paper() -> None:
    citation = read("CITATION.cff")
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["title"] == setup["metadata"]["name"]
    assert str(citation["version"]) == setup["metadata"]["version"]
    assert citation["license"] == setup["metadata"]["license"]
    (paper,) = citation["references"]
    assert paper["title"] == "Progressive Pose Attention Transfer for Person Image Generation"
    assert [author["family-names"] for author in paper["authors"]] == ["Zhu", "Huang", "Shi", "Yu", "Wang", "Bai"]
    assert paper["year"] == 2019
