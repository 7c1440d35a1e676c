"""LibriSpeech (Panayotov et al. 2015) in its publisher's layout, or any part of it."""

from __future__ import annotations

import heapq
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from condgen_cli.data.archives import Member, open_tree
from condgen_cli.data.audio import Recording
from condgen_cli.data.splits import hash_text
from condgen_cli.errors import InputError, IntegrityError, NotFoundError, UsageError
from condgen_cli.item import Item
from condgen_transcribe.utterances import Utterance, find_recordings, to_items

__all__ = ["DEV_SPEAKERS", "librispeech"]

DEV_SPEAKERS = ("4088", "4406", "5652", "8226")
"""Speakers of ``train-clean-100`` that are the dev split if ``dev-clean`` is missing."""

_SUBSET = r"(?:train|dev|test)-(?:clean|other)(?:-\d+)?"
_HINT = "condgen data pull librispeech --set subset=NAME, or name its folder with --data-dir"


def librispeech(root: Path, split: str, subset: str = "", hours: str = "") -> Sequence[Item]:
    """LibriSpeech (Panayotov et al. 2015) in its publisher's layout, or any part of it.

    A subset such as ``train-clean-100`` is a folder ``LibriSpeech/train-clean-100``, an archive ``train-clean-100.tar.gz`` or
    ``.tar`` with this folder, or several parts: an archive with a longer name (``train-clean-100-extra.tar``) is a part of the
    subset. An archive isn't opened if a folder of its exact name exists. An utterance found in several parts is used once.

    ========  ===============================================================================================
    split     its utterances
    ========  ===============================================================================================
    train     every ``train-…`` subset found
    dev       ``dev-clean``; without it, all of ``DEV_SPEAKERS`` in ``train-clean-100``, who then aren't in train
    test      ``test-clean``
    ========  ===============================================================================================

    References are the transcripts as published, in upper case. ``meta["speaker"]`` is the speaker's number.

    Args:
        root: the folder that holds ``LibriSpeech``, that folder itself, or the one with the archives.
        split: ``train``, ``dev`` or ``test``.
        subset: subsets separated by commas, read instead of the split's own. ``train-…`` and ``dev-…`` may be given together:
            each is used for its split, and a split without any keeps its own.
        hours: hours of training speech. Utterances are added, in the order of a hash, to the speaker with the least speech so
            far, so that a smaller selection is a part of a larger one. Empty: everything.
    Returns:
        Items sorted by id; if a part is a compressed archive, part by part in stored order.
    Raises:
        UsageError: if a subset isn't of the split, or ``hours`` isn't a number above 0 or exceeds the speech available.
        NotFoundError: if a subset or an utterance's recording is missing.
        IntegrityError: if an archive is damaged or a line isn't as published.
    """
    wanted = _parse_hours(hours)
    places = _find_places(root)
    named = [name.strip() for name in subset.split(",") if name.strip()]
    subsets = _subsets_of(split, named, places)
    speakers_apart = split != "test" and not _subsets_of("dev", named, places)
    if split == "dev" and speakers_apart:
        subsets = ["train-clean-100"]
    missing = [name for name in subsets if name not in places]
    if missing or not subsets:
        lacking = "dev-clean and train-clean-100" if split == "dev" and speakers_apart else ", ".join(missing) or "train-…"
        raise NotFoundError(f"{root} lacks {lacking} of LibriSpeech; found: {', '.join(places) or 'none'}", _HINT)
    found: dict[str, Utterance] = {}
    for name in subsets:
        for place in places[name]:
            for utterance in _read_utterances(place, name):
                if not speakers_apart or (utterance.speaker in DEV_SPEAKERS) == (split == "dev"):
                    found.setdefault(utterance.id, utterance)
    if not found:
        raise NotFoundError(f"{root} holds no utterance of split {split}", _HINT)
    utterances = list(found.values())
    if split == "train" and wanted:
        utterances = _draw(utterances, wanted)
    return to_items(utterances, [place for name in subsets for place in places[name]], key=str)


def _find_places(root: Path) -> dict[str, list[Path]]:
    """Folder and archives of each subset, in this order. Subsets are sorted by name."""
    if not root.is_dir():
        raise NotFoundError(f"no folder {root}", _HINT)
    entries = sorted(path for folder in (root, root / "LibriSpeech") if folder.is_dir() for path in folder.iterdir())
    places: defaultdict[str, list[Path]] = defaultdict(list)
    for path in entries:
        if re.fullmatch(_SUBSET, path.name) and path.is_dir():
            places[path.name].append(path)
    unpacked = set(places)
    for path in entries:
        match = re.fullmatch(rf"(?P<name>(?P<subset>{_SUBSET})(?:-.+)?)\.tar(?:\.gz)?", path.name)
        if match and match["name"] not in unpacked and path.is_file():
            places[match["subset"]].append(path)
    return dict(sorted(places.items()))


def _subsets_of(split: str, named: Sequence[str], present: Iterable[str]) -> list[str]:
    """The subsets of a split; empty for a dev split without one."""
    for name in named:
        if not re.fullmatch(_SUBSET, name):
            raise UsageError(f"{name!r} is not a subset of LibriSpeech", "for example --set subset=test-other")
    own = [name for name in dict.fromkeys(named) if name.startswith(f"{split}-")]
    if own:
        return own
    # a recipe's options apply to train and dev alike, but a named test set must not be replaced by another
    if named and (split == "test" or all(name.startswith("test-") for name in named)):
        raise UsageError(f"subset {', '.join(named)} is not of split {split}", f"--split {named[0].partition('-')[0]}")
    if split == "train":
        return [name for name in present if name.startswith("train-")]
    return ["test-clean"] if split == "test" else [name for name in present if name == "dev-clean"]


def _read_utterances(place: Path, subset: str) -> Iterator[Utterance]:
    """The utterances of a subset's folder or archive, in stored order."""
    tree = open_tree(place)
    top = "" if place.is_dir() else rf"(?:.*/)?{subset}/"
    texts: dict[str, str] = {}
    names: dict[str, str] = {}
    for name in tree.names():
        chapter = re.fullmatch(rf"({top}(\d+)/(\d+)/)\2-\3\.trans\.txt", name)
        if chapter:
            for id, text in _read_transcripts(Member(tree, name)):
                texts[id] = text
                names[f"{chapter[1]}{id}"] = id
    if not texts:
        raise IntegrityError(f"{place} holds no transcripts of {subset}", _HINT)
    for stem, member in find_recordings(tree, names, _HINT).items():
        id = names[stem]
        yield Utterance(id, id.partition("-")[0], texts[id], member)


def _read_transcripts(member: Member) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(member.text().splitlines(), 1):
        match = re.fullmatch(r"(\d+-\d+-\d+)\s+(\S.*?)\s*", line)
        if match:
            yield match[1], match[2]
        elif line.strip():
            raise IntegrityError(f"{member}:{number}: expected an utterance's id and its transcript", _HINT)


def _parse_hours(hours: str) -> float:
    """The number of hours; 0 for an empty text."""
    try:
        value = float(hours or 0)
    except ValueError:
        value = math.nan
    if hours and not 0 < value < math.inf:
        raise UsageError(f"hours can't be {hours!r}", "a number above 0: --set hours=2.5")
    return value


def _draw(utterances: Sequence[Utterance], hours: float) -> list[Utterance]:
    """Select utterances for ``hours``, evenly over speakers, in their given order."""
    # in stored order, as a compressed tar is read from beginning to end
    seconds = {utterance.id: _measure(utterance.audio) for utterance in utterances}
    total = math.fsum(seconds.values()) / 3600
    if hours > total:
        there = math.floor(total * 100) / 100
        raise UsageError(f"hours can't be {hours:g}: there are {there:g}", "without hours, all are used")
    waiting: defaultdict[str, list[str]] = defaultdict(list)
    for utterance in sorted(utterances, key=lambda utterance: hash_text(utterance.id)):
        waiting[utterance.speaker].append(utterance.id)
    turns = [(0.0, hash_text(speaker), speaker) for speaker in waiting]
    heapq.heapify(turns)
    chosen: set[str] = set()
    left = hours * 3600
    while turns:
        has, tie, speaker = heapq.heappop(turns)
        id = waiting[speaker].pop()
        left -= seconds[id]
        if left < 0:
            break
        chosen.add(id)
        if waiting[speaker]:
            heapq.heappush(turns, (has + seconds[id], tie, speaker))
    return [utterance for utterance in utterances if utterance.id in chosen]


def _measure(audio: Member) -> float:
    try:
        recording = Recording(audio)
    except InputError as error:
        raise IntegrityError(f"{audio} is damaged or not readable as sound: {error.message}") from None
    recording.close()
    if recording.seconds is None:
        raise IntegrityError(f"{audio} doesn't state its duration")
    return recording.seconds
