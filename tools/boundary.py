"""Where errors become one line and an exit code.

An error that somebody at a keyboard can cause (wrong file, port in use, full /dev/shm, missing extra) is one line on
stderr and exit code 2.  Anything else is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import sys
from typing import Final

import click

from . import exits
from .extras import missing_extra

_BASES: Final = (("shm.errors", "ShmError"), ("pipeline.errors", "PipelineError"), ("stations.errors", "StationError"))
"""Where each package keeps the base of its errors."""


def expected_errors() -> tuple[type[BaseException], ...]:
    """Return the base errors of those of our packages that were imported.

    A package that was not imported cannot have raised, so nothing is imported here: a usage error stays fast.
    """
    modules = ((sys.modules.get(module), name) for module, name in _BASES)
    return tuple(getattr(module, name) for module, name in modules if module is not None and hasattr(module, name))


def one_line(error: BaseException) -> str:
    """Return the text of an expected error on one line, without the word for its class."""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{error.format_message().rstrip('.')} (see {error.ctx.command_path} --help)"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.filename is not None and type(error).__module__ == "builtins":
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def was_told(error: BaseException) -> bool:
    """Whether a process of the rig has printed the line already."""
    errors = sys.modules.get("stations.errors")
    return errors is not None and isinstance(error, errors.AlreadyToldError)


def describe(error: BaseException) -> str | None:
    """Return the line to print for an expected error, None for one that deserves its traceback."""
    if isinstance(error, ModuleNotFoundError):
        return missing_extra(error.name)
    if isinstance(error, OSError) and error.filename is None and not isinstance(error, expected_errors()):
        return None
    if isinstance(error, (click.ClickException, OSError, *expected_errors())):
        return one_line(error)
    return None


def run_command(command: click.Command, argv: list[str] | None, program: str) -> int:
    """Run a click command and return its exit code.

    Args:
        command: the command or group; it may return an exit code, None means 0.
        argv: the arguments after the program's name; those of this process if None.
        program: the name to print before an error.

    Returns:
        The exit code, one of `tools.exits`.
    """
    try:
        result = command.main(args=argv, prog_name=program, standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return exits.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return exits.BAD_INPUT
    except Exception as error:
        line = describe(error)
        if line is None:
            raise
        if not was_told(error):
            click.echo(f"{program}: {line}", err=True)
        return exits.BAD_INPUT
    return result if isinstance(result, int) else exits.OK
