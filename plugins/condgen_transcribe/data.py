"""Readers of speech and its transcripts: LibriSpeech and AN4 as published, and anyone's own folder.

Transcripts are read at once, recordings when an item's condition is opened. Published sets are read packed or unpacked, and
their recordings are found by their names without suffix, so re-encoded copies (Opus, WAV, …) serve as well. A compressed tar
(``.tar.gz``) is only fast from its beginning to its end: its items come in stored order, which suits evaluation; for training,
which wants them in any order, unpack it.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from condgen_cli.data.archives import Member, Tree, open_tree
from condgen_cli.data.audio import Recording
from condgen_cli.errors import CondgenError, InputError, IntegrityError, NotFoundError, UsageError
from condgen_cli.files import protect
from condgen_cli.item import Item
from condgen_transcribe import AUDIO_SUFFIXES

__all__ = ["DEV_SPEAKERS", "SPLITS", "an4", "audio_folder", "librispeech"]

SPLITS = ("train", "dev", "test")

DEV_SPEAKERS = ("4088", "4406", "5652", "8226")
"""Those of ``train-clean-100`` who are the dev split where LibriSpeech's own is missing."""

_SUBSET = r"(?:train|dev|test)-(?:clean|other)(?:-\d+)?"
_LIBRISPEECH_HINT = "condgen data pull librispeech --set subset=NAME, or name its folder with --data-dir"

_AN4_PLACES = (".", "an4", "an4.tar", "an4.tar.gz", "an4_sphere.tar", "an4_sphere.tar.gz")
_AN4_HINT = "name the folder of an4_sphere.tar.gz, or of an4/ unpacked from it, with --data-dir"
_AN4_DEV = 100
_AN4_FILE = re.compile(r"(?:\S+/)?(?P<id>[^\s/-]+-[^\s/-]+-[^\s/-]+)")
_AN4_LINE = re.compile(r"(?:<s>\s+)?(?P<words>\S.*?)(?:\s+</s>)?\s+\((?P<id>[^()\s]+)\)")


class _Utterance(NamedTuple):
    id: str
    speaker: str
    transcript: str
    audio: Member


def librispeech(root: Path, split: str, subset: str = "", hours: str = "") -> Sequence[Item]:
    """LibriSpeech (Panayotov et al. 2015) in its publisher's layout, or any part of it.

    A subset such as ``train-clean-100`` is a folder ``LibriSpeech/train-clean-100``, an archive ``train-clean-100.tar.gz`` or
    ``.tar`` that holds this folder, or several: of archives whose names go on (``train-clean-100-extra.tar``) each is a part
    of the subset. An archive isn't opened if the folder of exactly its name is there. An utterance that stands in several
    parts is used once.

    ========  ===============================================================================================
    split     its utterances
    ========  ===============================================================================================
    train     every ``train-…`` subset that is there
    dev       ``dev-clean``; without it, all of ``DEV_SPEAKERS`` in ``train-clean-100``, who then aren't in train
    test      ``test-clean``
    ========  ===============================================================================================

    References are the transcripts as published, in upper case. ``meta["speaker"]`` is the speaker's number.

    Args:
        root: the folder that holds ``LibriSpeech``, that folder itself, or the one with the archives.
        split: ``train``, ``dev`` or ``test``.
        subset: names between commas, read instead of the split's own. ``train-…`` and ``dev-…`` may be named together: each
            goes to its split, and a split of the two that isn't named keeps its own.
        hours: of training speech, as many utterances as fit into it: the speaker with the least so far gets another one, by a
            hash, so that a smaller draw is a part of a larger one. Empty: everything.
    Returns:
        Items sorted by id; part after part in stored order if a part is a compressed archive.
    Raises:
        UsageError: for another split, for subsets that aren't the split's, or if ``hours`` is no number above 0, or more than
            there is.
        NotFoundError: if a subset or the recording of an utterance is missing.
        IntegrityError: if an archive is damaged or a line isn't as published.
    """
    _check_split(split)
    wanted = _positive(hours)
    places = _librispeech_places(root)
    named = [name.strip() for name in subset.split(",") if name.strip()]
    subsets = _librispeech_subsets(split, named, places)
    speakers_apart = split != "test" and not _librispeech_subsets("dev", named, places)
    if split == "dev" and speakers_apart:
        subsets = ["train-clean-100"]
    missing = [name for name in subsets if name not in places]
    if missing or not subsets:
        lacking = "dev-clean and train-clean-100" if split == "dev" and speakers_apart else ", ".join(missing) or "train-…"
        raise NotFoundError(f"{root} lacks {lacking} of LibriSpeech; found: {', '.join(places) or 'none'}", _LIBRISPEECH_HINT)
    found: dict[str, _Utterance] = {}
    for name in subsets:
        for place in places[name]:
            for utterance in _librispeech_utterances(place, name):
                if not speakers_apart or (utterance.speaker in DEV_SPEAKERS) == (split == "dev"):
                    found.setdefault(utterance.id, utterance)
    if not found:
        raise NotFoundError(f"{root} holds no utterance of split {split}", _LIBRISPEECH_HINT)
    utterances = list(found.values())
    if split == "train" and wanted:
        utterances = _drawn(utterances, wanted)
    in_order = _in_reading_order(utterances, [place for name in subsets for place in places[name]], lambda found: found.id)
    return [_item(utterance) for utterance in in_order]


def an4(root: Path, split: str) -> Sequence[Item]:
    """AN4 (Acero 1993), CMU's census database, in its publisher's layout: 948 training and 130 test utterances.

    There is no dev split. As in ESPnet's recipe it is the first 100 training utterances sorted by ``SPEAKER-UTTERANCE``, such
    as ``fash-an251-b``; the other 848 are for training. ``meta["speaker"]`` is the speaker's name, such as ``fash``.

    Args:
        root: the folder that holds ``an4_sphere.tar.gz``, ``an4.tar`` or ``an4``, or the folder ``an4`` itself.
        split: ``train``, ``dev`` or ``test``.
    Returns:
        Items in that order, or in stored order if the archive is compressed. Ids are the publisher's: ``an251-fash-b``.
    Raises:
        UsageError: for another split.
        NotFoundError: if a file or a recording is missing.
        IntegrityError: if the archive is damaged or a line isn't as published.
    """
    _check_split(split)
    part = "test" if split == "test" else "train"
    place, tree, top = _an4_tree(root)
    transcripts = _an4_transcripts(Member(tree, f"{top}etc/an4_{part}.transcription"))
    files = _an4_files(Member(tree, f"{top}etc/an4_{part}.fileids"))
    ids = sorted(files, key=_an4_key)
    if split != "test":
        ids = ids[:_AN4_DEV] if split == "dev" else ids[_AN4_DEV:]
    untold = [id for id in ids if id not in transcripts]
    if untold:
        raise IntegrityError(f"{tree} has no transcript of {untold[0]}", _AN4_HINT)
    names = {f"{top}wav/{files[id]}": id for id in ids}
    utterances = [
        _Utterance(names[name], names[name].split("-")[1], transcripts[names[name]], audio)
        for name, audio in _recordings(tree, names, _AN4_HINT).items()
    ]
    return [_item(utterance) for utterance in _in_reading_order(utterances, [place], lambda found: _an4_key(found.id))]


def audio_folder(root: Path, split: str, tsv: str = "{split}.tsv") -> Sequence[Item]:
    """Anyone's own recordings: a folder, and a file with a path, a tab and a transcript in each line.

    A first line ``file TAB transcript`` is taken as a heading, empty lines are skipped. UTF-8. Blanks around a transcript go;
    nothing else of it is changed.

    Args:
        root: the folder, which the paths are relative to.
        split: stands for ``{split}`` in the file's name. A file without it is all of the split ``test``.
        tsv: the file, relative to the folder.
    Returns:
        Items in the file's order, ids being the paths. A recording that is missing is told when it is read.
    Raises:
        UsageError: for another split, or if the file isn't of the split.
        NotFoundError: if the file is missing.
        InputError: if a line isn't UTF-8, hasn't two columns, has an empty one or repeats a path; the message begins with its
            file and number.
    """
    _check_split(split)
    if "{split}" not in tsv and split != "test":
        raise UsageError(f"{tsv} is of the split test alone, not of {split}", "write {split} where its name has the split")
    path = root / tsv.replace("{split}", split)
    if not path.is_file():
        raise NotFoundError(f"no file {path}", "a line of it: path of a recording TAB its transcript")
    transcripts: dict[str, str] = {}
    for place, name, transcript in _columns(path):
        if name in transcripts:
            raise InputError(f"{place}: {name} stands in an earlier line too")
        transcripts[name] = transcript
    return [Item(name, root / name, (text,), source=str(root / name)) for name, text in transcripts.items()]


def _item(utterance: _Utterance) -> Item:
    audio = utterance.audio
    return Item(utterance.id, audio, (utterance.transcript,), source=str(audio), meta={"speaker": utterance.speaker})


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise UsageError(f"no split named {split!r}", f"its splits: {', '.join(SPLITS)}")


def _in_reading_order(
    utterances: Iterable[_Utterance], places: Iterable[Path], key: Callable[[_Utterance], Any]
) -> list[_Utterance]:
    """Sorted, or as they come, which is as they are stored, if sorting would send a reader to and fro in a compressed tar."""
    return list(utterances) if any(place.suffix == ".gz" for place in places) else sorted(utterances, key=key)


def _recordings(tree: Tree, names: dict[str, str], hint: str) -> dict[str, Member]:
    """Recordings of utterances, in stored order.

    Args:
        names: ids by the files' names in the tree, without suffix.
    """
    found: dict[str, str] = {}
    for name in tree.names():
        stem = str(PurePosixPath(name).with_suffix(""))
        if stem in names and (stem not in found or _preference(name) < _preference(found[stem])):
            found[stem] = name
    missing = [utterance for name, utterance in names.items() if name not in found]
    if missing:
        raise NotFoundError(f"{tree} lacks {len(missing)} of {len(names)} recordings, such as that of {missing[0]}", hint)
    return {stem: Member(tree, name) for stem, name in found.items()}


def _preference(name: str) -> int:
    """Which of several files of one recording is read: SPHERE last, as not every library knows it."""
    suffix = PurePosixPath(name).suffix.lower()
    return AUDIO_SUFFIXES.index(suffix) if suffix in AUDIO_SUFFIXES else len(AUDIO_SUFFIXES)


def _librispeech_places(root: Path) -> dict[str, list[Path]]:
    """Where each subset lies: its folder, then its archives by name. Subsets are sorted by name."""
    if not root.is_dir():
        raise NotFoundError(f"no folder {root}", _LIBRISPEECH_HINT)
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


def _librispeech_subsets(split: str, named: Sequence[str], present: Iterable[str]) -> list[str]:
    """Those that a split is read from; none if it is dev and has none of its own."""
    for name in named:
        if not re.fullmatch(_SUBSET, name):
            raise UsageError(f"{name!r} is no subset of LibriSpeech", "such as --set subset=test-other")
    own = [name for name in dict.fromkeys(named) if name.startswith(f"{split}-")]
    if own:
        return own
    # a recipe's options are for train and dev at once; whoever names a test set must not be given another one
    if named and (split == "test" or all(name.startswith("test-") for name in named)):
        raise UsageError(f"subset {', '.join(named)} is not of split {split}", f"--split {named[0].partition('-')[0]}")
    if split == "train":
        return [name for name in present if name.startswith("train-")]
    return ["test-clean"] if split == "test" else [name for name in present if name == "dev-clean"]


def _librispeech_utterances(place: Path, subset: str) -> Iterator[_Utterance]:
    """Of a subset's folder or archive, in stored order."""
    tree = open_tree(place)
    top = "" if place.is_dir() else rf"(?:.*/)?{subset}/"
    texts: dict[str, str] = {}
    names: dict[str, str] = {}
    for name in tree.names():
        chapter = re.fullmatch(rf"({top}(\d+)/(\d+)/)\2-\3\.trans\.txt", name)
        if chapter:
            for id, text in _librispeech_transcripts(Member(tree, name)):
                texts[id] = text
                names[f"{chapter[1]}{id}"] = id
    if not texts:
        raise IntegrityError(f"{place} holds no transcripts of {subset}", _LIBRISPEECH_HINT)
    for stem, member in _recordings(tree, names, _LIBRISPEECH_HINT).items():
        id = names[stem]
        yield _Utterance(id, id.partition("-")[0], texts[id], member)


def _librispeech_transcripts(member: Member) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_text(member).splitlines(), 1):
        match = re.fullmatch(r"(\d+-\d+-\d+)\s+(\S.*?)\s*", line)
        if match:
            yield match[1], match[2]
        elif line.strip():
            raise IntegrityError(f"{member}:{number}: expected an utterance's id and its transcript", _LIBRISPEECH_HINT)


def _positive(hours: str) -> float:
    """0 for nothing."""
    try:
        value = float(hours or 0)
    except ValueError:
        value = math.nan
    if hours and not 0 < value < math.inf:
        raise UsageError(f"hours can't be {hours!r}", "a number above 0: --set hours=2.5")
    return value


def _drawn(utterances: Sequence[_Utterance], hours: float) -> list[_Utterance]:
    """As many as fit into ``hours``, by speaker in turn, in their old order."""
    # in stored order: the durations of what is in a compressed tar are read on the way through it
    seconds = {utterance.id: _seconds(utterance.audio) for utterance in utterances}
    total = math.fsum(seconds.values()) / 3600
    if hours > total:
        there = math.floor(total * 100) / 100
        raise UsageError(f"hours can't be {hours:g}: there are {there:g}", "leave hours out for all of it")
    waiting: defaultdict[str, list[str]] = defaultdict(list)
    for utterance in sorted(utterances, key=lambda utterance: _hash(utterance.id)):
        waiting[utterance.speaker].append(utterance.id)
    turns = [(0.0, _hash(speaker), speaker) for speaker in waiting]
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


def _seconds(audio: Member) -> float:
    try:
        recording = Recording(audio)
    except InputError as error:
        raise IntegrityError(f"{audio} is damaged or no sound that can be read: {error.message}") from None
    recording.close()
    if recording.seconds is None:
        raise IntegrityError(f"{audio} doesn't say how long it is")
    return recording.seconds


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _an4_tree(root: Path) -> tuple[Path, Tree, str]:
    """The folder or archive, and what the names in it begin with."""
    for place in _AN4_PLACES:
        path = root / place
        if path.is_file():
            tree = open_tree(path)
            top = next((name.removesuffix("etc/an4_train.fileids") for name in tree.names() if _is_an4_list(name)), None)
            if top is None:
                raise IntegrityError(f"{path} lacks etc/an4_train.fileids", _AN4_HINT)
            return path, tree, top
        if (path / "etc" / "an4_train.fileids").is_file():
            return path, open_tree(path), ""
    raise NotFoundError(f"{root} lacks AN4: an4_sphere.tar.gz, an4.tar or an4/etc/an4_train.fileids", _AN4_HINT)


def _is_an4_list(name: str) -> bool:
    return f"/{name}".endswith("/etc/an4_train.fileids")


def _an4_key(id: str) -> str:
    """What ``an251-fash-b`` is sorted by: ``fash-an251-b``."""
    utterance, speaker, take = id.split("-")
    return f"{speaker}-{utterance}-{take}"


def _an4_files(member: Member) -> dict[str, str]:
    """Paths below ``wav``, without suffix, by utterance."""
    files = {}
    for number, line in enumerate(_text(member).splitlines(), 1):
        match = _AN4_FILE.fullmatch(line.strip())
        if match:
            files[match["id"]] = match[0]
        elif line.strip():
            raise IntegrityError(f"{member}:{number}: expected a path that ends in UTTERANCE-SPEAKER-TAKE", _AN4_HINT)
    return files


def _an4_transcripts(member: Member) -> dict[str, str]:
    transcripts = {}
    for number, line in enumerate(_text(member).splitlines(), 1):
        match = _AN4_LINE.fullmatch(line.strip())
        if match:
            transcripts[match["id"]] = match["words"]
        elif line.strip():
            raise IntegrityError(f"{member}:{number}: expected words and an utterance's id in brackets", _AN4_HINT)
    return transcripts


def _text(member: Member) -> str:
    try:
        return member.open().decode("utf-8")
    except UnicodeDecodeError:
        raise IntegrityError(f"{member} is not UTF-8") from None


def _columns(path: Path) -> Iterator[tuple[str, str, str]]:
    """Place, path and transcript of each line."""
    try:
        # bytes: a transcript may hold what str.splitlines takes for a line's end
        protect(path)
        lines = path.read_bytes().removeprefix("\ufeff".encode()).split(b"\n")
    except OSError as error:
        raise CondgenError(f"can't read {path}: {error.strerror or error}") from None
    for number, line in enumerate(lines, 1):
        place = f"{path}:{number}"
        try:
            fields = [field.strip() for field in line.decode("utf-8").split("\t")]
        except UnicodeDecodeError:
            raise InputError(f"{place}: not UTF-8") from None
        if not any(fields) or (number == 1 and [field.lower() for field in fields] == ["file", "transcript"]):
            continue
        if len(fields) != 2 or not all(fields):
            raise InputError(f"{place}: expected a recording's path, a tab and its transcript")
        yield place, fields[0], fields[1]
