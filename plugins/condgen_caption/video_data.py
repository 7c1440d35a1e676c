"""Readers of MSVD and MSR-VTT in their publishers' layout; the videos can't be downloaded automatically."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from condgen_cli.data.content import Kind, suffixes_of
from condgen_cli.data.packed import read_text
from condgen_cli.data.video import Footage
from condgen_cli.errors import IntegrityError, NotFoundError
from condgen_cli.files import protect
from condgen_cli.model import Item

__all__ = ["msr_vtt", "msvd"]

MSVD_TRAIN, MSVD_DEV = 1200, 100
MSVD_CAPTIONS = ("AllVideoDescriptions.txt", "video_corpus.csv", "MSR Video Description Corpus.csv")
MSVD_NUMBERS = "youtube_mapping.txt"

_MSR_VTT_SPLITS = {"train": "train", "dev": "validate", "test": "test"}


def msvd(root: Path, split: str) -> Sequence[Item]:
    """The Microsoft Research Video Description Corpus (Chen & Dolan 2011), English captions.

    Clips are the files ``VIDEO_START_END.avi`` (or of another suffix) anywhere below ``root``. Captions are in
    ``AllVideoDescriptions.txt`` (each line a clip's name, a space and a caption) or in the corpus' CSV file. The split is that
    of Venugopalan et al. 2015 and Yao et al. 2015: 1,200, 100 and 670 of the captioned clips, by the numbers in
    ``youtube_mapping.txt`` (each line a name, a space and ``vid1`` etc.), or by name if that file is missing.

    Args:
        root: the folder.
        split: ``train``, ``dev`` or ``test``.
    Raises:
        NotFoundError: if the captions or a clip of the split is missing.
        InputError, IntegrityError: if a file isn't UTF-8, or isn't as published.
    """
    captions = _msvd_captions(root)
    numbers = _msvd_numbers(root, sorted(captions))
    bounds = {"train": (0, MSVD_TRAIN), "dev": (MSVD_TRAIN, MSVD_TRAIN + MSVD_DEV), "test": (MSVD_TRAIN + MSVD_DEV, 10**9)}
    first, last = bounds[split]
    wanted = sorted((number, name) for name, number in numbers.items() if first < number <= last and name in captions)
    return _items(root, {name: captions[name] for _, name in wanted})


def _msvd_captions(root: Path) -> dict[str, list[str]]:
    path = next((root / name for name in MSVD_CAPTIONS if (root / name).is_file()), None)
    if path is None:
        raise NotFoundError(f"{root} lacks the captions of MSVD: {MSVD_CAPTIONS[0]} or {MSVD_CAPTIONS[1]}")
    text = read_text(path)
    captions: dict[str, list[str]] = {}
    for name, caption in _msvd_rows(path, text) if path.suffix == ".csv" else _msvd_lines(path, text):
        captions.setdefault(name, []).append(caption)
    return captions


def _msvd_lines(path: Path, text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            name, _, caption = line.strip().partition(" ")
            if not caption:
                raise IntegrityError(f"{path}:{number}: expected a clip's name, a space and a caption")
            yield name, caption


def _msvd_rows(path: Path, text: str) -> Iterator[tuple[str, str]]:
    for row in csv.DictReader(io.StringIO(text)):
        try:
            name = f"{row['VideoID']}_{row['Start']}_{row['End']}"
            if row["Language"] == "English" and (caption := row["Description"].strip()):
                yield name, caption
        except (KeyError, AttributeError):
            raise IntegrityError(f"{path} lacks a column: VideoID, Start, End, Language or Description") from None


def _msvd_numbers(root: Path, names: Sequence[str]) -> dict[str, int]:
    path = root / MSVD_NUMBERS
    if not path.is_file():
        return {name: number for number, name in enumerate(names, 1)}
    try:
        pairs = [line.split() for line in read_text(path).splitlines() if line.strip()]
        return {name: int(number.removeprefix("vid")) for name, number in pairs}
    except ValueError:
        raise IntegrityError(f"{path}: expected lines of a clip's name, a space and vid1, vid2, …") from None


def msr_vtt(root: Path, split: str) -> Sequence[Item]:
    """MSR-VTT (Xu et al. 2016): videos ``video0.mp4`` and so on anywhere below ``root``, captions in ``*videodatainfo*.json``.

    Args:
        root: the folder.
        split: ``train`` (6,513 videos), ``dev`` (its "validate", 497) or ``test`` (2,990).
    Raises:
        NotFoundError: if the captions or a video of the split is missing.
        InputError, IntegrityError: if a file isn't UTF-8, or isn't as published.
    """
    files = sorted(root.rglob("*videodatainfo*.json"))
    if not files:
        raise NotFoundError(f"{root} lacks the captions of MSR-VTT: videodatainfo.json, or the parts of it")
    captions: dict[str, list[str]] = {}
    for path in files:
        try:
            document: Any = json.loads(read_text(path))
            for video in document["videos"]:
                if video["split"] == _MSR_VTT_SPLITS[split]:
                    captions.setdefault(video["video_id"], [])
            for sentence in document["sentences"]:
                if sentence["video_id"] in captions:
                    captions[sentence["video_id"]].append(str(sentence["caption"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise IntegrityError(f"{path} is not as published: {type(error).__name__}: {error}") from None
    return _items(root, captions)


def _items(root: Path, captions: Mapping[str, Sequence[str]]) -> list[Item]:
    """Items in the order of ``captions``."""
    suffixes = suffixes_of([Kind.clip])
    videos = {path.stem: str(path) for path in sorted(root.rglob("*")) if path.suffix.lower() in suffixes}
    missing = [name for name in captions if name not in videos]
    if missing:
        raise NotFoundError(f"{root} lacks {len(missing)} of the split's {len(captions)} videos, such as {missing[0]}")
    bare = [name for name, texts in captions.items() if not texts]
    if bare:
        raise IntegrityError(f"{bare[0]} has no caption")
    for name in captions:
        protect(videos[name])
    return [Item(name, Footage(videos[name]), tuple(texts), source=videos[name]) for name, texts in captions.items()]
