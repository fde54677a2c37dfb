"""The command line `patn-augment`: parse, validate, one call. Heavy imports happen inside the commands."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Sequence

import click

from augment.commands.data import pairs, synth
from augment.commands.echo import echo_error
from augment.commands.evaluate import reid_eval
from augment.commands.generate import generate, plan, sheet, verify
from augment.commands.inspect import depth_curve, explain, measure, plot_log
from augment.commands.poses import measure_poses, pose_library, poses, train_poses
from augment.commands.quality import calibrate_gate, gate, quality
from augment.commands.search import embed
from augment.commands.table import table
from augment.commands.train import convert, import_checkpoint, train


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="patn-augment")
def cli() -> None:
    """Give every person of a re-identification data set more poses, and measure what that buys.

    Add --debug anywhere for a traceback instead of a one-line error.
    """


for command in (
    pairs,
    synth,
    reid_eval,
    generate,
    plan,
    sheet,
    verify,
    depth_curve,
    explain,
    measure,
    plot_log,
    measure_poses,
    pose_library,
    poses,
    train_poses,
    calibrate_gate,
    gate,
    quality,
    embed,
    table,
    convert,
    import_checkpoint,
    train,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: one-line errors; exit code 2 for bad input, 1 for anything unexpected, 130 when interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    warnings.filterwarnings("ignore", module="PIL")  # of odd pictures: what cannot be read is an error of one line
    try:
        cli.main(args=arguments, prog_name="patn-augment", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        echo_error("Interrupted.")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        from reid_eval.runtime import InputError

        if isinstance(error, InputError):
            echo_error(f"Error: {error}{_option_of(error.argument, arguments)}")
            sys.exit(2)
        if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            echo_error(f"Error: {str(error.filename)[:200]}: {error.strerror}")  # no file can be called that
            sys.exit(2)
        echo_error(f"Error: {type(error).__name__}: {error} (add --debug for the traceback)")
        sys.exit(1)


def _option_of(argument: str | None, arguments: Sequence[str]) -> str:
    """` (--keypoints)`, where that is how the command at hand is given an argument of the library; else nothing."""
    command = next((cli.commands[word] for word in arguments if word in cli.commands), None)
    options = command.params if command else []
    words = {word for param in options for word in param.opts if isinstance(param, click.Option)}
    name = (argument or "").replace("_", "-")
    found = next((option for option in (f"--{name}", f"--gate-{name}") if option in words), None)
    return f" ({found})" if found else ""
