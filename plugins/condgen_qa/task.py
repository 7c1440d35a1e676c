"""Input and output of the qa command: a story's questions, and answers with their probabilities."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from condgen_cli.errors import InputError
from condgen_cli.item import Item
from condgen_qa.text import Question, sentences

if TYPE_CHECKING:
    from condgen_cli.generation import Generation

__all__ = ["read", "split", "text"]

_NUMBERED = re.compile(r"\d+ +(?P<text>[^\t]*)(?:\t.*)?")


def read(source: str) -> Iterator[Item]:
    """The questions in a text: its sentences that end in a question mark, each with the sentences before it as its story.

    Raises:
        InputError: if there is no question.
    """
    story, questions = split(source)
    if not questions:
        raise InputError("the text asks no question", "a question ends in a question mark: 'Mary is here. Where is Mary?'")
    for number, (before, question) in enumerate(questions, 1):
        yield Item(f"question-{number}", Question(tuple(story[:before]), question), source="text", text=question)


def split(text: str) -> tuple[list[str], list[tuple[int, str]]]:
    """The sentences of a story, and its questions, each with the number of sentences before it.

    Lines may be in bAbI's format, numbered and with answers after a tab; numbers and answers are dropped.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if all(numbered):
        lines = [match["text"] for match in numbered if match]
    story: list[str] = []
    questions: list[tuple[int, str]] = []
    for sentence in sentences("\n".join(lines)):
        if sentence.endswith("?"):
            questions.append((len(story), sentence))
        else:
            story.append(sentence)
    return story, questions


def text(generation: Generation, color: bool) -> str:
    """The answer with its probability, then the next most probable: ``garden 97.1 %  (kitchen 1.2 %, office 0.8 %)``."""
    first, *others = (f"{one['answer']} {100 * one['probability']:.1f} %" for one in generation.details["answers"])
    return f"{first}  ({', '.join(others)})" if others else first
