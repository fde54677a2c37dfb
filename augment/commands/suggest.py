"""Commands that commands suggest, as somebody would type them: with all options that matter, quoted for a shell."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from augment.commands.echo import echo


def command_line(*words: object, **options: Any) -> str:
    """`patn-augment WORDS --option value`; what is None or False is left out, True is a flag."""
    line = ["patn-augment", *(_word(word) for word in words if word is not None)]
    for name, value in options.items():
        if value is not None and value is not False:
            line += [f"--{name.replace('_', '-')}", *([] if value is True else [_word(value)])]
    return " ".join(line)


def suggest(*commands: str) -> None:
    """Say what comes next: a line for one command, else a line each."""
    if len(commands) == 1:
        echo(f"Next: {commands[0]}")
    else:
        echo("\n".join(["Next:", *(f"  {command}" for command in commands)]))


def layout_option(layout: str) -> str | None:
    """A layout that was said; None for the one that is guessed."""
    return None if layout == "auto" else layout


def _word(value: object) -> str:
    text = str(value)
    # what stands first in a path may look like an option
    return shlex.quote(f"./{text}" if isinstance(value, Path) and text.startswith("-") else text)
