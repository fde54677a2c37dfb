"""What a new user stumbled over, each once: a word that was missing, a file written over, a suggestion that failed."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn import draw_dataset, hashes
from typed import run

from augment.estimators import build
from augment.pose.keypoints import Keypoints, read_keypoints, write_keypoints
from reid_eval.alike import alike, did_you_mean, unknown_keys
from reid_eval.datasets import read_dataset


def fails(capsys: pytest.CaptureFixture[str], pattern: str, *arguments: object) -> None:
    """The command ends with exit code 2 and one line."""
    capsys.readouterr()
    assert run(*arguments) == 2
    told = capsys.readouterr().err
    assert re.search(pattern, told), told
    assert len(told.strip().splitlines()) == 1, told


def suggested(text: str) -> list[list[str]]:
    """The commands that a text says come next, as a shell would split them."""
    found = re.findall(r"^(?:Next: |  )(patn-augment .*)$", text, re.MULTILINE)
    return [shlex.split(line)[1:] for line in found]


# --- names that are nearly right ---------------------------------------------------------------------------------


def test_a_name_that_is_nearly_right_is_guessed() -> None:
    assert alike("ResNet50", ["resnet50", "inception_v2"]) == ["resnet50"]
    assert alike("osnet_x1_0", ["torchreid:osnet_x0_25", "torchreid:osnet_x1_0"]) == ["torchreid:osnet_x1_0"]
    assert alike("patn-synth-tinny", ["patn-synth", "patn-synth-tiny"]) == ["patn-synth-tiny"]
    assert alike("train.lrr", ["lr", "seed"]) == ["lr"]
    assert alike("zebra", ["lr", "seed"]) == []
    assert alike("x" * 100_000, ["x" * 100]) == []
    assert did_you_mean("batchsize", ["batch_size"]) == "did you mean batch_size? "
    many = unknown_keys([f"batch_siz{number}" for number in range(1000)], ["batch_size"])
    assert many.count("did you mean") == 20, "however many a file has"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("reid-eval", "--backbone", "osnet_x1_0"), "did you mean torchreid:osnet_x1_0"),
        (("reid-eval", "--backbone", "resnet-50"), "did you mean resnet50"),
        (("generate", "--ratio", "0.5", "--weights", "patn-synth-tinny"), "did you mean patn-synth-tiny"),
        (("generate", "--ratio", "0.5", "--weights", "entry:wrap"), "did you mean warp"),
        (("train", "--recipe", "patn-finetune", "--out", "x"), "did you mean patn_finetune"),
        (("train", "--recipe", "finetune", "--out", "x", "--set", "train.batchsize=4"), "did you mean batch_size"),
        (
            ("train", "--recipe", "patn_synth_tiny", "--out", "x", "--set", "data.identitys=1"),
            "did you mean identities",
        ),
        (("table", "table_quik", "--out", "x"), "did you mean table_quick"),
        (("table", "table_quick", "--out", "x", "--set", "seed=[0]"), "did you mean seeds"),
        (("reid-eval", "--set", "batchsize=4"), "did you mean batch_size"),
        (("reid-eval", "--recipe", "reid_bott"), "did you mean reid_bot"),
    ],
)
def test_commands_guess(here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], meant: str) -> None:
    fails(capsys, meant.replace("?", r"\?"), *arguments)


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [("generate", "--ratio", "half"), ("generate", "--rato", "0.5"), ("sheet",), ("generat",), ("gate", "nowhere")],
)
def test_an_error_of_usage_is_one_line(here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple) -> None:
    fails(capsys, r"^Error: .*\(see patn-augment( \w+)? --help\)$", *arguments)


def test_a_preset_beside_a_recipe_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, "--recipe says already what --preset would", "reid-eval", "--recipe", "reid_ide", "--preset", "bot")


def test_no_keypoints_names_the_command_that_makes_them(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(tiny_root, here / "my photos"))
    for file in root.glob("*.csv"):
        file.unlink()
    capsys.readouterr()
    assert run("generate", root, "--ratio", 0.5, "--weights", weights) == 2
    told = capsys.readouterr().err
    made = re.search(r"`patn-augment (poses .*?)`", told)
    assert made, told
    assert run(*shlex.split(made[1])) in (0, 2)  # the shipped estimator may find nobody in drawn sticks
    assert "Estimator: " in capsys.readouterr().out


# --- nothing is written over, and not where it does harm -----------------------------------------------------------


def test_a_plan_is_not_written_over(here: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("plan", "--out", here / "plan.csv", tiny_root, "--ratio", 0.5)
    assert run(*command) == 0
    (here / "plan.csv").write_text("mine")
    fails(capsys, "is there already", *command)
    assert (here / "plan.csv").read_text() == "mine"


def test_generate_looks_at_its_place_first(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the weights are opened and the images read."""
    command = ("generate", tiny_root, "--ratio", 0.5, "--weights", weights, "--out")
    assert run(*command, here / "out") == 0
    (here / "else").mkdir()
    (here / "else" / "thesis.tex").write_text("mine")
    (here / "file").write_text("mine")

    def too_late(*_: object, **__: object) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr("augment.generators.open.open_generator", too_late)
    fails(capsys, r"holds an augmented folder already, finished: .* \(--resume\)", *command, here / "out")
    fails(capsys, r"is not empty and no augmented folder \(thesis.tex\)", *command, here / "else")
    fails(capsys, "is a file: name a folder", *command, here / "file")
    fails(capsys, "lies in the data set .*: name a place outside", *command, tiny_root / "new")
    assert not (tiny_root / "new").exists()


def test_pictures_stay_out_of_folders_that_are_read(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = one_folder_an_identity(tiny_root, here / "people")
    out = here / "out"
    assert run("generate", root, "--ratio", 0.5, "--weights", weights, "--out", out) == 0
    before = hashes(here / "people"), hashes(out)
    for command in (
        ("sheet", out, "--out", out / "sheet.png"),
        ("gate", out, "--sheet", out / "gate.png"),
        ("quality", out, "--pose-space", out / "space.png"),
        ("plan", "--out", here / "p.csv", root, "--ratio", 0.5, "--pose-space", root / "space.png"),
    ):
        fails(capsys, "be taken for a part of it: name a place outside", *command)
    assert (hashes(here / "people"), hashes(out)) == before
    assert run("verify", out) == 0
    assert len(read_dataset(root).train) == 19


def test_a_second_contact_sheet_has_a_number(tmp_path: Path) -> None:
    from augment.estimators.folder_images import folder_images, sheet_place

    root = one_folder_an_identity(draw_dataset(tmp_path / "market", {2: 3}, {101: 2}), tmp_path / "people")
    first = sheet_place(folder_images(root), root / "keypoints-synth.csv")
    assert first == tmp_path / "people.keypoints-synth.sheet.png"
    first.write_bytes(b"mine")
    second = sheet_place(folder_images(root), root / "keypoints-synth.csv")
    assert second == tmp_path / "people.keypoints-synth.sheet-2.png"


def test_a_dry_run_of_a_table_wants_no_folder_and_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = (
        "--set",
        "data={source: synth, train_ids: 4, test_ids: 3, images_per_id: 4}",
        "--set",
        "backbones=[resnet50]",
    )
    fails(capsys, "give --out", "table", "table_quick", *small)
    assert run("table", "table_quick", "--dry-run", *small) == 0
    assert "trainings to go: about" in capsys.readouterr().out
    assert run("table", "table_quick", "--dry-run", "--out", here / "t", *small) == 0
    assert [path.name for path in here.iterdir()] == ["cache"]


def test_a_ratio_of_nothing_is_said_to_be_a_copy(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("generate", tiny_root, "--ratio", 0, "--weights", weights, "--out", here / "out") == 0
    assert "nothing to generate, so that what is written is a copy of the data set" in capsys.readouterr().out


# --- poses -------------------------------------------------------------------------------------------------------


def test_the_best_estimator_that_is_here_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed: set[str] = set()
    monkeypatch.setattr(build, "find_spec", lambda name: object() if name in installed else None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name, why = build.best_installed()
    assert name == "synth"
    assert "needs the extra rtmpose" in why
    installed.add("mediapipe")
    assert build.best_installed()[0] == "mediapipe"
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    (tmp_path / "hub/checkpoints/keypointrcnn_resnet50_fpn_coco-fc266e95.pth").touch()
    assert build.best_installed()[0] == "keypointrcnn"
    installed.update({"rtmlib", "onnxruntime"})
    assert build.best_installed()[0] == "keypointrcnn", "RTMPose's model would have to be downloaded"
    (tmp_path / "hub/checkpoints/rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504.onnx").touch()
    assert build.best_installed()[0] == "rtmpose"


def test_weights_of_no_estimator(
    here: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str], weights: Path
) -> None:
    fails(
        capsys,
        "--estimator-weights is of an estimator: give --estimator",
        "poses",
        tiny_root,
        "--estimator-weights",
        weights,
    )


# --- what is suggested works -------------------------------------------------------------------------------------


def one_folder_an_identity(market: Path, target: Path) -> Path:
    """The training images of a Market-1501 folder as one folder an identity, with joints and without a test split."""
    for image in sorted((market / "bounding_box_train").glob("*.jpg")):
        place = target / f"person {image.name[:4]}" / image.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, place)
    shutil.copy(market / "market-annotation-train.csv", target / "keypoints-mine.csv")
    return target


def test_suggestions_carry_the_options_that_matter(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A data set whose name has a space, joints and library elsewhere, a layout that is said: the words still work."""
    root = Path(shutil.copytree(tiny_root, here / "my data"))
    tables = [read_keypoints(file) for file in sorted(root.glob("*.csv"))]
    joints = here / "my joints.csv"
    write_keypoints(joints, Keypoints((*tables[0].names, *tables[1].names), np.concatenate([t.xy for t in tables])))
    for file in root.glob("*.csv"):
        file.unlink()
    library = here / "library.csv"
    shutil.copy(tiny_root / "market-annotation-test.csv", library)
    about = (root, "--keypoints", joints, "--layout", "market1501")
    poses = ("--pose-source", "library", "--library", library)
    assert run("plan", "--out", here / "a plan.csv", *about, *poses, "--ratio", 0.5) == 0
    (carry_out,) = suggested(capsys.readouterr().out)
    assert run(*carry_out, "--weights", weights, "--out", here / "my out") == 0
    look, evaluate = suggested(capsys.readouterr().out)
    assert run(*look) == 0
    assert run(*evaluate, "--epochs", 1) == 0
    capsys.readouterr()
    assert run("calibrate-gate", root, "--out", here / "gate.json", "--keypoints", joints) == 0
    (gated,) = suggested(capsys.readouterr().out)
    assert run(*gated, "--weights", weights, "--out", here / "gated") == 0


def test_without_a_test_split_no_evaluation_is_suggested(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = one_folder_an_identity(tiny_root, here / "people")
    assert run("generate", root, "--ratio", 0.5, "--weights", weights, "--out", here / "out") == 0
    said = capsys.readouterr().out
    assert [words[0] for words in suggested(said)] == ["sheet"]
    assert "has no query and gallery, so nothing here can evaluate it" in said


def test_poses_suggest_what_uses_them(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(tiny_root, here / "photos"))
    program = here / "program.py"
    program.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    image = json.loads(line)['image']\n"
        f"    print(json.dumps({{'image': image, 'joints': {[[*map(float, xy), 1.0] for xy in STANDING_18]}}}))\n"
    )
    command = (
        "poses",
        root,
        "--estimator",
        f"command:{shlex.quote(__import__('sys').executable)} {program}",
        "--height",
        128,
    )
    assert run(*command) == 0
    said = capsys.readouterr().out
    assert "has market-annotation-test.csv of its own" in said
    (made,) = suggested(said)
    assert "--keypoints" in made
    assert run(*made, "--weights", weights, "--out", here / "a") == 0


STANDING_18 = [list(map(int, xy)) for xy in __import__("drawn").standing()]


# --- Python ------------------------------------------------------------------------------------------------------


def test_the_name_of_a_generator_is_no_generator() -> None:
    import augment
    from reid_eval.runtime import InputError

    for name in ("patn-synth-tiny", Path("x.safetensors")):
        with pytest.raises(InputError, match=r"is the name of a generator, .*augment\.load_generator"):
            augment.PoseTransfer(name)  # type: ignore[arg-type]


def test_a_notebook_is_not_flooded(tiny_root: Path) -> None:
    import augment

    planned = augment.plan_folder(tiny_root, ratio=0.5)
    for one in (planned, planned.source, planned.source.data, planned.source.keypoints):
        assert len(repr(one)) < 400
        assert "\n" not in repr(one)
    assert "generate" in repr(planned)
