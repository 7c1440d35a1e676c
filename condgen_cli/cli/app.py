"""Runs a command line, and turns whatever goes wrong into one line and an exit code."""

from __future__ import annotations

import contextvars
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from condgen_cli import __version__, settings
from condgen_cli.errors import CondgenError, PartialFailure, UsageError, out_of_memory, reason_of
from condgen_cli.files import write_whole
from condgen_cli.files.inputs import forget_inputs
from condgen_cli.files.stdout import silence_stdout
from condgen_cli.files.validation import plain_message
from condgen_cli.terminal import console

__all__ = ["run"]

GLOBAL = ("--debug", "--no-plugins", "--offline", "--trust-code", "--zoo")
"""Options of condgen itself."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; settings that it makes end with it."""
    return contextvars.copy_context().run(_run, list(arguments))


def _run(arguments: list[str]) -> int:
    forget_inputs()
    settings.forget_shared()
    try:
        code = _command(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads stdout has gone, as `head` does
        silence_stdout()
        return 1
    except Exception as error:
        if settings.debugging():
            import traceback

            traceback.print_exc()
        return _fail(error, arguments)
    return code if isinstance(code, int) else 0


def _command(arguments: list[str]) -> object:
    if arguments == ["--version"]:  # a fifth of the time without typer
        print(f"condgen {__version__}")
        return 0
    import typer

    from condgen_cli.cli.commandline import app

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
    try:
        # what was done when some inputs failed has been printed, failures included
        if _wants_json(arguments) and not isinstance(failure, PartialFailure) and not failure.printed:
            _print_document({"error": failure.as_json()}, _output_path(arguments))
        sys.stdout.flush()
    except (CondgenError, OSError):  # stdout is what failed
        silence_stdout()
    return failure.exit_code


def _print_document(document: dict[str, object], path: Path | None) -> None:
    """Print a document where results would have gone, but never in place of an older file."""
    import json

    line = json.dumps(document, ensure_ascii=False) + "\n"
    if path is None or path.exists() or not path.absolute().parent.is_dir():
        print(line, end="")
    else:
        write_whole(path, line.encode("utf-8", "surrogatepass"))


def _is_help(error: Exception) -> bool:
    """Groups that need a subcommand raise their help page."""
    import typer

    context = getattr(error, "ctx", None)
    return isinstance(error, typer.TyperException) and context is not None and str(error) == context.get_help()


def _as_condgen_error(error: Exception) -> CondgenError:
    import typer

    if isinstance(error, CondgenError):
        return error
    if isinstance(error, typer.TyperException):
        option, separator, fault = plain_message(error.format_message()).removesuffix(".").partition("': ")
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "condgen"
        name = getattr(error, "option_name", "")
        if name in GLOBAL and " " in path:
            return UsageError(f"{name} goes before the command", path.replace(" ", f" {name} ", 1))
        return UsageError(f"{option}{separator}{plain_message(fault)}", f"{path} --help")
    if isinstance(error, OSError) and error.filename is not None:
        return CondgenError(f"cannot use {os.fsdecode(error.filename)}: {reason_of(error)}")
    if isinstance(error, ImportError):
        from condgen_cli.registry.plugins import failed_plugin

        if failure := failed_plugin(error):
            return failure
    if (memory := out_of_memory(error)) is not None:
        return memory
    message = " ".join(f"{type(error).__name__}: {error}".split())
    return CondgenError(f"unexpected {message}", None if settings.debugging() else "run it with condgen --debug")


def _wants_json(arguments: list[str]) -> bool:
    """Read off the command line, because parsing it may be what failed."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--format=json" in options or ("--format", "json") in pairwise(options)


def _output_path(arguments: list[str]) -> Path | None:
    """The one file that a task's results would have gone to; None for stdout, for a file of each input, for other commands."""
    from condgen_cli.registry.plugins import manager

    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    command = next((one for one in options if not one.startswith("-")), "")
    given = [value for name, value in pairwise(options) if name in ("-o", "--output")]
    given += [option.partition("=")[2] for option in options if option.startswith("--output=")]
    if not given or given[-1] == "-" or "{" in given[-1] or command not in manager().tasks:
        return None
    return Path(given[-1])
