"""Files that other programs read: GitHub, pre-commit, and whoever cites."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import subprocess
import sys
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


def site_module() -> Any:
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_docs_build_strictly_and_every_page_is_in_the_menu(tmp_path: Path) -> None:
    site = site_module()
    assert site.stage(tmp_path / "pages") == len(site.pages())
    config = (ROOT / "mkdocs.yml").read_text()
    assert "docs_dir: build/site\n" in config
    assert "site_dir: build/html\n" in config
    config = config.replace("build/site", str(tmp_path / "pages")).replace("build/html", str(tmp_path / "html"))
    (tmp_path / "mkdocs.yml").write_text(config)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(tmp_path / "mkdocs.yml")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    _, _, left_out = done.stderr.partition('not included in the "nav" configuration:')
    names = re.findall(r"^  - (\S+)$", left_out, re.MULTILINE)
    assert all(re.fullmatch(r"docs/results/\w+/[\w-]+\.md", name) for name in names), names  # beside an index that is
    assert "generate" in (tmp_path / "html" / "index.html").read_text()


def test_the_site_shows_links_to_folders_as_text_and_takes_what_pages_link_to(tmp_path: Path) -> None:
    site = site_module()
    wanted: set[Path] = set()
    text = "[plan](../augment/plan), [names](../reid_eval/limits.py), [lock](../.importlinter), [us](../README.md#more)"
    assert site.rewrite(ROOT / "docs" / "table.md", text, wanted) == (
        "plan, [names](../reid_eval/limits.py), lock, [us](../index.md#more)"
    )
    assert wanted == {ROOT / "reid_eval" / "limits.py", ROOT / "README.md"}
