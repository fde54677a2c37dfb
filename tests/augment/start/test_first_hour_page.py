"""The commands of docs/first_hour.md, run one after the other on a small folder; docs/terms.md's are understood."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from augment.commands.main import cli

DOCS = Path(__file__).resolve().parents[3] / "docs"
NEEDS_DATA = "# needs data"
SHORTER = {"10": "0.05"}  # minutes


def commands_of(page: str) -> list[tuple[list[str], bool]]:
    """Words of each command, and whether its block is marked as one that needs data."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        lines = block.replace("\\\n", " ").splitlines()
        found += [(shlex.split(line)[1:], NEEDS_DATA in block) for line in lines if line.startswith("patn-augment")]
    return found


def test_the_first_hour_in_order(photos: Path, quick: Path, run: Callable[..., int]) -> None:
    commands = commands_of("first_hour.md")
    order = [words[0] for words, _ in commands]
    assert order[:5] == ["doctor", "poses", "preview", "finetune", "preview"]
    assert {"generate", "verify"} <= set(order)
    for words, needs_data in commands:
        if needs_data:
            continue
        if words[0] == "report" and "report" not in cli.commands:
            continue
        assert run(*(SHORTER.get(word, word) for word in words)) == 0, words
    assert Path("runs/ft/before-after.png").is_file()
    assert Path("photos-p0.5/augmentation/manifest.json").is_file()


@pytest.mark.parametrize("page", ["first_hour.md", "terms.md"])
def test_commands_of_the_pages_exist_with_their_options(page: str) -> None:
    commands = commands_of(page)
    assert commands
    for (name, *words), _ in commands:
        if name in cli.commands:
            cli.commands[name].make_context(name, list(words), resilient_parsing=True)
        else:
            assert name == "report"


@pytest.mark.parametrize("page", ["first_hour.md", "terms.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (DOCS / page).read_text()):
        assert (DOCS / target).exists(), target
