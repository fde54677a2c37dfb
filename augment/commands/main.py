"""The command line `patn-augment`: parse, validate, one call. Heavy imports happen inside the commands."""

from __future__ import annotations

import errno
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from augment.commands.data import image_statistics, pairs, synth
from augment.commands.echo import echo_error
from augment.commands.env import env
from augment.commands.evaluate import reid_eval
from augment.commands.generate import generate, names, plan, sheet, verify
from augment.commands.grammar import Program
from augment.commands.inspect import depth_curve, explain, measure, plot_log
from augment.commands.poses import measure_poses, pose_library, poses, train_poses
from augment.commands.quality import calibrate_gate, gate, quality
from augment.commands.report import report
from augment.commands.search import embed
from augment.commands.start import doctor, finetune, preview
from augment.commands.table import table
from augment.commands.train import convert, import_checkpoint, train


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="patn-augment")
def cli() -> None:
    """Give every person of a re-identification data set more poses, and measure what that buys.

    Input is an argument, what is written is --out; every command has --quiet and, if it prints figures, --json FILE.
    Add --debug anywhere for a traceback instead of a one-line error.
    """


for one in (
    doctor,
    preview,
    finetune,
    report,
    generate,
    plan,
    sheet,
    verify,
    gate,
    names,
    reid_eval,
    table,
    embed,
    train,
    convert,
    import_checkpoint,
    pairs,
    plot_log,
    quality,
    measure,
    depth_curve,
    explain,
    image_statistics,
    calibrate_gate,
    poses,
    pose_library,
    train_poses,
    measure_poses,
    synth,
    env,
):
    cli.add_command(one)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: one-line errors; exit code 2 for bad input, 1 for anything unexpected.

    Ctrl-C ends with 130 and SIGTERM with 143, both at once and cleanly; see `reid_eval.stopping`.
    """
    from reid_eval.stopping import stoppable, stopped_by

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    warnings.filterwarnings("ignore", module="PIL")  # of odd pictures: what cannot be read is an error of one line
    code, stopped = 1, None
    try:
        with stoppable():
            try:
                code = _run(arguments, debug)
            finally:
                stopped = stopped_by()  # whatever became of the exception that the signal raised
    except (KeyboardInterrupt, click.Abort):
        stopped = stopped or signal.SIGINT
    except Exception:
        if stopped is None:
            raise
    if stopped is not None:
        echo_error("Interrupted." if stopped == signal.SIGINT else "Terminated.")
        code = 128 + stopped
    if code:
        sys.exit(code)


_NO_ARGUMENTS: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""Nothing but `patn-augment`: help is shown; click before 8.2 does so without an error."""


def _run(arguments: list[str], debug: bool) -> int:
    """Do what the command line says; the exit code."""
    try:
        cli.main(args=arguments, prog_name="patn-augment", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        raise
    except _NO_ARGUMENTS as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        where = getattr(error, "ctx", None)
        echo_error(f"Error: {error.format_message()}{f' (see {where.command_path} --help)' if where else ''}")
        return error.exit_code
    except Exception as error:
        from reid_eval.stopping import stopped_by

        if debug:
            raise
        if stopped_by() is None:
            return _tell(error, arguments)
    return 0


def _tell(error: Exception, arguments: list[str]) -> int:
    """Say in one line what went wrong; the exit code."""
    from reid_eval.runtime import InputError, RunError
    from reid_eval.writing import disk_error

    if isinstance(error, InputError):
        echo_error(f"Error: {error}{_option_of(error.argument, arguments)}")
        return 2
    if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        echo_error(f"Error: {str(error.filename)[:200]}: {error.strerror}")  # no file can be called that
        return 2
    if told := error if isinstance(error, RunError) else disk_error(error):
        echo_error(f"Error: {told}")
        return 1
    echo_error(f"Error: {type(error).__name__}: {error} (add --debug for the traceback)")
    return 1


def _option_of(argument: str | None, arguments: Sequence[str]) -> str:
    """` (--keypoints)`, where that is how the command at hand is given an argument of the library; else nothing."""
    command = next((cli.commands[word] for word in arguments if word in cli.commands), None)
    options = command.params if command else []
    words = {word for param in options for word in param.opts if isinstance(param, click.Option)}
    name = (argument or "").replace("_", "-")
    found = next((option for option in (f"--{name}", f"--gate-{name}", f"--estimator-{name}") if option in words), None)
    return f" ({found})" if found else ""
