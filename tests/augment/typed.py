"""Commands as a user types them, in this process."""

from __future__ import annotations

from augment.commands.main import main


def run(*arguments: object) -> int:
    """Exit code of a command."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as error:
        return int(error.code or 0)
    return 0
