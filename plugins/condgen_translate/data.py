"""Readers of sentence pairs: Multi30k and Tatoeba as published, a folder of Chinese-English files, users' parallel files.

Each pair is an item, so a source with several translations occurs several times, each time with one reference. An id is the
split and the pair's line. White space around a sentence is removed; nothing else is changed.

With ``group="length"`` an item's group is the length of its source (``sentence_length``) in steps of five: ``1-5``,
``6-10``, … ``26-30``, ``31+``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from condgen_cli.data.archives import Member, open_tree
from condgen_cli.data.packed import decode_lines, find_file, read_lines
from condgen_cli.data.splits import SPLITS, split_by_hash, split_file
from condgen_cli.errors import InputError, NotFoundError, UsageError
from condgen_cli.item import Item

__all__ = ["multi30k", "parallel", "sentence_length", "tatoeba_cmn", "zh_en"]

_MULTI30K_NAMES = {"train": "train", "dev": "val", "test": "test_2016_flickr"}
_MULTI30K_FOLDERS = (".", "multi30k", "data/task1/raw", "multi30k/data/task1/raw")
_MULTI30K_HINT = "condgen data pull multi30k, or name its folder with --data-dir"

_TATOEBA_FOLDERS = (".", "tatoeba-cmn")
_TATOEBA_WHOLE = ("cmn.txt", "cmn-eng.zip", "cmn-eng/cmn.txt")
_TATOEBA_HINT = "name the folder of {train,dev,test}.tsv.gz or of cmn-eng.zip with --data-dir"

_ZH_EN_FOLDERS = (".", "zh-en")
_ZH_EN_HINT = "--set name=NAME for NAME.{train,dev,test}.tsv, and name their folder with --data-dir"

_LONGEST = 30
_STEP = 5
# kana, ideographs and full-width marks, written without spaces
_UNSPACED = r"\u3001-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


class _Pair(NamedTuple):
    """A sentence pair and its line number."""

    number: int
    source: str
    target: str


def multi30k(root: Path, split: str, source: str = "de", target: str = "en", group: str = "") -> Sequence[Item]:
    """Multi30k, task 1 (Elliott et al. 2016): 29,000 / 1,014 / 1,000 descriptions of photos with their translations.

    The files are ``{train,val,test_2016_flickr}.{de,en,fr}``, plain or as ``.gz``.

    Args:
        root: the folder that holds the files, one that holds it as ``multi30k``, or a clone of the publisher's repository
            (``data/task1/raw``).
        split: ``train``, ``dev`` (val) or ``test`` (test_2016_flickr).
        source, target: languages: ``de``, ``en``, ``fr``.
        group: ``length``, or empty for no groups.
    Raises:
        UsageError: if both languages are the same.
        NotFoundError: if a file is missing.
        InputError: if a line is malformed; the message begins with its file and number.
        IntegrityError: if a file is damaged.
    """
    if source == target:
        raise UsageError(f"source and target are both {source}", "--set source=de --set target=en")
    names = [f"{_MULTI30K_NAMES[split]}.{language}" for language in (source, target)]
    for folder in _MULTI30K_FOLDERS:
        paths = [path for name in names if (path := find_file(root / folder / name))]
        if len(paths) == 2:
            return list(_items(_read_line_pairs(*paths), split, group))
    raise NotFoundError(f"{root} lacks {' or '.join(names)} of Multi30k", _MULTI30K_HINT)


def tatoeba_cmn(root: Path, split: str, source: str = "zh", group: str = "") -> Sequence[Item]:
    """Chinese and English sentences of Tatoeba, in either direction.

    Two layouts, with the same columns (English, Chinese, attribution): ``{train,dev,test}.tsv``, plain or as ``.gz``; and
    ``cmn.txt``, alone or in ``cmn-eng.zip``, as manythings.org publishes it. The first is used if any of its files exists.

    ``cmn.txt`` is split by a hash of the English sentence: one in thirty is for ``dev``, one for ``test``. Pairs whose Chinese
    sentence is also in a later split are left out, so that no sentence of ``dev`` or ``test``, in either language, is in
    ``train``. A newer ``cmn.txt`` moves no English sentence to another split. These splits differ from those of the first
    layout: a model trained on one has seen test sentences of the other.

    Args:
        root: the folder that holds the files, or one that holds it as ``tatoeba-cmn``.
        split: ``train``, ``dev`` or ``test``.
        source: source language, ``zh`` or ``en``; the other is the target.
        group: ``length``, or empty for no groups.
    Raises:
        NotFoundError: if a file is missing.
        InputError: if a line is malformed; the message begins with its file and number.
        IntegrityError: if a file is damaged.
    """
    pairs = _tatoeba_pairs(root, split)
    if source == "zh":
        pairs = (_Pair(number, chinese, english) for number, english, chinese in pairs)
    return list(_items(pairs, split, group))


def zh_en(root: Path, split: str, name: str = "", source: str = "zh", group: str = "") -> Sequence[Item]:
    """Chinese and English sentences of one of several files in a folder, in either direction.

    The files are ``NAME.{train,dev,test}.tsv``, plain or as ``.gz`` or ``.xz``, with the columns English, Chinese, source. Not
    every name has every split.

    Args:
        root: the folder that holds the files, or one that holds it as ``zh-en``.
        split: ``train``, ``dev`` or ``test``.
        name: beginning of the file's name, such as ``lctt``.
        source: source language, ``zh`` or ``en``; the other is the target.
        group: ``length``, or empty for no groups.
    Raises:
        UsageError: if ``name`` is missing or can't begin a file's name.
        NotFoundError: if the file is missing.
        InputError: if a line is malformed; the message begins with its file and number.
        IntegrityError: if a file is damaged.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(f"data set zh-en has no file named {name!r}" if name else "data set zh-en needs name", _ZH_EN_HINT)
    for folder in _ZH_EN_FOLDERS:
        file = find_file(root / folder / f"{name}.{split}.tsv")
        if file:
            pairs = _read_columns(file, *((2, 1) if source == "zh" else (1, 2)))
            return list(_items(pairs, split, group))
    raise NotFoundError(f"{root} lacks {name}.{split}.tsv", _ZH_EN_HINT)


def parallel(
    root: Path,
    split: str,
    source: str = "",
    target: str = "",
    tsv: str = "",
    columns: str = "1,2",
    language: str = "",
    group: str = "",
) -> Iterator[Item]:
    """Users' own sentence pairs: two text files with one sentence per line, or one file with tab-separated columns.

    Files are UTF-8 and may be compressed (``.gz`` or ``.xz``, suffixes that can be left out). Lines empty on both sides are
    skipped. Files are read line by line and may be larger than memory.

    Args:
        root: the folder.
        split: split, which replaces ``{split}`` in the files' names. Files without it are the split ``test``.
        source, target: names of the two files.
        tsv: name of the file with columns, instead of the two.
        columns: columns of source and target in ``tsv``, counted from 1.
        language: language of the target, used by metrics only.
        group: ``length``, or empty for no groups.
    Raises:
        UsageError: if the options don't name the files, or name none for the split.
        NotFoundError: if a file is missing.
        InputError: while reading, if a line isn't UTF-8, lacks a column, is empty on one side only, or has no counterpart. The
            message begins with its file and number.
        IntegrityError: while reading, if a file is damaged.
    """
    if tsv and not (source or target):
        return _items(_read_columns(_find_split_file(root, tsv, split), *_column_numbers(columns)), split, group)
    if source and target and not tsv:
        return _items(
            _read_line_pairs(_find_split_file(root, source, split), _find_split_file(root, target, split)), split, group
        )
    raise UsageError(
        "data set parallel needs source and target, or tsv",
        "--set source={split}.de --set target={split}.en, or --set tsv={split}.tsv",
    )


def sentence_length(text: str) -> int:
    """Number of words, or of characters in scripts without spaces (Chinese, Japanese)."""
    return len(_WORD.findall(text))


def _length_group(text: str) -> str:
    length = sentence_length(text)
    if length > _LONGEST:
        return f"{_LONGEST + 1}+"
    first = (length - 1) // _STEP * _STEP + 1
    return f"{first}-{first + _STEP - 1}"


def _items(pairs: Iterable[_Pair], split: str, group: str) -> Iterator[Item]:
    for number, source, target in pairs:
        bucket = _length_group(source) if group == "length" else ""
        yield Item(f"{split}/{number}", source, (target,), source=source, group=bucket)


def _tatoeba_pairs(root: Path, split: str) -> Iterable[_Pair]:
    """Pairs with English as source and Chinese as target."""
    for folder in _TATOEBA_FOLDERS:
        files = {name: find_file(root / folder / f"{name}.tsv") for name in SPLITS}
        file = files[split]
        if file:
            return _read_columns(file, 1, 2)
        if any(files.values()):
            raise NotFoundError(f"{root / folder} lacks {split}.tsv", _TATOEBA_HINT)
        for name in _TATOEBA_WHOLE:
            path = root / folder / name
            if path.is_file():
                return _select_split(list(_read_columns(path, 1, 2)), split)
    raise NotFoundError(f"{root} holds no Chinese-English pairs of Tatoeba", _TATOEBA_HINT)


def _select_split(pairs: Sequence[_Pair], split: str) -> list[_Pair]:
    """Pairs (English, Chinese) of a split, by hashes of the English sentences."""
    later = SPLITS[SPLITS.index(split) + 1 :]
    splits = [split_by_hash(pair.source, 30, dev=[28], test=[29]) for pair in pairs]
    reserved = {pair.target for pair, its in zip(pairs, splits, strict=True) if its in later}
    return [pair for pair, its in zip(pairs, splits, strict=True) if its == split and pair.target not in reserved]


def _find_split_file(root: Path, name: str, split: str) -> Path:
    path = split_file(root, name, split)
    found = find_file(path)
    if found is None:
        raise NotFoundError(f"no file {path}")
    return found


def _column_numbers(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,3}),([1-9]\d{0,3})", text)
    if not match or match[1] == match[2]:
        raise UsageError(f"columns can't be {text!r}", "two numbers counted from 1: --set columns=1,2")
    return int(match[1]), int(match[2])


def _read_line_pairs(source: Path, target: Path) -> Iterator[_Pair]:
    """Pairs of the lines of two files."""
    for number, (left, right) in enumerate(zip_longest(_lines(source), _lines(target)), 1):
        if left is None or right is None:
            longer, shorter = (target, source) if left is None else (source, target)
            raise InputError(f"{longer}:{number}: {shorter} has no such line", "both files need the same number of lines")
        pair = _Pair(number, left.strip(), right.strip())
        if bool(pair.source) != bool(pair.target):
            empty, other = (target, source) if pair.source else (source, target)
            raise InputError(f"{empty}:{number}: empty, but {other}:{number} is not", "fill the line, or remove both lines")
        if pair.source:
            yield pair


def _read_columns(path: Path, source: int, target: int) -> Iterator[_Pair]:
    """Pairs of two columns of a file, counted from 1."""
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) < max(source, target):
            raise InputError(f"{path}:{number}: no column {max(source, target)}: only {len(fields)} tab-separated columns")
        pair = _Pair(number, fields[source - 1].strip(), fields[target - 1].strip())
        if bool(pair.source) != bool(pair.target):
            empty, other = (target, source) if pair.source else (source, target)
            raise InputError(f"{path}:{number}: column {empty} is empty, but column {other} is not")
        if pair.source:
            yield pair


def _lines(path: Path) -> Iterator[str]:
    """Lines of a text file, compressed or not, or of ``cmn.txt`` in a zip, with their line ends."""
    if path.suffix != ".zip":
        return read_lines(path)
    member = Member(open_tree(path), "cmn.txt")
    return decode_lines(io.BytesIO(member.open()), str(member))
