"""One grammar for all commands: names of options, which every command has, what is silent and what is written."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from drawn import draw_dataset
from typed import run

from augment.commands.echo import echo
from augment.commands.grammar import GROUPS, Command, command
from augment.commands.main import cli
from reid_eval import runtime

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples/README.md",
         *sorted((ROOT / "augment/weights").glob("*.md"))]  # fmt: skip
WITHOUT_FIGURES = {"plot-log", "report", "sheet"}
"""Commands that make a picture or a page, and print no figure."""


@pytest.fixture
def folder(here: Path) -> Path:
    """An augmented folder of a few images."""
    root = draw_dataset(here / "market", {2: 4, 7: 4}, {101: 4, 102: 4})
    out = here / "out"
    assert run("generate", root, "--ratio", "0.5", "--weights", "entry:copy", "--out", out, "--quiet") == 0
    return out


def parsed(name: str, words: list[str]) -> set[str]:
    """The parameters that words give a command; files need not be there.

    Raises:
        click.UsageError: an option that it does not have, or an argument too many.
    """
    one = cli.commands[name]
    context = click.Context(one, info_name=name, resilient_parsing=False)
    options, left, _ = one.make_parser(context).parse_args(list(words))
    if left:
        raise click.UsageError(f"too many arguments: {left}")
    arguments = {param.name for param in one.params if isinstance(param, click.Argument)}
    return {key for key, value in options.items() if key not in arguments or value not in (None, ())}


def check(line: str, whole: bool) -> None:
    """A line of a page is understood; of a `whole` one also: nothing is missing."""
    name, *words = shlex.split(line, comments=True)[1:]
    given = parsed(name, words)
    required = {param.name for param in cli.commands[name].params if param.required}
    assert not whole or required <= given | ({"help"} & given), line


def lines_of(text: str, begin: str = "") -> list[str]:
    """Commands that stand on lines of their own."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return re.findall(rf"^\s*{begin}(patn-augment [a-z-]+ .*)$", joined, re.MULTILINE)


# --- names of options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_a_group_an_example_and_the_common_options(name: str) -> None:
    one = cli.commands[name]
    assert isinstance(one, Command)
    assert one.group in GROUPS
    words = {option for param in one.params for option in param.opts}
    assert "--quiet" in words
    assert ("--json" in words) == (name not in WITHOUT_FIGURES)
    text = CliRunner().invoke(cli, [name, "--help"], terminal_width=110).output
    examples = [line for line in lines_of(text) if line.split()[1] == name]
    assert examples or re.search(rf"^  patn-augment {name}$", text, re.MULTILINE)
    for line in examples:
        check(line, whole=True)


def test_an_option_has_one_name_and_one_meaning() -> None:
    told: dict[str, set[object]] = {}
    for one in cli.commands.values():
        for param in one.params:
            if isinstance(param, click.Option):
                assert len(param.opts) == 1, (one.name, param.opts)
                told.setdefault(param.opts[0], set()).add(type(param.type).__name__)
    assert not {"--generator", "--reid", "--from", "--image", "--pose", "--gate-weights", "-o"} & set(told)
    assert told["--pairs"] == told["--count"] == {"IntRange"}
    with_data = {name for name, one in cli.commands.items() if "--data" in {o for p in one.params for o in p.opts}}
    assert with_data == {"measure", "quality", "gate"}, "else the data set is the argument"
    for name in with_data:
        assert "argument" not in {type(p).__name__ for p in cli.commands[name].params if p.name == "data"}


def test_what_is_written_is_out() -> None:
    for name in ("convert", "depth-curve", "explain", "import-checkpoint", "names", "pairs", "plan", "plot-log",
                 "pose-library", "synth", "calibrate-gate"):  # fmt: skip
        (out,) = [param for param in cli.commands[name].params if param.opts == ["--out"]]
        assert out.required, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_the_pages_are_understood(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```(?:bash|sh|console)?\n(.*?)```", text, re.DOTALL):
        for line in lines_of(block):
            check(line.partition("&&")[0], whole="..." not in line and "…" not in line)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for line in re.findall(r"`(patn-augment [a-z-]+ [^`]*)`", prose):
        with contextlib.suppress(click.BadOptionUsage):  # prose names an option without its value
            check(" ".join(line.split()), whole=False)


def test_commands_of_the_recipes_are_understood() -> None:
    count = 0
    for recipe in sorted((ROOT / "recipes").glob("*.yaml")):
        for line in lines_of(recipe.read_text(), begin=r"#\s+(?:Run|Then|Resume|Override):\s+"):
            check(line, whole=True)
            count += 1
    assert count > 20


# --- help ----------------------------------------------------------------------------------------------------------


def test_help_lists_all_commands_by_group_and_so_does_the_page() -> None:
    text = CliRunner().invoke(cli, ["--help"]).output
    page = (ROOT / "docs/commands.md").read_text()
    at = [text.index(f"\n{group}:\n") for group in GROUPS]
    assert at == sorted(at)
    for group, start, end in zip(GROUPS, at, [*at[1:], len(text)], strict=True):
        names = [name for name, one in cli.commands.items() if one.group == group]
        assert re.findall(r"^  ([a-z-]+)  ", text[start:end], re.MULTILINE) == names
        section = page.split(f"\n## {group}\n")[1].split("\n## ")[0]
        assert re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE) == names


def test_a_misspelt_command_or_option_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    for words, meant in (
        (("generat",), "did you mean generate?"),
        (("reideval",), "did you mean reid-eval?"),
        (("zebra",), "patn-augment --help lists them"),
        (("generate", "--ratoi", "0.5"), "--ratio"),
        (("measure", "x", "--pair", "4"), "--pairs"),
    ):
        assert run(*words) == 2
        told = capsys.readouterr().err
        assert meant in told
        assert len(told.splitlines()) == 1


def test_the_shell_completes() -> None:
    words = {"COMP_WORDS": "patn-augment depth", "COMP_CWORD": "1", "_PATN_AUGMENT_COMPLETE": "bash_complete"}
    for more, wanted in (
        (words, "plain,depth-curve"),
        ({"_PATN_AUGMENT_COMPLETE": "zsh_source"}, "#compdef patn-augment"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "augment"], env={**os.environ, **more}, capture_output=True, text=True, check=True
        )
        assert wanted in done.stdout


# --- --quiet and --json --------------------------------------------------------------------------------------------


def test_quiet_prints_nothing_and_writes_what_was_asked_for(
    folder: Path, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = here / "figures.json"
    for words, key in (
        (("verify", folder, "--json", target), "ok"),
        (("plan", here / "market", "--ratio", "0.5", "--out", here / "plan.csv", "--json", target), "actions"),
        (("quality", folder, "--metric", "colour", "--device", "cpu", "--json", target), "metrics"),
        (("pairs", here / "market", "--split", "train", "--out", here / "pairs.csv", "--json", target), "pairs"),
        (("pose-library", "--out", here / "library.csv", "--json", target), "poses"),
        (("sheet", folder, "--out", here / "sheet.png"), None),
    ):
        capfd.readouterr()
        assert run(*words, "--quiet") == 0
        assert capfd.readouterr() == ("", ""), words
        assert key is None or key in json.loads(target.read_text())
        target.unlink(missing_ok=True)
    assert json.loads((folder / "augmentation/manifest.json").read_text())
    assert (here / "plan.csv").is_file()
    assert (here / "sheet.png").is_file()


@pytest.fixture(autouse=True)
def _shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process may have been workers, which hide their bars for good."""
    monkeypatch.setattr(runtime, "_progress_hidden", False)


def test_quiet_ends_with_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run("verify", folder, "--quiet") == 0
    assert not runtime._progress_hidden
    assert run("verify", folder) == 0
    assert "all as the manifest says" in capsys.readouterr().out


def test_an_error_is_not_quiet(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("generate", here, "--ratio", "0.5", "--quiet") == 2
    assert capsys.readouterr().err.startswith("Error: ")


def test_figures_of_an_answer_that_is_no(folder: Path, here: Path) -> None:
    next((folder / "bounding_box_train").iterdir()).unlink()
    assert run("verify", folder, "--json", here / "v.json", "--quiet") == 1
    found = json.loads((here / "v.json").read_text())
    assert found["ok"] is False
    assert len(found["missing"]) == 1


def test_no_figures_of_a_run_that_failed(here: Path) -> None:
    assert run("pairs", here, "--out", here / "p.csv", "--json", here / "p.json") == 2
    assert not (here / "p.json").exists()


def test_figures_are_not_written_into_an_augmented_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", folder, "--json", folder / "v.json") == 2
    assert "name a place outside" in capsys.readouterr().err
    assert run("verify", folder) == 0


def test_notes_are_seen_and_progress_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runtime.ProgressBar.__init__, "__defaults__", (0.0,))  # a line each time

    @command("Other", "talk")
    def talk() -> None:
        with runtime.progress("Talking", 2) as bar:
            bar.advance(1)
            echo("a line")
            echo("Note: this matters")
            bar.advance(1)

    assert CliRunner().invoke(talk, []).exit_code == 0
    talk.main(["--quiet"], standalone_mode=False)
    assert capsys.readouterr() == ("", "Note: this matters\n")
    talk.main([], standalone_mode=False)
    told = capsys.readouterr()
    assert told.out == "a line\nNote: this matters\n"
    assert "Talking: 1/2" in told.err
