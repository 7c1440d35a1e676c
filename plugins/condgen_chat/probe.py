"""200 fixed dialogues made from templates that need context to be answered well.

* 100 in which both sides have greeted: a model that sees the last turn alone greets again;
* 50 that end with the question what was said first;
* 50 that change the topic.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from condgen_cli.item import Item

__all__ = ["context_probe"]

_OPENINGS = ("Hi!", "Hello!", "Hey there!", "Hi, how are you?", "Hello, how are you doing?", "Hey, what's up?")
_GREETINGS = ("Hi", "Hi!", "Hello", "Hello!", "Hey", "Hey!", "Hi there!", "Hello there!", "Hey there!", "Hiya!")

_TOPICS = {
    "movies": ("I watched a great movie last night.", "movie movies film films watch watched seen see"),
    "music": ("I have been listening to a lot of music lately.", "music song songs album band singer listen listening"),
    "football": ("I love watching football on Sundays.", "football game games team teams play sports season"),
    "cooking": ("I cooked pasta for dinner yesterday.", "cook cooking cooked food pasta eat dinner meal recipe"),
    "dogs": ("My dog learned a new trick today.", "dog dogs pet pets cat cats animal animals trick"),
    "books": ("I just finished reading a wonderful book.", "book books read reading novel story author"),
    "travel": ("I am going to travel to Italy in the summer.", "travel traveling trip italy summer go going vacation"),
    "school": ("I have a big exam at school tomorrow.", "school exam exams class classes study studying test college"),
}
_MIDDLE = (
    ("That sounds nice. Tell me more.", "I really enjoyed it, and I would do it again."),
    ("Oh really? What was it like?", "It was better than I had expected."),
    ("Cool! Do you do that often?", "Not as often as I would like to."),
)
_QUESTIONS = ("What did I say first?", "Do you remember what I told you at the beginning?", "What did I talk about first?")
_TURNS = ("Let's talk about {0} instead. Do you like {0}?", "By the way, what do you think about {0}?")
_ACKNOWLEDGEMENT = "I see. That is good to know."


def context_probe(root: Path, split: str) -> Sequence[Item]:
    """The items. ``meta["probe"]`` is ``greeting``, ``first`` or ``topic``; for the latter two, a good reply has one of
    ``meta["words"]``.

    Args:
        root: unused.
        split: ``test``, the only one.
    """
    rng = random.Random(2017)
    items = [*_draw(rng, _greeting_turns(), 100, "greeting"), *_draw(rng, _first(), 50, "first")]
    return [*items, *_draw(rng, _topic(), 50, "topic")]


_Probe = tuple[tuple[str, ...], str, str]
"""Turns, a good reply, and words of which a good reply has one."""


def _draw(rng: random.Random, probes: Iterator[_Probe], count: int, kind: str) -> Iterator[Item]:
    for number, (turns, reply, words) in enumerate(rng.sample(list(probes), count), 1):
        meta = {"probe": kind, "words": tuple(words.split())}
        yield Item(f"{kind}/{number}", turns, (reply,), source=turns[-1], meta=meta, text=turns[-1])


def _greeting_turns() -> Iterator[_Probe]:
    """The model has greeted and the user greets back, or both have greeted and the user greets once more."""
    for opening, greeting in product(_OPENINGS, _GREETINGS):
        yield (opening, greeting), "How are you doing today?", ""
        yield (greeting, opening, greeting), "So what is new with you?", ""


def _first() -> Iterator[_Probe]:
    for (statement, words), middle, question in product(_TOPICS.values(), _MIDDLE, _QUESTIONS):
        yield (statement, *middle, _ACKNOWLEDGEMENT, question), f"You said: {statement}", words


def _topic() -> Iterator[_Probe]:
    for (old, (statement, _)), (new, (_, words)), middle, turn in product(_TOPICS.items(), _TOPICS.items(), _MIDDLE, _TURNS):
        if old != new:
            yield (statement, *middle, _ACKNOWLEDGEMENT, turn.format(new)), f"Yes, I like {new} a lot.", f"{words} {new}"
