"""What `--help` says, of every command."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from augment.commands.main import cli


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_help_is_laid_out_and_holds_no_escapes(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"], terminal_width=110)
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
    assert not re.search(r"[\b\f\\](?!\n)", result.output)  # a marker of click's that it did not understand
    examples = [line for line in result.output.splitlines() if "  patn-augment " in line]
    assert all(line.startswith("  patn-augment ") and line.count("patn-augment ") == 1 for line in examples)
    assert "None" not in result.output
