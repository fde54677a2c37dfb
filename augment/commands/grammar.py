"""What all commands have in common: --json and --quiet, a group in `--help`, a guess at a misspelt name."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import click

from augment.commands.echo import notes_to_error
from augment.commands.options import FOLDER, check_outside
from reid_eval.alike import did_you_mean

GROUPS = ("First hour", "Augment", "Evaluate", "Train", "Measure", "Keypoints", "Other")
"""What commands are for, in the order of `patn-augment --help`."""
_FIGURES = "augment.commands.figures"


class Command(click.Command):
    """A command of the program: of a group, with --quiet and, where it prints figures, --json."""

    def __init__(self, *args: Any, group: str, figures: bool = True, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group
        if figures:
            self.params.append(click.Option(["--json"], type=FOLDER, metavar="FILE", help="Also write the figures."))
        self.params.append(click.Option(["--quiet"], is_flag=True, help="Print nothing but errors and notes."))

    def invoke(self, context: click.Context) -> Any:
        """Run it; what it tells by `figures` goes into the file of --json, also where it ends with an exit code."""
        target, quiet = context.params.pop("json", None), context.params.pop("quiet")
        _check_target(target, context)
        told: dict[str, Any] = {}
        context.meta[_FIGURES] = told
        code = None
        with _silence() if quiet else nullcontext():
            try:
                super().invoke(context)
            except SystemExit as error:  # of `verify` and `gate`, whose answer it is
                code = error.code
        if target:
            from reid_eval.runtime import write_json

            write_json(target, told)
        if code is not None:
            raise SystemExit(code)


def command(group: str, name: str | None = None, figures: bool = True) -> Callable[[Callable[..., Any]], Command]:
    """`click.command` for a `Command` of a group of `GROUPS`; without `figures` it prints none and has no --json."""
    return click.command(name, cls=Command, group=group, figures=figures)


def figures(values: Mapping[str, Any]) -> None:
    """What the running command has found, for --json: plain values; more of them are added to those before."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta.get(_FIGURES, {}).update(values)


class Program(click.Group):
    """All commands, which `--help` lists by what they are for."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """A section a group, in the order of `GROUPS`, commands as they were added."""
        room = formatter.width - 6 - max(map(len, self.commands))
        for group in GROUPS:
            found = [(name, one) for name, one in self.commands.items() if getattr(one, "group", None) == group]
            with formatter.section(group):
                formatter.write_dl([(name, one.get_short_help_str(room)) for name, one in found])

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002
        """Their names, as they were added."""
        return list(self.commands)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that a line names.

        Raises:
            click.UsageError: none of that name; what may have been meant is said.
        """
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            meant = did_you_mean(args[0], self.commands)
            context.fail(f"no command {args[0][:80]!r}: {meant}patn-augment --help lists them")
        return super().resolve_command(context, args)


def _check_target(target: Path | None, context: click.Context) -> None:
    """Nothing is written into an augmented folder that is read: `verify` would find a file too many."""
    from augment.folder.layout import MANIFEST

    read = [value for value in context.params.values() if isinstance(value, Path) and (value / MANIFEST).is_file()]
    for folder in read:
        check_outside(folder, target)


@contextmanager
def _silence() -> Iterator[None]:
    """No progress, and nothing on standard output."""
    from reid_eval.runtime import no_progress

    with no_progress(), notes_to_error(), redirect_stdout(_Nowhere()):
        yield


class _Nowhere(io.TextIOBase):
    """A stream that forgets."""

    def write(self, text: str) -> int:
        """Forget it."""
        return len(text)
