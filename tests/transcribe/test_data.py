"""Readers of speech, and fetching LibriSpeech."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.data.audio import load_audio
from condgen_cli.data.splits import SPLITS
from condgen_cli.data.store import open_dataset, pull_dataset
from condgen_cli.errors import InputError, IntegrityError, NotFoundError, UsageError
from condgen_cli.item import Item
from condgen_cli.specs import DatasetSpec
from condgen_transcribe import condgen_register_datasets
from condgen_transcribe.an4 import an4
from condgen_transcribe.audio_folder import audio_folder
from condgen_transcribe.librispeech import DEV_SPEAKERS, librispeech

RATE = 16_000


def sound(seconds: float = 0.1, suffix: str = ".wav", level: float = 0.1) -> bytes:
    """A file of that kind, of one value throughout."""
    stream = io.BytesIO()
    soundfile.write(stream, np.full(round(seconds * RATE), level), RATE, format=suffix[1:])
    return stream.getvalue()


def write_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """Files in the order given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def ids(items: Iterable[Item]) -> list[str]:
    return [item.id for item in items]


def words(id: str) -> str:
    return f"WHAT {id.replace('-', ' SAID ')} IT'S"


def subset_files(subset: str, chapters: Mapping[str, int], suffix: str = ".flac", seconds: float = 0.1) -> dict[str, bytes]:
    """A subset's files as published: of each ``SPEAKER-CHAPTER`` so many utterances."""
    files = {}
    for chapter, count in chapters.items():
        folder = f"LibriSpeech/{subset}/{chapter.replace('-', '/')}"
        names = [f"{chapter}-{number:04}" for number in range(count)]
        lines = "".join(f"{name} {words(name)}\n" for name in names)
        files |= {f"{folder}/{name}{suffix}": sound(seconds, suffix) for name in names}
        files[f"{folder}/{chapter}.trans.txt"] = lines.encode()
    return {**files, "LibriSpeech/README.TXT": b"read me"}


TEST_CLEAN = subset_files("test-clean", {"61-70968": 2, "1089-134686": 3})
TEST_CLEAN_IDS = ["1089-134686-0000", "1089-134686-0001", "1089-134686-0002", "61-70968-0000", "61-70968-0001"]


def own_folder(root: Path, files: Mapping[str, bytes]) -> Path:
    return write_folder(root, files) / "LibriSpeech"


def tar(root: Path, files: Mapping[str, bytes]) -> Path:
    return write_tar(root / "test-clean.tar", files).parent


def compressed_tar(root: Path, files: Mapping[str, bytes]) -> Path:
    return write_tar(root / "test-clean.tar.gz", dict(sorted(files.items()))).parent


@pytest.mark.parametrize("layout", [write_folder, own_folder, tar, compressed_tar])
def test_librispeech_is_read_as_published(tmp_path: Path, layout: Callable[..., Path]) -> None:
    items = librispeech(layout(tmp_path, TEST_CLEAN), "test")
    assert ids(items) == TEST_CLEAN_IDS
    assert [item.references for item in items] == [(words(id),) for id in TEST_CLEAN_IDS]
    assert [item.meta["speaker"] for item in items] == ["1089"] * 3 + ["61"] * 2
    assert all("test-clean" in item.source and item.id in item.source for item in items)
    assert [item.condition.open() for item in items] == [sound(suffix=".flac")] * 5
    assert load_audio(items[0].condition).shape == (1600,)


def test_a_compressed_archive_is_read_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    backwards = dict(reversed(TEST_CLEAN.items()))
    write_tar(tmp_path / "packed" / "test-clean.tar.gz", backwards)
    write_tar(tmp_path / "plain" / "test-clean.tar", backwards)
    stored = [Path(name).stem for name in backwards if name.endswith(".flac")]
    assert stored != TEST_CLEAN_IDS
    assert ids(librispeech(tmp_path / "packed", "test")) == stored
    assert ids(librispeech(tmp_path / "plain", "test")) == TEST_CLEAN_IDS


@pytest.mark.parametrize(
    ("suffixes", "chosen"),
    [((".opus", ".flac"), ".flac"), ((".sph", ".wav"), ".wav"), ((".sph",), ".sph"), ((".xyz", ".Sph"), ".Sph")],
)
def test_a_recording_may_have_any_suffix(tmp_path: Path, suffixes: Sequence[str], chosen: str) -> None:
    folder = "LibriSpeech/test-clean/61/70968/61-70968"
    write_folder(tmp_path, {f"{folder}.trans.txt": b"61-70968-0000 SO\n"})
    write_folder(tmp_path, {f"{folder}-0000{suffix}": suffix.encode() for suffix in suffixes})
    (item,) = librispeech(tmp_path, "test")
    assert item.condition.open() == chosen.encode()


def write_parts(root: Path, *more: str) -> Path:
    """Training archives as people keep them: a chapter in two, a part in two files, dev speakers; and other subsets."""
    dev = {f"{speaker}-1": 2 for speaker in DEV_SPEAKERS}
    write_tar(root / "train-clean-100.tar", subset_files("train-clean-100", {"19-198": 2, "26-495": 1, **dev}))
    write_tar(root / "train-clean-100-extra.tar", subset_files("train-clean-100", {"1034-121119": 1}, ".wav"))
    write_tar(root / "train-clean-5.tar", subset_files("train-clean-5", {"19-198": 2, "1088-134315": 1}))
    for name in more:
        write_folder(root, subset_files(name, {f"{len(name)}-1": 2}))
    return root


DEV_IDS = [f"{speaker}-1-000{number}" for speaker in DEV_SPEAKERS for number in range(2)]
TRAIN_100_IDS = ["1034-121119-0000", "19-198-0000", "19-198-0001", "26-495-0000"]
TRAIN_5_IDS = ["1088-134315-0000", "19-198-0000", "19-198-0001"]
TRAIN_IDS = sorted({*TRAIN_100_IDS, *TRAIN_5_IDS})


def test_dev_is_four_training_speakers_where_there_is_no_other(tmp_path: Path) -> None:
    write_parts(tmp_path)
    assert ids(librispeech(tmp_path, "dev")) == DEV_IDS
    assert ids(librispeech(tmp_path, "train")) == TRAIN_IDS


def test_dev_clean_leaves_all_speakers_for_training(tmp_path: Path) -> None:
    write_parts(tmp_path, "dev-clean", "dev-other")
    assert ids(librispeech(tmp_path, "dev")) == ["9-1-0000", "9-1-0001"]
    train = librispeech(tmp_path, "train")
    assert ids(train) == sorted([*TRAIN_IDS, *DEV_IDS])
    assert {item.references for item in train if item.id in DEV_IDS} == {(words(id),) for id in DEV_IDS}


@pytest.mark.parametrize(
    ("split", "subset", "expected"),
    [
        ("test", "test-other", ["10-1-0000", "10-1-0001"]),
        ("dev", "dev-other", ["9-1-0000", "9-1-0001"]),
        ("train", "train-clean-5", TRAIN_5_IDS),
        ("dev", "train-clean-5", DEV_IDS),
        ("train", "train-clean-100", TRAIN_100_IDS),
        ("train", "train-clean-100, train-clean-5", TRAIN_IDS),
        ("train", "train-clean-100,dev-other", sorted([*TRAIN_100_IDS, *DEV_IDS])),
        ("train", "dev-other", sorted([*TRAIN_IDS, *DEV_IDS])),
    ],
)
def test_subsets_are_read_by_name(tmp_path: Path, split: str, subset: str, expected: list[str]) -> None:
    write_parts(tmp_path, "dev-other", "test-clean", "test-other")
    assert ids(librispeech(tmp_path, split, subset=subset)) == expected


@pytest.mark.parametrize(
    ("split", "subset", "error", "told"),
    [
        ("test", "dev-other", UsageError, "subset dev-other is not of split test"),
        ("test", "train-clean-5", UsageError, "not of split test"),
        ("dev", "test-clean", UsageError, "not of split dev"),
        ("train", "clean", UsageError, "'clean' is not a subset"),
        ("test", "", NotFoundError, "lacks test-clean of LibriSpeech; found: test-other, train-clean-5"),
        ("test", "test-clean,test-other", NotFoundError, "lacks test-clean of"),
        ("dev", "", NotFoundError, "lacks dev-clean and train-clean-100 of"),
        ("train", "train-other-500", NotFoundError, "lacks train-other-500 of"),
    ],
)
def test_a_subset_that_does_not_fit_is_told(tmp_path: Path, split: str, subset: str, error: type, told: str) -> None:
    for name in ("train-clean-5", "test-other"):
        write_folder(tmp_path, subset_files(name, {"1-1": 1}))
    with pytest.raises(error, match=told) as caught:
        librispeech(tmp_path, split, subset=subset)
    assert caught.value.hint


def test_a_folder_comes_before_the_archive_that_it_was_unpacked_from(tmp_path: Path) -> None:
    write_folder(tmp_path, TEST_CLEAN)
    (tmp_path / "test-clean.tar.gz").write_bytes(b"not looked into")
    write_tar(tmp_path / "test-clean-more.tar", subset_files("test-clean", {"8-1": 1, "61-70968": 2}))
    items = librispeech(tmp_path, "test")
    assert ids(items) == [*TEST_CLEAN_IDS, "8-1-0000"]
    assert [Path(item.source).exists() for item in items] == [True] * 5 + [False]


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "two", "1e-3", "0.0012"])
def test_hours_that_cannot_be_are_refused(tmp_path: Path, hours: str) -> None:
    write_folder(tmp_path, subset_files("train-clean-5", {"1-1": 20}))
    with pytest.raises(UsageError, match="hours can't be"):
        librispeech(tmp_path, "train", hours=hours)


def test_hours_are_drawn_evenly_over_speakers_and_grow(tmp_path: Path) -> None:
    """Speakers with long and short utterances and few: each has about as many seconds, as far as they go."""
    long = subset_files("train-clean-5", {"1-1": 8, "1-2": 2, "4-1": 1}, seconds=0.3)
    write_folder(tmp_path, long | subset_files("train-clean-5", {"2-1": 30, "3-1": 30}, seconds=0.1))
    whole = librispeech(tmp_path, "train")
    before: set[str] = set()
    for seconds in (0.5, 1.8, 4.0, 9.0):
        items = librispeech(tmp_path, "train", hours=f"{seconds / 3600:.9f}")
        had: defaultdict[str, float] = defaultdict(float)
        for item in items:
            had[item.meta["speaker"]] += soundfile.info(io.BytesIO(item.condition.open())).duration
        assert seconds - 0.31 < sum(had.values()) <= seconds + 1e-4
        rich = [had[speaker] for speaker in ("1", "2", "3")]
        assert max(rich) - min(rich) < 0.31
        chosen = set(ids(items))
        assert before < chosen
        assert ids(items) == [id for id in ids(whole) if id in chosen]
        before = chosen
    some = [id for id in ids(librispeech(tmp_path, "train", hours=f"{4 / 3600:.9f}")) if id.startswith("2-")]
    assert 5 < len(some) < 30
    assert some != [f"2-1-{number:04}" for number in range(len(some))], "not the first ones"


def test_hours_are_of_training_speech_only(tmp_path: Path) -> None:
    assert ids(librispeech(write_folder(tmp_path, TEST_CLEAN), "test", hours="1e-6")) == TEST_CLEAN_IDS


def test_hours_need_recordings_that_can_be_read(tmp_path: Path) -> None:
    name = "LibriSpeech/train-clean-5/1/1/1-1-0000.flac"
    write_folder(tmp_path, {**subset_files("train-clean-5", {"1-1": 2}), name: b"no sound"})
    assert len(librispeech(tmp_path, "train")) == 2
    with pytest.raises(IntegrityError, match=r"1-1-0000\.flac is damaged or not readable as sound"):
        librispeech(tmp_path, "train", hours="1e-6")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (b"61-70968-0000 YES\n61-70968-0001\n", r"61-70968\.trans\.txt:2: expected an utterance's id"),
        (b"YES\n", r"61-70968\.trans\.txt:1: expected"),
        (b"61-70968-0000 \xff\n", r"trans\.txt is not UTF-8"),
        (b"", "holds no transcripts of test-clean"),
    ],
)
def test_transcripts_that_are_not_as_published_are_told(tmp_path: Path, lines: bytes, told: str) -> None:
    folder = "LibriSpeech/test-clean/61/70968/61-70968"
    write_folder(tmp_path, {f"{folder}.trans.txt": lines, f"{folder}-0000.wav": b""})
    with pytest.raises(IntegrityError, match=told):
        librispeech(tmp_path, "test")


def test_an_incomplete_librispeech_is_told(tmp_path: Path) -> None:
    write_folder(tmp_path, TEST_CLEAN)
    (tmp_path / "LibriSpeech/test-clean/61/70968/61-70968-0001.flac").unlink()
    with pytest.raises(NotFoundError, match="lacks 1 of 5 recordings, such as that of 61-70968-0001"):
        librispeech(tmp_path, "test")
    (tmp_path / "test-other.tar.gz").write_bytes(write_tar(tmp_path / "other.tar.gz", TEST_CLEAN).read_bytes()[:-20])
    with pytest.raises(IntegrityError, match=r"test-other\.tar\.gz is damaged"):
        librispeech(tmp_path, "test", subset="test-other")
    with pytest.raises(NotFoundError, match="no folder"):
        librispeech(tmp_path / "none", "test")


def an4_files(tagged: bool = True, suffix: str = ".wav") -> dict[str, bytes]:
    """As published: 106 training utterances of 53 speakers, and three of the test, not sorted."""
    train = [(f"m{number:02}x", kind) for kind in ("cen1", "an7") for number in reversed(range(53))]
    lists = {"train": ("an4_clstk", train), "test": ("an4test_clstk", [("fcaw", "an9"), ("fcaw", "an10"), ("fabc", "cen2")])}
    files = {}
    for part, (folder, utterances) in lists.items():
        paths = [f"{folder}/{speaker}/{utterance}-{speaker}-b" for speaker, utterance in utterances]
        told = [an4_words(Path(path).name) for path in paths]
        lines = [f"<s> {text} </s>" if tagged else text for text in told]
        transcription = [f"{line} ({Path(path).name})" for line, path in zip(lines, paths, strict=True)]
        files |= {f"an4/wav/{path}{suffix}": sound(0.02) for path in paths}
        files[f"an4/etc/an4_{part}.fileids"] = "\n".join(paths).encode() + b"\n"
        files[f"an4/etc/an4_{part}.transcription"] = "\n".join(transcription).encode() + b"\n"
    return files


def an4_words(id: str) -> str:
    return f"ENTER {id.partition('-')[0].upper()} G M"


AN4_TRAIN = [f"{utterance}-m{number:02}x-b" for number in range(53) for utterance in ("an7", "cen1")]


def unpacked(root: Path, files: Mapping[str, bytes]) -> Path:
    return write_folder(root, files) / "an4"


def an4_tar(root: Path, files: Mapping[str, bytes]) -> Path:
    return write_tar(root / "an4.tar", {f"./{name}": content for name, content in files.items()}).parent


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize("layout", [write_folder, unpacked, an4_tar])
def test_an4_is_read_as_published(tmp_path: Path, layout: Callable[..., Path], tagged: bool) -> None:
    root = layout(tmp_path, an4_files(tagged))
    splits = {split: an4(root, split) for split in SPLITS}
    assert ids(splits["dev"]) == AN4_TRAIN[:100]
    assert ids(splits["train"]) == AN4_TRAIN[100:]
    assert ids(splits["test"]) == ["cen2-fabc-b", "an10-fcaw-b", "an9-fcaw-b"]
    items = [item for items in splits.values() for item in items]
    assert {item.references for item in items} == {(an4_words(item.id),) for item in items}
    assert all(item.meta["speaker"] == item.id.split("-")[1] and item.condition.open() == sound(0.02) for item in items)


def test_a_compressed_an4_is_read_in_stored_order(tmp_path: Path) -> None:
    files = an4_files(suffix=".sph")
    write_tar(tmp_path / "an4_sphere.tar.gz", files)
    stored = [Path(name).stem for name in files if "/an4_clstk/" in name and Path(name).stem in AN4_TRAIN[:100]]
    assert stored != AN4_TRAIN[:100]
    assert ids(an4(tmp_path, "dev")) == stored


@pytest.mark.parametrize(
    ("name", "content", "error", "told"),
    [
        ("etc/an4_test.transcription", b"<s> YES </s> (an9-fcaw-b)\n", IntegrityError, "no transcript of cen2-fabc-b"),
        ("etc/an4_test.transcription", b"\nYES an9-fcaw-b\n", IntegrityError, r"an4_test\.transcription:2: expected words"),
        ("etc/an4_test.fileids", b"an4test_clstk/fcaw/an9\n", IntegrityError, r"an4_test\.fileids:1: expected a path"),
        ("wav/an4test_clstk/fcaw/an9-fcaw-b.wav", None, NotFoundError, "lacks 1 of 3 recordings, such as that of an9-fcaw-b"),
        ("etc/an4_train.fileids", None, NotFoundError, "lacks AN4"),
    ],
)
def test_an_an4_that_is_not_as_published_is_told(
    tmp_path: Path, name: str, content: bytes | None, error: type, told: str
) -> None:
    files = {**an4_files(), f"an4/{name}": content}
    write_folder(tmp_path, {name: content for name, content in files.items() if content is not None})
    with pytest.raises(error, match=told):
        an4(tmp_path, "test")


def test_an_archive_that_is_not_an4_is_told(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"lacks etc/an4_train\.fileids"):
        an4(an4_tar(tmp_path, {"etc/an4_test.fileids": b""}), "test")


TRANSCRIPTS = st.text(st.characters(exclude_characters="\n\t\r\ufeff", exclude_categories=["Cs"])).map(str.strip).filter(bool)


@given(st.lists(TRANSCRIPTS, min_size=1), st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans())
def test_any_transcripts_of_a_folder_are_read(
    tmp_path_factory: pytest.TempPathFactory, transcripts: list[str], heading: bool, end: str, marked: bool
) -> None:
    folder = tmp_path_factory.mktemp("own")
    lines = [f"rec/{number}.wav\t{text}" for number, text in enumerate(transcripts)]
    text = end.join([*(["File\tTranscript"] if heading else []), *lines, ""])
    (folder / "test.tsv").write_bytes(text.encode("utf-8-sig" if marked else "utf-8"))
    items = audio_folder(folder, "test")
    assert [item.references for item in items] == [(text,) for text in transcripts]
    assert ids(items) == [f"rec/{number}.wav" for number in range(len(transcripts))]


def test_recordings_of_a_folder_are_read_when_asked_for(tmp_path: Path) -> None:
    write_folder(tmp_path, {"rec/a.wav": sound(0.5), "lists/train.tsv": b"rec/a.wav\tSo it is.\nrec/b.wav\tNot here.\n"})
    there, missing = audio_folder(tmp_path, "train", tsv="lists/{split}.tsv")
    assert (there.source, there.references) == (str(tmp_path / "rec/a.wav"), ("So it is.",))
    assert load_audio(there.condition).shape == (8000,)
    with pytest.raises(NotFoundError, match=r"b\.wav"):
        load_audio(missing.condition)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a.wav\tyes\na.wav\tno\n", ":2: a.wav is in an earlier line"),
        (b"a.wav\tyes\n\nb.wav no\n", ":3: expected a recording's path, a tab"),
        (b"a.wav\tyes\tno\n", ":1: expected"),
        (b"a.wav\t \n", ":1: expected"),
        (b"\tyes\n", ":1: expected"),
        (b"a.wav\tyes\nfile\ttranscript\nfile\tagain", ":3: file is in an earlier"),
        (b"a.wav\tyes\nb.wav\t\xff\n", ":2: not UTF-8"),
    ],
)
def test_a_bad_line_is_told_with_its_number(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "test.tsv").write_bytes(content)
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'test.tsv'}{told}")):
        audio_folder(tmp_path, "test")


def test_a_file_without_splits_is_of_the_test(tmp_path: Path) -> None:
    (tmp_path / "all.tsv").write_text("a.wav\tyes\n")
    assert ids(audio_folder(tmp_path, "test", tsv="all.tsv")) == ["a.wav"]
    with pytest.raises(UsageError, match="of the split test alone"):
        audio_folder(tmp_path, "dev", tsv="all.tsv")
    with pytest.raises(NotFoundError, match=r"dev\.tsv"):
        audio_folder(tmp_path, "dev")


def spec(name: str) -> DatasetSpec:
    return {spec.name: spec for spec in condgen_register_datasets()}[name]


def test_the_publishers_archives_are_known() -> None:
    archives = {archive.path: archive for archive in spec("librispeech").archives}
    assert len(archives) == 7
    for path, archive in archives.items():
        assert re.fullmatch(r"[0-9a-f]{32}", archive.md5)
        assert archive.sets == (path.removesuffix(".tar.gz"),)
        assert archive.urls[0] == f"https://www.openslr.org/resources/12/{path}"
        assert len({url.rpartition("/")[2] for url in archive.urls}) == 1 < len(archive.urls)
    assert len({(archive.md5, archive.size) for archive in archives.values()}) == 7


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path) -> Iterator[DatasetSpec]:
    """LibriSpeech as a server on this machine publishes it: small, and the first mirror lacks every file."""
    subsets = {"test-clean": TEST_CLEAN, "test-other": subset_files("test-other", {"8-1": 1})}
    files = {f"{name}.tar.gz": write_tar(tmp_path / "www" / f"{name}.tar.gz", files) for name, files in subsets.items()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(tmp_path / "www")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    archives = [
        archive._replace(
            urls=tuple(f"{url}/{place}{archive.path}" for place in ("none/", "")),
            size=files[archive.path].stat().st_size,
            md5=hashlib.md5(files[archive.path].read_bytes()).hexdigest(),
        )
        for archive in spec("librispeech").archives
        if archive.path in files
    ]
    yield spec("librispeech")._replace(archives=tuple(archives))
    server.shutdown()
    server.server_close()


def test_a_subset_is_pulled_and_read(published: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "CONDGEN_DATA", "CONDGEN_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONDGEN_HOME", str(tmp_path / "home"))
    (pulled,) = pull_dataset(published, {"subset": "test-clean"})
    assert pulled == tmp_path / "home" / "data" / "librispeech" / "test-clean.tar.gz"
    items = list(open_dataset("librispeech"))
    assert sorted(ids(items)) == TEST_CLEAN_IDS
    assert load_audio(items[0].condition).shape == (1600,)
    with pytest.raises(NotFoundError, match="lacks test-other"):
        open_dataset("librispeech", options={"subset": "test-other"})

    (tmp_path / "www" / "test-other.tar.gz").write_bytes(b"something else")
    with pytest.raises(IntegrityError):
        pull_dataset(published, {"subset": "test-other"})
    assert sorted(path.name for path in pulled.parent.glob("*.tar.gz")) == ["test-clean.tar.gz"]


def real(name: str) -> Path:
    """The folder with the real data of that name."""
    root = Path(os.environ.get("CONDGEN_TEST_DATA", ""))
    found = [folder for folder in (root / name, root.parent / name) if folder.is_dir()]
    if "CONDGEN_TEST_DATA" not in os.environ or not found:
        pytest.skip(f"CONDGEN_TEST_DATA names no folder with the real {name}")
    return found[0]


def test_the_real_an4_is_whole() -> None:
    splits = [an4(real("an4"), split) for split in SPLITS]
    assert [len(items) for items in splits] == [848, 100, 130]
    assert sum(len(item.references[0].split()) for item in splits[2]) == 773


def test_the_real_librispeech_has_splits_apart() -> None:
    train, dev, test = (librispeech(real("librispeech"), split) for split in SPLITS)
    speakers = [{item.meta["speaker"] for item in items} for items in (train, dev, test)]
    assert not speakers[0] & speakers[1]
    assert not speakers[0] & speakers[2]
    assert len(set(ids(train))) == len(train)
    assert all(item.references[0].isupper() for item in [*train, *dev, *test])


def test_recordings_of_a_folder_may_be_in_any_container(tmp_path: Path) -> None:
    with av.open(tmp_path / "a.m4a", "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        for place in range(0, RATE, 1000):
            frame = av.AudioFrame.from_ndarray(np.full((1, 1000), 0.1, np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, place
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    write_folder(tmp_path, {"cut.wav": sound(1)[:9000], "test.tsv": b"a.m4a\tYES\ncut.wav\tNO\n"})
    whole, cut = audio_folder(tmp_path, "test")
    assert len(load_audio(whole.condition)) == pytest.approx(RATE, abs=RATE // 10)
    with pytest.raises(InputError, match=r"cut\.wav is cut short: 0\.3 of 1\.0 s are there"):  # a transcript is of the whole
        load_audio(cut.condition)
