"""Readers of stories with questions: bAbI as published, and users' files in its format.

A line is a number, a space and a sentence; a number not larger than the previous one begins a new story. A question's line
continues with a tab and the answer, and optionally a tab and the numbers of the supporting lines. Each question is an item
whose story is the sentences before it, without earlier questions. References are answers in lower case; an answer of several
words (``apple,milk``) is one reference. ``meta["facts"]`` are the positions of the supporting sentences in the story, from 0,
and ``meta["sentences"]`` is the story's length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

from condgen_cli.data.archives import Member, Tree, open_tree
from condgen_cli.data.packed import read_text
from condgen_cli.data.splits import split_file
from condgen_cli.errors import InputError, NotFoundError, UsageError
from condgen_cli.item import Item
from condgen_cli.terminal import console
from condgen_qa.text import Question, has_words

__all__ = ["TASKS", "babi", "parse", "stories"]

TASKS = range(1, 21)
DEV_SHARE = 0.1

_FOLDERS = {"1k": "en", "10k": "en-10k"}
_PLACES = (".", "babi", "tasks_1-20_v1-2")
_ARCHIVES = ("babi*.tar*", "tasks_1-20_v1-2*.tar*", "babi*.tgz", "babi*.zip")
_FILE = re.compile(r"(?:.*/)?(?P<folder>en|en-10k)/qa(?P<task>\d+)_(?P<name>[\w-]+)_(?P<part>train|test)\.txt")
_HINT = "condgen data pull babi, or name the folder that holds en and en-10k, or their archive, with --data-dir"


def babi(root: Path, split: str, task: str = "", size: str = "1k") -> Sequence[Item]:
    """The English bAbI tasks, v1.2 (Weston et al. 2015), in their publisher's layout, packed or unpacked.

    bAbI has no dev split: it is the last tenth of each task's training stories, which are left out of training. An item's group
    is its task: ``1 single-supporting-fact``. A missing 10k training file is replaced by the 1k file, with a warning.

    Args:
        root: the folder that holds ``en`` and ``en-10k``, one that holds it as ``tasks_1-20_v1-2``, or one with the archive.
        split: ``train``, ``dev`` or ``test``.
        task: numbers and ranges separated by commas, such as ``1,2,4-20``; empty: all.
        size: training questions per task, ``1k`` or ``10k``.
    Returns:
        Items by task, in the files' order, with ids such as ``qa1-train-12`` (the question's line in its file).
    Raises:
        UsageError: for an unknown task.
        NotFoundError: if the file of a task is missing.
        InputError: if a line isn't as published; the message begins with its file and number.
        IntegrityError: if the archive is damaged, or a file in it is not UTF-8.
    """
    wanted = _tasks(task)
    part = "test" if split == "test" else "train"
    tree = _tree(str(root), _FOLDERS[size])
    files = {(found["folder"], int(found["task"]), found["part"]): (name, found["name"]) for name, found in _matches(tree)}
    chosen: dict[int, tuple[str, str]] = {}
    for number in wanted:
        found = files.get((_FOLDERS[size], number, part))
        if found is None and (size, part) == ("10k", "train") and ("en", number, part) in files:
            found = files["en", number, part]
            _warn_once(f"bAbI lacks the 10k training file of task {number}: its 1k file is used")
        if found is None:
            raise NotFoundError(f"{tree} lacks the {part} file of task {number} in {_FOLDERS[size]}", _HINT)
        chosen[number] = found
    names = {name for name, _ in chosen.values()}
    contents = {name: Member(tree, name).text() for name in tree.names() if name in names}  # in stored order
    return [
        item
        for number, (name, title) in chosen.items()
        for item in _part(list(parse(contents[name], name, f"qa{number}-{part}", f"{number} {title}")), split)
    ]


def stories(root: Path, split: str, file: str = "{split}.txt") -> Sequence[Item]:
    """Users' own stories in bAbI's format.

    Args:
        root: the folder.
        split: split, which replaces ``{split}`` in the file's name. A file without it is the split ``test``.
        file: name of the file.
    Raises:
        UsageError: if the file doesn't hold the split.
        NotFoundError: if the file is missing.
        InputError: if a line is wrong; the message begins with its file and number.
    """
    path = split_file(root, file, split)
    if not path.is_file():
        raise NotFoundError(
            f"no file {path}", "each line: number, space, sentence; or number, space, question, tab, answer, tab, numbers"
        )
    return [item for story in parse(read_text(path), str(path), path.stem) for item in story]


def parse(text: str, place: str, prefix: str, group: str = "") -> Iterator[list[Item]]:
    """The questions of each story of a text in bAbI's format.

    Args:
        text: the file's content.
        place: name of the text in error messages.
        prefix: prefix of the items' ids.
        group: group of the items.
    Raises:
        InputError: if a line is wrong.
    """
    story: list[str] = []
    positions: dict[int, int] = {}
    found: list[Item] = []
    before = 0
    for count, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        mark, _, rest = line.strip(" \r").partition(" ")
        written, *further = rest.split("\t")
        written = written.strip()
        if not (mark.isascii() and mark.isdigit() and has_words(written)) or len(further) > 2:
            raise InputError(f"{place}:{count}: expected a number and a sentence, or a question, a tab and its answer")
        number = int(mark)
        if number <= before:
            yield found
            story, positions, found = [], {}, []
        before = number
        if not further:
            positions[number] = len(story)
            story.append(written)
            continue
        answer, *support = (part.strip() for part in further)
        if not answer:
            raise InputError(f"{place}:{count}: the question has no answer")
        facts = _facts(support, positions, f"{place}:{count}")
        found.append(
            Item(
                id=f"{prefix}-{count}",
                condition=Question(tuple(story), written),
                references=(answer.lower(),),
                source=f"{place}:{count}",
                group=group,
                meta={"facts": facts, "sentences": len(story)},
            )
        )
    yield found


def _facts(support: Sequence[str], positions: Mapping[int, int], place: str) -> tuple[int, ...]:
    """Story positions of the supporting sentences, given by their line numbers."""
    lines = " ".join(support).split()
    known = [int(line) for line in lines if line.isascii() and line.isdigit() and int(line) in positions]
    if len(known) < len(lines):
        raise InputError(f"{place}: expected line numbers of sentences before the question: {' '.join(lines)}")
    return tuple(sorted({positions[line] for line in known}))


def _part(questions: Sequence[list[Item]], split: str) -> list[Item]:
    """Questions of a split: all of the test file; of the training file the first stories (train) or the last (dev)."""
    questions = [story for story in questions if story]
    dev = 0 if split == "test" else max(1, round(DEV_SHARE * len(questions)))
    kept = questions[-dev:] if split == "dev" else questions[: len(questions) - dev]
    return [item for story in kept for item in story]


def _tasks(text: str) -> list[int]:
    numbers: list[int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            raise UsageError(f"task can't be {text!r}", "numbers from 1 to 20 separated by commas: --set task=1,2,4-20")
        numbers += range(int(first), int(last if dash else first) + 1)
    for number in numbers:
        if number not in TASKS:
            raise UsageError(f"bAbI has no task {number}", "numbers from 1 to 20 separated by commas: --set task=1,2,4-20")
    return sorted(set(numbers)) or list(TASKS)


@lru_cache(maxsize=2)
def _tree(root: str, folder: str) -> Tree:
    """The folder that holds ``folder``, or the archive."""
    places = [Path(root) / place for place in _PLACES]
    for place in places:
        if (place / folder).is_dir():
            return open_tree(place)
    for place in places:
        for pattern in _ARCHIVES:
            for path in sorted(place.glob(pattern)):
                return open_tree(path)
    raise NotFoundError(f"{root} lacks bAbI: no folder {folder} and no archive of it", _HINT)


def _matches(tree: Tree) -> Iterator[tuple[str, re.Match[str]]]:
    for name in tree.names():
        if match := _FILE.fullmatch(f"/{name}"):
            yield name, match


@cache
def _warn_once(message: str) -> None:
    console.warn(message)
