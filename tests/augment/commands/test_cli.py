"""The command line: what a user types, what they read, which exit code they get."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from drawn import hashes
from gated import Blind
from typed import run

from augment.commands.main import cli
from augment.folder.manifest import read_manifest
from augment.pose.keypoints import Keypoints, read_keypoints, write_keypoints
from reid_eval import load_model
from reid_eval.datasets import read_dataset

REPO = Path(__file__).resolve().parents[3]


def test_help_and_version_need_nothing_heavy() -> None:
    code = (
        "import sys, augment.commands.main\n"
        "try: augment.commands.main.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'PIL', 'cv2', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "reid-eval" in done.stdout
    assert run("--version") == 0


def test_generate_verify_sheet(here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = here / "out"
    assert run("generate", tiny_root, "--ratio", 0.5, "--out", out, "--weights", weights) == 0
    said = capsys.readouterr().out
    assert re.search(r"Wrote .*out: \d+ real and \d+ generated training images", said)
    facts = json.loads((here / "out.run.json").read_text())
    assert facts["data"] == str(tiny_root)
    assert run("verify", out) == 0
    assert run("sheet", out) == 0
    assert (here / "out.sheet.png").stat().st_size > 10_000
    victim = next((out / "bounding_box_train").glob("*_gen*.jpg"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    assert run("verify", out) == 1
    assert victim.name in capsys.readouterr().out


def test_the_same_command_twice_gives_the_same_folder(here: Path, tiny_root: Path, weights: Path) -> None:
    for name in ("a", "b"):
        command = ("generate", tiny_root, "--ratio", 0.4, "--out", here / name, "--weights", weights)
        assert run(*command, "--seed", 3, "--batch-size", 5 if name == "a" else 64) == 0
    assert hashes(here / "a") == hashes(here / "b")
    assert run("generate", tiny_root, "--ratio", 0.4, "--out", here / "c", "--weights", weights, "--seed", 4) == 0
    assert hashes(here / "c") != hashes(here / "a")


@pytest.mark.parametrize("source", ["dataset", "identity", "camera", "diverse"])
def test_every_pose_source_and_add(here: Path, tiny_root: Path, weights: Path, source: str) -> None:
    command = (
        "generate",
        tiny_root,
        "--ratio",
        1.0,
        "--mode",
        "add",
        "--out",
        here / "out",
        "--weights",
        weights,
    )
    assert run(*command, "--pose-source", source) == 0
    assert len(list((here / "out" / "bounding_box_train").glob("*_gen*.jpg"))) == 19  # 9 + 6 + 4 images, doubled


def test_a_library_of_poses(here: Path, tiny_root: Path, weights: Path) -> None:
    library = tiny_root / "market-annotation-test.csv"
    command = ("generate", tiny_root, "--ratio", 0.5, "--out", here / "out", "--weights", weights)
    assert run(*command, "--pose-source", "library", "--library", library) == 0


def test_synth_writes_a_data_set_that_generate_reads(here: Path, weights: Path) -> None:
    assert (
        run("synth", "--out", here / "world", "--train-ids", 2, "--test-ids", 1, "--images-per-id", 4, "--cameras", 2)
        == 0
    )
    assert run("generate", here / "world", "--ratio", 0.5, "--out", here / "out", "--weights", weights) == 0


def test_reid_eval_names_what_it_does(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The newest folder is evaluated against what it was made of; both scores and the gain are printed and kept."""
    assert run("generate", tiny_root, "--ratio", 0.5, "--weights", weights) == 0
    assert run("reid-eval", "--backbone", "resnet50", "--epochs", 1, "--save", here / "nets") == 0
    said = capsys.readouterr().out
    assert sorted(path.name for path in (here / "nets").glob("*.safetensors")) == [
        "resnet50-augmented-seed0.safetensors", "resnet50-original-seed0.safetensors"
    ]  # fmt: skip
    assert {path.suffix for path in (here / "nets").iterdir()} == {
        ".safetensors",
        ".npz",
        ".json",
        ".csv",
        ".png",
        ".svg",
    }
    network = load_model(here / "nets" / "resnet50-augmented-seed0.safetensors")
    assert network.people == tuple(sorted(set(read_dataset(tiny_root).train["pid"])))
    assert run("reid-eval", "--backbone", "resnet50", "--epochs", 1, "--save", here / "nets") == 2
    assert "give another folder" in capsys.readouterr().err
    plain = (
        "reid-eval",
        tiny_root,
        "--augmented",
        tiny_root,
        "--set",
        "max_steps=1",
        "--set",
        "size=[64,32]",
    )
    assert run(*plain) == 0
    assert "has no generated image, so there is nothing to gain" in capsys.readouterr().out
    assert "using the newest augmented folder" in said
    assert "gain" in said
    result = json.loads((here / "runs" / "reid-eval-0001" / "result.json").read_text())
    assert result["original"][0]["n_generated"] == 0
    assert result["augmented"][0]["n_generated"] > 0
    assert result["original"][0]["steps"] == result["augmented"][0]["steps"]


def test_train_resume_and_use(here: Path, tiny_root: Path) -> None:
    changes = (
        "data.identities=4",
        "data.cameras=2",
        "train.constant_steps=2",
        "train.decay_steps=0",
        "train.batch_size=2",
        "train.gan_start=1",
        "train.overrides={ngf: 4, n_blocks: 2, dropout: 0.0}",
        "train.ndf=4",
        "train.precision=float32",
    )
    sets = [word for change in changes for word in ("--set", change)]
    command = ("train", "--recipe", "patn_synth_tiny", "--out", here / "run", *sets)
    assert run(*command, "--max-seconds", 1) == 0
    assert run(*command, "--resume") == 0
    made = here / "run" / "generator.safetensors"
    assert run("generate", tiny_root, "--ratio", 0.5, "--out", here / "out", "--weights", made) == 0


# --- bad input: the message and the exit code --------------------------------------------------------------------


def _copy(root: Path, target: Path) -> Path:
    return Path(shutil.copytree(root, target))


def _bad_image(root: Path, content: bytes) -> str:
    path = sorted((root / "bounding_box_train").glob("*.jpg"))[2]
    path.write_bytes(content)
    return path.name


def _fails(capsys: pytest.CaptureFixture[str], pattern: str, *arguments: object) -> None:
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert re.search(pattern, captured.err), captured.err
    assert "Traceback" not in captured.err
    assert len(captured.err.strip().splitlines()) <= 4  # click's own errors show usage lines first


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (("generate",), "give --ratio, such as --ratio 0.5"),
        (("generate", "--ratio", "half"), "'half' is not a valid float"),
        (("generate", "--ratio", -0.1), "-0.1 is not in the range"),
        (("generate", "nowhere", "--ratio", 0.5), "'nowhere' does not exist"),
        (("generate", "--ratio", 0.5, "--resume"), "--resume and --shard need --out"),
        (("generate", "--ratio", 0.5, "--shard", "two"), "write I/N, such as 0/4"),
        (("reid-eval", "--backbone", "resnet5"), "resnet5.*resnet50.*inception_v2"),
        (
            ("train", "--recipe", "nothing", "--out", "x"),
            "no recipe 'nothing': give a file, or one of .*patn_synth_tiny",
        ),
        (
            ("train", "--recipe", "patn_synth_tiny", "--out", "x", "--set", "train.lrr=1"),
            "unknown keys under train: lrr",
        ),
        (
            ("train", "--recipe", "patn_synth_tiny", "--out", "x", "--set", "data.people=1"),
            "data.synth.people|data.*people",
        ),
        (("train", "--recipe", "patn_synth_tiny", "--out", "x", "--set", "lr"), "write KEY=VALUE"),
        (("train", "--recipe", "patn_synth_tiny", "--out", "x", "--set", "train.lr={"), "the value is not YAML"),
        (
            ("train", "--recipe", "patn_synth_tiny", "--out", "x", "--set", "train.batch_size=abc"),
            "batch_size: .*integer",
        ),
        (("generate", "--ratio", 0.5, "--shard", "0/2"), "--resume and --shard need --out"),
        (("synth", "--out", "w", "--cameras", 1), "two cameras and four images"),
        (("verify", "."), "manifest"),
    ],
)
def test_bad_options(here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple, pattern: str) -> None:
    _fails(capsys, pattern, *arguments)


def test_bad_folders(here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def attempt(pattern: str, root: Path, *more: object) -> None:
        _fails(
            capsys,
            pattern,
            "generate",
            root,
            "--ratio",
            0.5,
            "--out",
            here / "o",
            "--weights",
            weights,
            *more,
        )

    (here / "empty").mkdir()
    attempt("empty", here / "empty")
    zero = _copy(tiny_root, here / "zero")
    attempt(_bad_image(zero, b"") + r".*0 bytes.*delete", zero)
    torn = _copy(tiny_root, here / "torn")
    name = _bad_image(
        torn, (torn / "bounding_box_train" / "0002_c1s1_000001_00.jpg").read_bytes()[:200] if False else b"\xff\xd8\xff"
    )
    attempt(name, torn)
    unsplit = _copy(tiny_root, here / "unsplit")
    shutil.rmtree(unsplit / "query")
    attempt("query", unsplit, "--layout", "market1501")
    odd = _copy(tiny_root, here / "odd")
    (odd / "bounding_box_train" / "holiday.jpg").write_bytes((next((odd / "query").glob("*.jpg"))).read_bytes())
    attempt("holiday.jpg", odd)
    shared = _copy(tiny_root, here / "shared")
    shutil.copy(next((shared / "bounding_box_train").glob("0002*.jpg")), shared / "query" / "0002_c1s1_009999_00.jpg")
    attempt("identit.*2", shared)
    bare = _copy(tiny_root, here / "bare")
    for file in bare.glob("*.csv"):
        file.unlink()
    attempt(r"no keypoints.*name a file of keypoints \(--keypoints\)", bare)
    attempt("ratio 1.5.*0 to 1", tiny_root, "--ratio", 1.5)
    attempt("other than augment|is not", tiny_root, "--device", "toaster")
    if not torch.cuda.is_available():
        attempt(r"0 CUDA devices; use the device cpu \(--device\)", tiny_root, "--device", "cuda")
    (here / "o").mkdir(exist_ok=True)
    (here / "o" / "precious.txt").write_text("mine")
    attempt("o", tiny_root)
    assert (here / "o" / "precious.txt").read_text() == "mine"


def test_bad_keypoints(here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = here / "broken.csv"
    lines = (tiny_root / "market-annotation-train.csv").read_text().splitlines()
    broken.write_text("\n".join([*lines[:3], lines[3].replace("[", "[oops, ", 1)]))
    command = ("generate", tiny_root, "--ratio", 0.5, "--keypoints", broken, "--weights", weights)
    _fails(capsys, r"broken.csv: row 4, column 2", *command)


def test_keypoints_of_other_images(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The wrong file must not give a folder with nothing generated; rows for larger images must not pass."""
    command = ("generate", tiny_root, "--ratio", 0.5, "--weights", weights, "--keypoints")
    other = here / "other.csv"
    text = (tiny_root / "market-annotation-train.csv").read_text()
    other.write_text(text.replace("_c1s1_", "_c9s1_").replace("_c2s1_", "_c9s2_").replace("_c3s1_", "_c9s3_"))
    _fails(
        capsys,
        r"none of the \d+ training images.*has a row in the keypoints, whose \d+ rows name",
        *command,
        other,
    )
    keypoints = read_keypoints(tiny_root / "market-annotation-train.csv")
    write_keypoints(other, Keypoints(keypoints.names, keypoints.xy * 3))
    _fails(capsys, r"images have joints outside of them.*64x128 pixels.*another size", *command, other)


def test_rows_and_images_that_do_not_meet_are_listed(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = here / "some.csv"
    keypoints = read_keypoints(tiny_root / "market-annotation-train.csv")
    names = ("9999_c1s1_000001_00.jpg", *keypoints.names[1:])
    write_keypoints(file, Keypoints(names, keypoints.xy))
    command = ("generate", tiny_root, "--ratio", 0.5, "--weights", weights, "--keypoints", file)
    assert run(*command, "--out", here / "out") == 0
    said = capsys.readouterr().out
    assert re.search(rf"images without a keypoints row: .*{keypoints.names[0]}", said)
    assert "1 keypoints rows without an image: 9999_c1s1_000001_00.jpg" in said


def test_a_plan_is_written_edited_and_carried_out(here: Path, tiny_root: Path, weights: Path) -> None:
    plan = ("plan", "--out", here / "plan.csv", tiny_root, "--ratio", 0.5)
    generate = ("generate", tiny_root, "--weights", weights)
    assert run(*plan) == 0
    assert run(*generate, "--plan", here / "plan.csv", "--out", here / "a") == 0
    assert run(*generate, "--ratio", 0.5, "--out", here / "b") == 0
    a, b = hashes(here / "a"), hashes(here / "b")
    assert {name for name in a if a[name] != b.get(name)} == {"augmentation/manifest.json"}  # it names the plan's file


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ratio", "0.5"), "--plan says already what --ratio would"),
        (("--mode", "add"), "--plan says already what --mode would"),
        (("--pose-source", "camera"), "--plan says already what --pose-source would"),
        (("--seed", "1"), "--plan says already what --seed would"),
        (("--exclude-same-image",), "--plan says already what --exclude-same-image would"),
        (("--gate-retries", "1"), "--gate-retries is for --gate"),
    ],
)
def test_nothing_beside_a_plan_is_ignored(
    here: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert run("plan", "--out", here / "plan.csv", tiny_root, "--ratio", "0.5") == 0
    capsys.readouterr()
    assert run("generate", tiny_root, "--plan", here / "plan.csv", "--out", here / "out", *words) == 2
    assert message in capsys.readouterr().err
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    "words", [("--gate-retries", "1"), ("--estimator-weights", "x.pth"), ("--gate-thresholds", "x.json")]
)
def test_options_of_the_gate_want_the_gate(
    here: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, str]
) -> None:
    if words[1].startswith("x"):
        Path(words[1]).touch()
    assert run("generate", tiny_root, "--ratio", "0.5", *words) == 2
    assert f"{words[0]} is for --gate: give both, or neither" in capsys.readouterr().err


def test_a_manifest_records_what_was_done(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan of identity poses, through the gate: other poses come from the identity, too, and that is recorded."""
    monkeypatch.setattr("augment.gate.thresholds.open_gate", lambda *_, **__: Blind(1.0))
    run("plan", "--out", here / "plan.csv", tiny_root, "--ratio", "0.5", "--pose-source", "identity")
    words = ("generate", tiny_root, "--plan", here / "plan.csv", "--weights", weights)
    words += ("--backend", "torch", "--form", "whole", "--precision", "float32")  # else this machine decides
    assert run(*words, "--out", here / "plain") == 0
    assert read_manifest(here / "plain").job.arguments == {"plan": "plan.csv", "library": None}
    assert run(*words, "--out", here / "gated", "--gate", "--gate-retries", "1") == 0
    arguments = dict(read_manifest(here / "gated").job.arguments)
    assert arguments.pop("gate")["retries"] == 1
    assert arguments == {
        "plan": "plan.csv", "library": None, "pose_source": "identity", "exclude_same_image": False, "seed": 0
    }  # fmt: skip
    assert run(*words, "--out", here / "other", "--gate", "--pose-source", "camera") == 0
    assert read_manifest(here / "other").job.arguments["pose_source"] == "camera"
    log = (here / "gated/augmentation/gate.csv").read_text().splitlines()[1:]
    tried = [line.split(",")[1:4] for line in log]
    assert any(attempt == "1" for _, attempt, _ in tried)
    assert all(Path(output).name[:4] == Path(pose).name[:4] for output, _, pose in tried)
    _fails(capsys, r"pose_source library contradicts.*\(--pose-source\)", *words, "--gate", "--pose-source", "library")


def test_a_library_that_no_pose_comes_from(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = ("--library", tiny_root / "market-annotation-test.csv")
    generate = ("generate", tiny_root, "--weights", weights)
    _fails(capsys, r"pose source `library`: give that, too \(--pose-source\)", *generate, "--ratio", 0.5, *library)
    assert run("plan", "--out", here / "plan.csv", tiny_root, "--ratio", 0.5) == 0
    _fails(capsys, r"no pose of .*plan.csv is from a library", *generate, "--plan", here / "plan.csv", *library)


def test_a_finished_folder_keeps_its_record(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("generate", tiny_root, "--ratio", 0.5, "--weights", weights, "--out", here / "out")
    assert run(*words) == 0
    before, files = (here / "out.run.json").read_bytes(), hashes(here / "out")
    capsys.readouterr()
    assert run(*words, "--resume") == 0
    assert "Was complete already:" in capsys.readouterr().out
    assert (here / "out.run.json").read_bytes() == before
    assert hashes(here / "out") == files


def test_training_goes_on_only_with_the_same_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--recipe", "patn_synth_tiny", "--out", here / "run", "--set", "data.identities=4"]
    for change in ("data.cameras=2", "train.batch_size=2", "train.overrides={ngf: 4, n_blocks: 2}", "train.ndf=4"):
        command += ["--set", change]
    assert run(*command, "--max-seconds", 1) == 0
    before = (here / "run" / "run.json").read_text()
    _fails(capsys, "already holds a training: give --resume", *command)
    _fails(capsys, "can't resume on other data: seed changed", *command, "--resume", "--set", "data.seed=4")
    assert (here / "run" / "run.json").read_text() == before


def test_reid_eval_looks_at_all_images_before_it_trains(
    here: Path, tiny_root: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("generate", tiny_root, "--ratio", 0.5, "--out", here / "out", "--weights", weights) == 0
    victim = next((here / "out" / "bounding_box_train").glob("*_gen*.jpg"))
    victim.write_bytes(b"")
    _fails(capsys, victim.name, "reid-eval", "--augmented", here / "out")


def test_bad_weights(here: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bad.safetensors").write_bytes(os.urandom(64))
    for name, pattern in ((here / "bad.safetensors", "not a readable safetensors"), ("patn-nobody", "patn-nobody")):
        _fails(capsys, pattern, "generate", tiny_root, "--ratio", 0.5, "--weights", name)


def test_bad_checkpoint(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "net.pth").write_bytes(b"not a checkpoint")
    _fails(capsys, "net.pth", "import-checkpoint", here / "net.pth", "--out", here / "net.safetensors")
    assert not (here / "net.safetensors").exists()


def test_reid_eval_says_what_is_missing(here: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _fails(capsys, "run `patn-augment generate /", "reid-eval", tiny_root)
    _fails(capsys, "give DATA, too, the original data set", "reid-eval", "--augmented", tiny_root)


def test_debug_shows_the_traceback_anywhere(here: Path) -> None:
    command = [sys.executable, "-m", "augment", "verify", ".", "--debug"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(REPO)}
    )
    assert done.returncode != 0
    assert "Traceback" in done.stderr


# --- the README --------------------------------------------------------------------------------------------------


def _readme_commands() -> list[str]:
    text = (REPO / "README.md").read_text()
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.strip().startswith("patn-augment")]


def test_the_readme_shows_commands() -> None:
    assert "patn-augment generate --ratio 0.5" in _readme_commands()
    assert "patn-augment reid-eval --backbone resnet50" in _readme_commands()


@pytest.mark.parametrize("command", _readme_commands())
def test_commands_of_the_readme_exist_with_their_options(command: str) -> None:
    _, name, *arguments = shlex.split(command)
    cli.commands[name].make_context(name, [a for a in arguments if a != "--help"], resilient_parsing=True)
