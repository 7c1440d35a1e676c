"""Errors, warnings and doubts about a question: unreadable input, unknown words, answers that are guesses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from condgen_cli.errors import InputError
from condgen_qa.text import Question, content_words, find_names, join_with_or, restore_case, strip_possessive, tokens
from condgen_qa.vocabulary import StoryVocabulary

__all__ = ["check_question", "find_doubt", "find_warnings"]

MOST = 8
"""The most unknown words listed in a warning."""


def check_question(question: Question, vocabulary: StoryVocabulary) -> None:
    """Refuse a question that can't be answered.

    Raises:
        InputError: if the story is empty, or no word of the question is known.
    """
    if not question.story:
        raise InputError("the story is empty", "a story is the sentences before the question")
    words = tokens(question.text)
    if not vocabulary.encode(words):
        near = list(dict.fromkeys(chain.from_iterable(map(vocabulary.near, vocabulary.unknown(words)))))
        hint = f"known words: {', '.join(near or vocabulary.words[:8])}{'' if near else ', …'}"
        raise InputError(f"the model knows no word of the question {question.text!r}", hint)


def find_warnings(question: Question, memory_size: int, vocabulary: StoryVocabulary) -> tuple[str, ...]:
    """Warnings about parts of the input that are not read: sentences beyond the memory's size, and unknown words."""
    story, kept = question.story, question.story[-memory_size:]
    warnings = []
    if len(story) > len(kept):
        left = len(story) - len(kept)
        warnings.append(
            f"the story has {len(story):,} sentences: the first {left:,} are left out, the memory holds {len(kept)}"
        )
    for where, texts in (("the story", kept), ("the question", (question.text,))):
        unknown = vocabulary.unknown(chain.from_iterable(map(tokens, texts)))
        if unknown:
            more = f" and {len(unknown) - MOST} more" if len(unknown) > MOST else ""
            shown = ", ".join(_with_near_words(word, vocabulary) for word in unknown[:MOST])
            warnings.append(f"unknown words in {where} are skipped: {shown}{more}")
    return tuple(warnings)


def find_doubt(question: str, story: Sequence[str], vocabulary: StoryVocabulary) -> str:
    """Why the answer is a guess, empty if it isn't.

    Args:
        question: the question's text.
        story: the sentences in the memory.
        vocabulary: the words that the model knows.
    """
    mentioned = {strip_possessive(word) for sentence in story for word in tokens(sentence)}
    asked = content_words(question)
    if asked and len(vocabulary.unknown(asked)) == len(asked):
        return f"a guess: the model doesn't know {join_with_or(restore_case(asked, question))}"
    missing = [name for name in find_names(question) if strip_possessive(name.lower()) not in mentioned]
    if not missing and asked and not mentioned.intersection(map(strip_possessive, asked)):
        missing = asked
    if missing:
        return f"a guess: the story never mentions {join_with_or(restore_case(missing, question))}"
    words = [word for sentence in story for word in content_words(sentence)]
    unknown = len([word for word in words if vocabulary.unknown([word])])
    if 2 * unknown > len(words):
        return f"a guess: the model doesn't know {unknown} of the story's {len(words)} words"
    return ""


def _with_near_words(word: str, vocabulary: StoryVocabulary) -> str:
    """An unknown word with the known words closest to it in spelling."""
    near = vocabulary.near(word)
    return f"{word} (known: {', '.join(near)})" if near else word
