"""What ``condgen qa`` takes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from condgen_cli.errors import InputError, NotFoundError, UsageError
from condgen_cli.files.sources import STDIN, Failure, Source, near_names
from condgen_cli.inputs.lines import Text, Texts, refuse_file_name, text_inputs
from condgen_cli.item import Item
from condgen_cli.terminal import console
from condgen_qa.task import split
from condgen_qa.text import Question

__all__ = ["qa"]

StoryArg = Annotated[str, typer.Argument(metavar="STORY", help="A file, - for standard input, or the story itself in quotes.")]
QuestionOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--question",
        "-q",
        metavar="TEXT",
        help="What to ask; repeatable.  [default: the story's own questions, else a line each from standard input]",
    ),
]


def qa(story: StoryArg, question: QuestionOpt = None) -> Texts:
    """Answer questions about a story, and show which sentences each hop looked at."""
    for one in question or []:
        refuse_file_name(one, f"condgen qa {shlex.quote(story)} < FILE")
    name, text = _story(story)
    sentences, own = split(text)
    if not sentences:
        raise InputError(f"{name}: the story is empty", "a story is sentences: 'Mary went to the garden. John is here.'")
    if question:
        asked = [(len(sentences), one) for one in question]
    elif own:
        asked = own
    elif story == STDIN:
        raise UsageError("standard input held the story: no question is left to read there", "--question TEXT")
    else:
        return _written(name, tuple(sentences))
    items = [_item(name, number, tuple(sentences[:before]), one) for number, (before, one) in enumerate(asked, 1)]
    return Texts(items, several=len(items) > 1)


def _story(argument: str) -> tuple[str, str]:
    """What a story is called, and its text."""
    if argument != STDIN and not os.path.lexists(argument):
        if not any(character.isspace() for character in argument.strip()):
            raise NotFoundError(f"{argument} does not exist", near_names(argument))
        return "story", argument
    source = Source(argument)
    try:
        return Path(source.name).name, source.open().decode("utf-8-sig")
    except UnicodeDecodeError:
        from condgen_cli.data.content import command_for, kind_of

        raise InputError(f"{source.name} is not UTF-8", command_for(kind_of(source), source.location)) from None


def _written(name: str, story: tuple[str, ...]) -> Texts:
    """Questions as somebody writes them, a line each."""
    lines = text_inputs([], STDIN)
    if sys.stdin.isatty():
        console.info(f"{len(story)} sentences read; ask a question on a line, and end with Ctrl-D")

    def items() -> Iterator[Text | Item | Failure]:
        for number, line in enumerate(lines, 1):
            if not isinstance(line, Text):
                yield line
            elif line.text.strip():
                yield _item(name, number, story, line.text.strip())

    return Texts(items(), several=True, live=lines.live)


def _item(name: str, number: int, story: tuple[str, ...], question: str) -> Item:
    return Item(f"{name}:{number}", Question(story, question), source=name, text=question)
