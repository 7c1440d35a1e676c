"""Sound of every container: a film's, on the film's clock; of several streams one; through a pipe as well as from a disk."""

from __future__ import annotations

import io
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from condgen_cli.data import audio, pipe
from condgen_cli.data.audio import Recording, load_audio, read_segments
from condgen_cli.errors import InputError

RATE = 16_000
SECONDS = 3.0
FORMATS = {
    "m4a": ("ipod", "aac", 44_100),
    "aac": ("adts", "aac", 44_100),
    "mp4": ("mp4", "aac", 48_000),
    "mov": ("mov", "aac", 48_000),
    "webm": ("webm", "libopus", 48_000),
    "mkv": ("matroska", "libopus", 48_000),
    "mka": ("matroska", "flac", 16_000),
    "3gp": ("3gp", "libopencore_amrnb", 8_000),
    "amr": ("amr", "libopencore_amrnb", 8_000),
    "ac3": ("ac3", "ac3", 48_000),
    "oga": ("ogg", "flac", 16_000),
    "mp3.wav": ("wav", "libmp3lame", 44_100),
    "adpcm.wav": ("wav", "adpcm_ima_wav", 16_000),
    "mp3": ("mp3", "libmp3lame", 44_100),
    "mp2": ("mp2", "mp2", 44_100),
    "aiff": ("aiff", "pcm_s16be", 16_000),
    "au": ("au", "pcm_s16be", 16_000),
    "caf": ("caf", "pcm_s16be", 16_000),
    "alac.caf": ("caf", "alac", 16_000),
    "wma": ("asf", "wmav2", 44_100),
    "ts": ("mpegts", "aac", 48_000),
    "avi": ("avi", "libmp3lame", 44_100),
    "flv": ("flv", "aac", 44_100),
    "wv": ("wv", "wavpack", 16_000),
    "u8.wav": ("wav", "pcm_u8", 16_000),
    "s32.wav": ("wav", "pcm_s32le", 16_000),
    "f64.mka": ("matroska", "pcm_f64le", 16_000),
}

Floats = NDArray[np.float32]


def wave(seconds: float, rate: int = RATE, frequency: float = 440.0) -> Floats:
    """A tone that grows louder, so that it can be seen where it begins and ends."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * time / seconds * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def film(
    name: str,
    format: str,
    codec: str,
    rate: int,
    *,
    start: float = 0.0,
    pictures: bool = False,
    tones: tuple[float, ...] = (440.0,),
    seconds: float = SECONDS,
    options: dict[str, str] | None = None,
) -> Path:
    """A file with a sound stream for each tone, which begins after ``start`` seconds."""
    path = Path(name)
    with av.open(path, "w", format=format, options=options or {}) as container:
        layout = "stereo" if codec == "wmav2" else "mono"
        streams = [container.add_stream(codec, rate=rate, layout=layout) for _ in tones]
        if codec == "wmav2":
            streams[0].bit_rate = 128_000
        if pictures:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(round(10 * (seconds + start))):
                picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * number % 255, np.uint8), format="rgb24")
                picture.pts, picture.time_base = number, Fraction(1, 10)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        for sound, tone in zip(streams, tones, strict=True):
            context = sound.codec_context
            converter = av.AudioResampler(format=context.format.name, layout=layout, rate=rate)
            samples = wave(seconds, rate, tone)
            size = context.frame_size or 1024
            for place in range(0, len(samples), size):
                frame = av.AudioFrame.from_ndarray(samples[None, place : place + size], format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = rate, place + round(start * rate), Fraction(1, rate)
                for converted in converter.resample(frame):
                    container.mux(sound.encode(converted))
            container.mux(sound.encode(None))
    return path


@contextmanager
def piped(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard input is a pipe through which these bytes come."""
    reading, writing = os.pipe()

    def write() -> None:
        try:
            with os.fdopen(writing, "wb") as file:
                file.write(data)
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=stream, closed=False))
        yield
    thread.join()


def all_of(source: object) -> tuple[Floats, tuple[str, ...]]:
    """All samples of a recording, and what it says is wrong."""
    recording = Recording(source)
    samples = np.concatenate([segment.samples for segment in read_segments(recording, longest=100)])
    return samples, recording.warnings


def frequency(samples: Floats) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax()) * RATE / len(samples)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_from_disk_and_through_a_pipe(
    kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = film(f"sound.{kind}", *FORMATS[kind]).rename("sound")  # its name says nothing
    found = [all_of(path)]
    with piped(path.read_bytes(), monkeypatch):
        found.append(all_of("-"))
    told = capfd.readouterr().err.splitlines()
    assert len(told) == (kind in ("m4a", "mp4", "mov", "3gp", "alac.caf"))
    assert all("is copied to a temporary file first" in line for line in told)
    for samples, warnings in found:
        assert warnings == ()
        assert len(samples) / RATE == pytest.approx(SECONDS, abs=0.1)
        assert frequency(samples) == pytest.approx(440, abs=2)
        first, second, third = (float(part.std()) for part in np.array_split(samples, 3))
        usual = 0.211 if kind == "wma" else 0.298  # that is in stereo, which costs 3 dB
        assert third == pytest.approx(usual, rel=0.2)  # no louder
        assert (first / third, second / third) == pytest.approx((0.23, 0.607), rel=0.25)  # no shorter, no later


@pytest.mark.parametrize(
    ("format", "codec"), [("mp4", "aac"), ("matroska", "libopus"), ("mpegts", "mp2"), ("mov", "pcm_s16le")]
)
def test_a_film_s_sound_is_timed_by_the_film(format: str, codec: str) -> None:
    path = film("film", format, codec, 48_000, start=2.0, pictures=True)
    samples, warnings = all_of(path)
    assert (len(samples) / RATE, warnings) == (pytest.approx(5.0, abs=0.06), ())
    assert not samples[: round(1.9 * RATE)].any()
    begin = int(np.flatnonzero(np.abs(samples) > 0.01)[0]) / RATE
    assert begin == pytest.approx(2.05, abs=0.06)  # it grows from nothing


def test_one_of_several_streams_is_heard_and_named() -> None:
    path = film("film.mkv", "matroska", "flac", 16_000, tones=(300.0, 600.0))
    samples, warnings = all_of(path)
    assert frequency(samples) == pytest.approx(300, abs=2)
    assert warnings == ("it has 2 sound streams; number 1 is heard",)
    assert len(load_audio(path)) == 3 * RATE, "nothing is missing"


def test_a_film_without_sound_is_one_line() -> None:
    path = film("film.mp4", "mp4", "aac", 48_000, pictures=True, tones=())
    with pytest.raises(InputError, match=r"^film\.mp4 has pictures and no sound$"):
        Recording(path)


def test_mp4_that_was_broken_off() -> None:
    whole = film("whole.mp4", "mp4", "aac", 48_000, seconds=20).read_bytes()
    with pytest.raises(InputError, match=r"is broken: its index is missing, as in an interrupted recording$"):
        Recording(whole[: len(whole) // 2])
    fast = film("fast.mp4", "mp4", "aac", 48_000, seconds=20, options={"movflags": "faststart"}).read_bytes()
    samples, (warning,) = all_of(fast[: len(fast) // 2])
    assert warning.startswith("cut short: ")
    assert warning.endswith(" of 20.0 s are there")
    assert 5 * RATE < len(samples) < 15 * RATE


@pytest.mark.parametrize("kind", ["mkv", "mp3", "mp3.wav", "oga", "wv", "caf", "avi"])
def test_what_is_there_of_a_cut_file_is_used(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = film("sound", *FORMATS[kind], seconds=20).read_bytes()
    data = data[: len(data) * 6 // 10]
    from_disk = all_of(data)
    with piped(data, monkeypatch):
        through_pipe = all_of("-")
    for samples, warnings in (from_disk, through_pipe):
        assert 6 * RATE < len(samples) < 14 * RATE
        if kind != "mp3" or samples is from_disk[0]:  # that of an MP3 isn't known before its end has come
            (warning,) = warnings
            assert warning.startswith("cut short: ")


def test_a_cut_film_of_fragments_is_told() -> None:
    options = {"movflags": "frag_keyframe+empty_moov"}
    whole = film("film.mp4", "mp4", "aac", 48_000, pictures=True, options=options, seconds=20).read_bytes()
    assert all_of(whole)[1] == ()
    samples, (warning,) = all_of(whole[: len(whole) // 2])
    assert re.fullmatch(r"cut short: .* missing|damaged.*", warning)
    assert len(samples) > 4 * RATE


def test_a_hole_in_a_film_leaves_what_follows_in_its_place() -> None:
    data = film("film.mp4", "mp4", "aac", 48_000, seconds=20).read_bytes()
    whole, _ = all_of(data)
    middle = len(data) // 2
    samples, (warning,) = all_of(data[:middle] + bytes(20_000) + data[middle + 20_000 :])
    assert warning.startswith("damaged")
    assert len(samples) == pytest.approx(len(whole), abs=RATE // 10)
    loud = np.abs(whole[-2 * RATE :]).max()
    assert np.abs(samples[-2 * RATE :]).max() == pytest.approx(loud, rel=0.05)


def test_a_pipe_is_decoded_as_it_comes() -> None:
    """Parts are there before the pipe ends, and what has been read isn't kept."""
    data = film("talk.flac", "flac", "flac", 16_000, seconds=60).read_bytes()
    reading, writing = os.pipe()
    given = threading.Event()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(data[: len(data) * 9 // 10])
            file.flush()
            given.wait(60)
            file.write(data[len(data) * 9 // 10 :])

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb") as stream:
        os.symlink(f"/dev/fd/{stream.fileno()}", "fifo")
        recording = Recording("fifo")
        segments = read_segments(recording, longest=5)
        assert len(list(islice(segments, 3))) == 3
        assert not given.is_set()
        given.set()
        assert list(segments)[-1].end == pytest.approx(60, abs=0.01)
        assert recording.warnings == ()
    thread.join()


def test_what_is_kept_of_a_pipe_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = film("film.mp4", "mp4", "aac", 48_000).read_bytes()
    monkeypatch.setattr(pipe, "MAX_SPOOL", 10_000)
    with piped(data, monkeypatch), pytest.raises(InputError, match=r"standard input holds more than") as failure:
        Recording("-")
    assert failure.value.hint == "give it as a file"


def test_what_is_no_sound_ends_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "_MAX_HEAD", 1 << 20)
    for data, message in (
        (np.random.default_rng(0).bytes(3 << 20), "standard input is not a sound file of a known format"),
        (b"a line of text\n" * 200_000, "standard input is a text, not a sound recording"),
        (b"", "standard input is empty"),
    ):
        with piped(data, monkeypatch), pytest.raises(InputError, match=f"^{message}$"):
            Recording("-")


def test_standard_input_that_is_a_file_is_read_as_one(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    film("film.mp4", "mp4", "aac", 48_000)
    Path("standard input").write_bytes(b"what is called so is another file")
    with Path("film.mp4").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        samples, _ = all_of("-")
    assert len(samples) == pytest.approx(3 * RATE, abs=RATE // 10)
    assert capfd.readouterr().err == "", "no temporary file"
    with pytest.raises(InputError, match=r"^standard input is a text, not a sound recording$"):
        Recording("standard input")


def test_seconds_are_told_before_they_are_decoded() -> None:
    makers: list[Callable[[], Path]] = [
        lambda: film("a.wav", "wav", "pcm_s16le", 16_000),
        lambda: film("a.m4a", "ipod", "aac", 44_100),
        lambda: film("a.mp3", "mp3", "libmp3lame", 44_100),
    ]
    for make in makers:
        assert Recording(make()).seconds == pytest.approx(3, abs=0.05)
    assert audio.MAX_SECONDS == 3600
