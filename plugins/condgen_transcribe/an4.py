"""AN4 (Acero 1993), CMU's census database, in its publisher's layout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from condgen_cli.data.archives import Member, Tree, open_tree
from condgen_cli.errors import IntegrityError, NotFoundError
from condgen_cli.item import Item
from condgen_transcribe.utterances import Utterance, find_recordings, to_items

__all__ = ["an4"]

_PLACES = (".", "an4", "an4.tar", "an4.tar.gz", "an4_sphere.tar", "an4_sphere.tar.gz")
_HINT = "name the folder of an4_sphere.tar.gz, or of an4/ unpacked from it, with --data-dir"
_DEV = 100
_FILE = re.compile(r"(?:\S+/)?(?P<id>[^\s/-]+-[^\s/-]+-[^\s/-]+)")
_LINE = re.compile(r"(?:<s>\s+)?(?P<words>\S.*?)(?:\s+</s>)?\s+\((?P<id>[^()\s]+)\)")


def an4(root: Path, split: str) -> Sequence[Item]:
    """AN4 (Acero 1993), CMU's census database, in its publisher's layout: 948 training and 130 test utterances.

    AN4 has no dev split. As in ESPnet's recipe, it is the first 100 training utterances sorted by ``SPEAKER-UTTERANCE``, such
    as ``fash-an251-b``; the other 848 are for training. ``meta["speaker"]`` is the speaker's name, such as ``fash``.

    Args:
        root: the folder that holds ``an4_sphere.tar.gz``, ``an4.tar`` or ``an4``, or the folder ``an4`` itself.
        split: ``train``, ``dev`` or ``test``.
    Returns:
        Items in that order, or in stored order if the archive is compressed. Ids are the publisher's: ``an251-fash-b``.
    Raises:
        NotFoundError: if a file or a recording is missing.
        IntegrityError: if the archive is damaged or a line isn't as published.
    """
    part = "test" if split == "test" else "train"
    place, tree, top = _find_tree(root)
    transcripts = _read_transcripts(Member(tree, f"{top}etc/an4_{part}.transcription"))
    files = _read_files(Member(tree, f"{top}etc/an4_{part}.fileids"))
    ids = sorted(files, key=_sort_key)
    if split != "test":
        ids = ids[:_DEV] if split == "dev" else ids[_DEV:]
    missing = [id for id in ids if id not in transcripts]
    if missing:
        raise IntegrityError(f"{tree} has no transcript of {missing[0]}", _HINT)
    names = {f"{top}wav/{files[id]}": id for id in ids}
    utterances = [
        Utterance(names[name], names[name].split("-")[1], transcripts[names[name]], audio)
        for name, audio in find_recordings(tree, names, _HINT).items()
    ]
    return to_items(utterances, [place], key=_sort_key)


def _find_tree(root: Path) -> tuple[Path, Tree, str]:
    """The folder or archive, as a path and opened, and the prefix of the names in it."""
    for place in _PLACES:
        path = root / place
        if path.is_file():
            tree = open_tree(path)
            top = next((name.removesuffix("etc/an4_train.fileids") for name in tree.names() if _is_list(name)), None)
            if top is None:
                raise IntegrityError(f"{path} lacks etc/an4_train.fileids", _HINT)
            return path, tree, top
        if (path / "etc" / "an4_train.fileids").is_file():
            return path, open_tree(path), ""
    raise NotFoundError(f"{root} lacks AN4: an4_sphere.tar.gz, an4.tar or an4/etc/an4_train.fileids", _HINT)


def _is_list(name: str) -> bool:
    return f"/{name}".endswith("/etc/an4_train.fileids")


def _sort_key(id: str) -> str:
    """The sort key of ``an251-fash-b``: ``fash-an251-b``."""
    utterance, speaker, take = id.split("-")
    return f"{speaker}-{utterance}-{take}"


def _read_files(member: Member) -> dict[str, str]:
    """Paths below ``wav``, without suffix, by utterance."""
    files = {}
    for number, line in enumerate(member.text().splitlines(), 1):
        match = _FILE.fullmatch(line.strip())
        if match:
            files[match["id"]] = match[0]
        elif line.strip():
            raise IntegrityError(f"{member}:{number}: expected a path that ends in UTTERANCE-SPEAKER-TAKE", _HINT)
    return files


def _read_transcripts(member: Member) -> dict[str, str]:
    transcripts = {}
    for number, line in enumerate(member.text().splitlines(), 1):
        match = _LINE.fullmatch(line.strip())
        if match:
            transcripts[match["id"]] = match["words"]
        elif line.strip():
            raise IntegrityError(f"{member}:{number}: expected words and an utterance's id in brackets", _HINT)
    return transcripts
