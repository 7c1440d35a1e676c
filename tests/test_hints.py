"""Every hint of the code base: the commands in it are ones that the parser takes, and every flag is one of some command's."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

from condgen_cli import errors
from condgen_cli.cli.commandline import app
from condgen_cli.registry.plugins import manager

ROOT = Path(__file__).parent.parent
ERRORS = set(errors.__all__) | {"Interrupted"}
HINTERS = {"_hint", "suggestion"}
"""Functions whose texts become hints."""

FILLED = {
    "device": "cpu",
    "bits": "8",
    "spec.name": "flickr8k",
    "dataset": "flickr8k",
    "name": "sat",
    "task": "caption",
    "self.task.name": "copy",
}
"""What a placeholder of a hint may stand for, by its source; anything else is a word."""

END = re.compile(r"[,;()<|]|\s(?:or|and|then|to|tells|names|makes|lists|takes|with the|goes)\s")
"""Where a command ends and the sentence goes on."""
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
OTHERS = {"--upgrade", "--editable", "--force-reinstall", "--metadata"}
"""Flags of other programs: pip's, and those of python -m condgen_cli.zoo.publish."""


class Hint(NamedTuple):
    place: str
    text: str


def text_of(node: ast.AST) -> str | None:
    """A string as it may look when it is printed; None for what is no string."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                command = parts and parts[-1].endswith("condgen ")  # then it is one of the tasks' commands
                parts.append("translate" if command else FILLED.get(ast.unparse(part.value), "x"))
            else:
                parts.append(text_of(part) or "")
        return "".join(parts)
    return None


def strings_below(node: ast.AST) -> Iterator[ast.AST]:
    """Strings that an expression may give: itself, branches of a condition, items of a table."""
    if text_of(node) is not None:
        yield node
        return
    for child in ast.iter_child_nodes(node):
        yield from strings_below(child)


def is_error(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in ERRORS or name == "Problem" or ast.unparse(call.func).startswith("type(")


def hints_in(path: Path) -> Iterator[Hint]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # docstrings, and what texts with placeholders are made of
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    skipped |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    found: dict[int, ast.AST] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and is_error(node):
            hints = [*node.args[1:], *(keyword.value for keyword in node.keywords)]
            found |= {id(one): one for hint in hints for one in strings_below(hint)}
        if isinstance(node, ast.FunctionDef) and node.name in HINTERS:
            found |= {id(one): one for one in strings_below(node) if isinstance(one, ast.JoinedStr | ast.Constant)}
        if isinstance(node, ast.Constant | ast.JoinedStr) and (text_of(node) or "").startswith("condgen "):
            found[id(node)] = node  # wherever it stands: a variable, an advice
    for key, node in found.items():
        text = text_of(node)
        if text and key not in skipped:
            yield Hint(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", text)


@cache
def hints() -> tuple[Hint, ...]:
    paths = [path for folder in ("condgen_cli", "plugins") for path in sorted((ROOT / folder).rglob("*.py"))]
    return tuple(hint for path in paths if "template" not in path.parts for hint in hints_in(path))


def commands_of(text: str) -> Iterator[list[str]]:
    for found in re.finditer(r"(?<![\w./-])condgen (?=[a-z])", text):
        yield shlex.split(END.split(text[found.end() :], maxsplit=1)[0].rstrip(". :"))


def parse(arguments: list[str]) -> None:
    """Take a command line apart as Typer does before anything is run."""
    command: Any = typer.main.get_command(app)
    context = None
    while True:
        context = command.make_context(command.name or "condgen", list(arguments), parent=context)
        if not hasattr(command, "resolve_command"):
            return
        rest = [*context._protected_args, *context.args]
        _, command, arguments = command.resolve_command(context, rest)


def options(command: Any, context: Any = None) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    if hasattr(command, "list_commands"):
        context = type("", (), {})() if context is None else context
        for name in command.list_commands(context):
            yield from options(command.get_command(context, name), context)


def test_there_are_hints() -> None:
    assert len(hints()) > 150
    assert sum(bool(list(commands_of(hint.text))) for hint in hints()) > 30


def test_commands_of_hints_are_parsed() -> None:
    wrong = []
    for hint in hints():
        for arguments in commands_of(hint.text):
            try:
                parse(arguments)
            except (Exception, SystemExit) as error:
                if "--help" not in arguments:
                    wrong.append(f"{hint.place}: condgen {shlex.join(arguments)}: {error}")
    assert not wrong, "\n".join(wrong)


def test_flags_of_hints_are_some_command_s() -> None:
    known = {*options(typer.main.get_command(app)), *OTHERS, "--help", "--debug", "--offline", "--zoo", "--no-plugins"}
    wrong = [f"{hint.place}: {flag}" for hint in hints() for flag in FLAG.findall(hint.text) if flag not in known]
    assert not wrong, "\n".join(wrong)


def test_data_that_hints_pull_can_be_pulled() -> None:
    for hint in hints():
        for arguments in commands_of(hint.text):
            if arguments[:2] == ["data", "pull"]:
                assert manager().datasets[arguments[2]].archives, hint


@pytest.mark.parametrize(
    "arguments", [["list", "--task", "chat"], ["data", "pul", "x"], ["train"], ["eval", "sat", "--limit", "few"]]
)
def test_what_is_no_command_is_found(arguments: list[str]) -> None:
    with pytest.raises(Exception, match=r"."):
        parse(arguments)
