"""What `python -m build` packs is all that a user needs: used from an empty folder, with no checkout in sight."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKED = ("augment", "reid_eval", "recipes", "examples")
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the tree, built without a network: by the setuptools that are here."""
    pytest.importorskip("build", reason="python -m build is not installed")
    copy = tmp_path_factory.mktemp("tree") / "patn-augment"
    for name in PACKED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, copy / name)
    out = copy.parent / "dist"
    line = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=copy.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel is unpacked, as pip does it; what it depends on is taken from this environment."""
    place = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    return place


def command(installed: Path, here: Path, *words: str) -> str:
    """What a command says, run in an empty folder with nothing of the checkout on the path."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PATN_AUGMENT_CACHE": str(here / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=here, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_recipes_weights_and_examples_are_inside(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"augment/recipes/{path.relative_to(ROOT / 'recipes').as_posix()}"
              for path in (ROOT / "recipes").rglob("*") if path.is_file() and path.suffix != ".pyc"}  # fmt: skip
    wanted |= {f"augment/weights/{path.name}" for path in (ROOT / "augment/weights").glob("*")
               if path.suffix in (".safetensors", ".md")}  # fmt: skip
    wanted |= {f"augment/examples/{path.name}" for path in (ROOT / "examples").glob("*") if path.is_file()}
    wanted |= {path.relative_to(ROOT).as_posix()
               for package in ("augment", "reid_eval") for path in (ROOT / package).rglob("*.py")}  # fmt: skip
    wanted |= {"augment/py.typed", "reid_eval/py.typed", "augment/pose/library_data/gait.csv"}
    assert sorted(wanted - names) == []
    assert not [name for name in names if name.startswith(("tests/", "recipes/", "examples/"))]


def test_it_works_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """Its own files, not the checkout's: weights, recipes, the pose library, drawing, generating, an example."""
    where = command(installed, tmp_path, "augment.examples.plain_pytorch", "--help")
    assert "usage" in where
    assert command(installed, tmp_path, "augment", "--version").startswith("patn-augment, version ")
    script = "import augment, augment.runs as r; print(augment.__file__, r.recipes_folder())"
    (tmp_path / "where.py").write_text(script)
    assert command(installed, tmp_path, "where").split() == [
        str(installed / "augment/__init__.py"), str(installed / "augment/recipes")
    ]  # fmt: skip
    small = ["--train-ids", "2", "--test-ids", "1", "--images-per-id", "4", "--cameras", "2"]
    command(installed, tmp_path, "augment", "synth", "--out", "world", *small)
    poses = ["--mode", "add", "--pose-source", "library"]
    said = command(installed, tmp_path, "augment", "generate", "world", "--ratio", "0.5", "--out", "out", *poses)
    assert "Wrote out: 8 real and 4 generated" in said
    assert "all as the manifest says" in command(installed, tmp_path, "augment", "verify", "out")
    said = command(installed, tmp_path, "augment", "table", "table_quick", "--dry-run", "--set", "backbones=[resnet50]",
                   "--set", "data={source: synth, train_ids: 4, test_ids: 3, images_per_id: 4}")  # fmt: skip
    assert "trainings to go" in said


def test_versions_of_python_are_those_that_are_run() -> None:
    """What is claimed is what the workflow runs."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    claimed = [
        line.rpartition(" ")[2] for line in setup["metadata"]["classifiers"].split("\n") if ":: Python ::" in line
    ]
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert claimed == job["strategy"]["matrix"]["python"]
    assert setup["options"]["python_requires"] == f">={claimed[0]}"
