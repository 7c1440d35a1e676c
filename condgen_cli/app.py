"""Runs a command line, and turns whatever goes wrong into one line and an exit code."""

from __future__ import annotations

import contextvars
import os
import sys
from collections.abc import Sequence
from itertools import pairwise

from condgen_cli import __version__, console, settings
from condgen_cli.errors import CondgenError, PartialFailure, UsageError
from condgen_cli.files.inputs import forget_inputs

__all__ = ["run"]


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; settings that it makes end with it."""
    return contextvars.copy_context().run(_run, list(arguments))


def _run(arguments: list[str]) -> int:
    forget_inputs()
    try:
        code = _command(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _reader_left()
    except Exception as error:
        if settings.current().debug:
            import traceback

            traceback.print_exc()
        return _fail(error, arguments)
    return code if isinstance(code, int) else 0


def _command(arguments: list[str]) -> object:
    if arguments == ["--version"]:  # a fifth of the time without typer
        print(f"condgen {__version__}")
        return 0
    import typer

    from condgen_cli.commandline import app

    try:
        return typer.main.get_command(app).main(arguments, prog_name="condgen", standalone_mode=False)
    except typer.Abort:  # what typer makes of control-C, and of control-D at a question
        raise KeyboardInterrupt from None


def _fail(error: Exception, arguments: list[str]) -> int:
    if _is_help(error):
        print(error)
        return 0
    failure = _as_condgen_error(error)
    console.fail(failure)
    # what was done when some inputs failed has been printed, failures included
    if _wants_json(arguments) and not isinstance(failure, PartialFailure):
        import json

        print(json.dumps({"error": failure.as_json()}, ensure_ascii=False), flush=True)
    return failure.exit_code


def _is_help(error: Exception) -> bool:
    """Groups that need a subcommand raise their help page."""
    return type(error).__name__ == "NoArgsIsHelpError"


def _as_condgen_error(error: Exception) -> CondgenError:
    if isinstance(error, CondgenError):
        return error
    if hasattr(error, "format_message"):  # typer keeps the classes of its usage errors to itself
        message = " ".join(error.format_message().split()).removesuffix(".")
        context = getattr(error, "ctx", None)
        return UsageError(message[:1].lower() + message[1:], f"{context.command_path if context else 'condgen'} --help")
    message = " ".join(f"{type(error).__name__}: {error}".split())
    return CondgenError(f"unexpected {message}", None if settings.current().debug else "run it with condgen --debug")


def _wants_json(arguments: list[str]) -> bool:
    """Read off the command line, because parsing it may be what failed."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--format=json" in options or ("--format", "json") in pairwise(options)


def _reader_left() -> int:
    """Whoever reads stdout has gone, as ``head`` does: say nothing, not even when the interpreter flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
