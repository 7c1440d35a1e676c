"""Sound of every kind becomes mono samples, or one clear line; long recordings are cut at their silences."""

from __future__ import annotations

import io
import re
import struct
import tracemalloc
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from condgen_cli.data import audio
from condgen_cli.data import recording as recording_module
from condgen_cli.data.audio import Recording, Segment, Sound, load_audio, read_segments
from condgen_cli.errors import InputError, NotFoundError, UsageError
from condgen_cli.item import Content

RATE = 16_000
NAMES = ["wav", "float", "flac", "ogg", "opus", "mp3"]
FORMATS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]

Floats = NDArray[np.float32]


def tone(seconds: float, rate: int = RATE, frequency: float = 440.0) -> Floats:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float, level: float, seed: int = 0) -> Floats:
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def encoded(samples: Floats, rate: int = RATE, format: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def frequency(samples: Floats) -> float:
    """Of the strongest tone."""
    return float(np.abs(np.fft.rfft(samples)).argmax()) * RATE / len(samples)


@pytest.mark.parametrize(("format", "subtype"), FORMATS)
def test_formats(format: str, subtype: str | None, tmp_path: Path) -> None:
    original = tone(2) * np.linspace(0, 1, 2 * RATE, dtype=np.float32)
    path = tmp_path / "sound"  # the suffix doesn't matter
    path.write_bytes(encoded(original, format=format, subtype=subtype))
    samples = load_audio(path)
    assert (samples.dtype, samples.shape) == (np.float32, original.shape)
    assert frequency(samples) == pytest.approx(440, abs=1)
    assert samples.std() == pytest.approx(original.std(), rel=0.05)
    if format in ("WAV", "FLAC"):
        np.testing.assert_allclose(samples, original, atol=1e-4)
    for source in (str(path), path.read_bytes()):
        assert (load_audio(source) == samples).all()


@pytest.mark.parametrize(("format", "subtype"), FORMATS)
def test_blocks_do_not_show(format: str, subtype: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    # frames of an MP3 share bits where quiet meets loud
    data = encoded(recording((2, 0.0), (2, 0.3)), format=format, subtype=subtype)
    whole = load_audio(data, 8000)
    monkeypatch.setattr(recording_module, "_BLOCK", 1009)
    np.testing.assert_allclose(load_audio(data, 8000), whole, atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 48_000, 192_000])
def test_rates(rate: int) -> None:
    samples = load_audio(encoded(tone(1, rate), rate))
    assert abs(len(samples) - RATE) <= 1
    assert frequency(samples) == pytest.approx(440, abs=1)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("channels", [2, 6, 32])
def test_channels_are_averaged(channels: int) -> None:
    levels = np.linspace(0, 1, channels, dtype=np.float32)
    samples = load_audio(encoded(tone(0.5)[:, None] * levels, subtype="FLOAT"))
    np.testing.assert_allclose(samples, tone(0.5) / 2, atol=1e-6)


@pytest.mark.parametrize("shift", [1.0, -1.0, -0.5, -0.95])
def test_channels_in_opposite_phase_are_heard(shift: float) -> None:
    speech = noise(3, 0.1)
    samples = load_audio(Sound(np.stack([speech, shift * speech], axis=1), RATE))
    np.testing.assert_allclose(np.abs(samples), np.abs(speech) * (1 + abs(shift)) / 2, atol=1e-6)


@settings(max_examples=25)
@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_no_channels_cancel(channels: int, seed: int) -> None:
    """The mix of any combination of a few sounds has a half of the loudest channel's level, divided by their number."""
    rng = np.random.default_rng(seed)
    sounds = rng.standard_normal((4000, 2)).astype(np.float32)
    parts = [sounds @ rng.uniform(-0.2, 0.2, (2, channels)).astype(np.float32) for _ in range(3)]
    mix = load_audio(Sound(np.concatenate(parts), 8000), 8000)
    for part, mono in zip(parts, np.split(mix, 3), strict=True):
        assert mono[200:].std() >= 0.95 * part[200:].std(axis=0).max() / 2 / channels


def test_a_channel_that_is_turned_over_does_not_click() -> None:
    low = tone(4, RATE, 100)
    turned = np.where(np.arange(4 * RATE) < 2 * RATE, low, -low)
    samples = load_audio(Sound(np.stack([low, turned], axis=1), RATE))
    assert np.abs(np.diff(samples)).max() < 1.5 * np.abs(np.diff(low)).max()
    assert samples[3 * RATE :].std() == pytest.approx(low.std(), rel=0.02)


def test_many_channels_at_a_high_rate() -> None:
    samples = load_audio(encoded(np.repeat(tone(0.5, 192_000)[:, None], 32, axis=1), 192_000))
    assert len(samples) == RATE // 2
    assert frequency(samples) == pytest.approx(440, abs=2)


def test_short_and_silent_sounds_load() -> None:
    assert len(load_audio(encoded(tone(0.01)))) == 160
    assert len(load_audio(encoded(tone(0.01, 8000), 8000))) == 160
    assert len(load_audio(encoded(tone(1)[:1]))) == 1
    assert not load_audio(encoded(np.zeros(RATE, np.float32))).any()


def test_overshoot_is_clipped() -> None:
    samples = load_audio(encoded(3 * tone(0.1), subtype="FLOAT"))
    assert np.abs(samples).max() == 1
    assert np.abs(load_audio(encoded(np.sign(tone(0.1, 48_000)), 48_000))).max() <= 1


def test_decoded_sound() -> None:
    stereo = np.stack([tone(1, 8000), np.zeros(8000)], axis=1)
    samples = load_audio(Sound(stereo, 8000))
    assert (samples.dtype, len(samples)) == (np.float32, RATE)
    assert frequency(samples) == pytest.approx(440, abs=1)
    assert (load_audio(Sound(tone(1), RATE)) == tone(1)).all()
    with pytest.raises(InputError, match="int16"):
        load_audio(Sound(np.zeros(10, np.int16), RATE))


def test_contents_are_read() -> None:
    class Member(Content):
        name = "speech.tar/1.flac"

        def open(self) -> bytes:
            return encoded(tone(1), format="FLAC")[: None if self.name.endswith("flac") else 1000]

    assert len(load_audio(Member())) == RATE
    broken = Member()
    broken.name = "speech.tar/2"
    with pytest.raises(InputError, match=r"speech\.tar/2 is broken"):
        load_audio(broken)


def with_header(data: bytes, **values: int) -> bytes:
    """A WAV with other values in its header."""
    places = {"channels": (22, "<H"), "rate": (24, "<I"), "riff": (4, "<I"), "size": (data.index(b"data") + 4, "<I")}
    changed = bytearray(data)
    for name, value in values.items():
        place, format = places[name]
        struct.pack_into(format, changed, place, value)
    return bytes(changed)


def test_errors_are_one_line(tmp_path: Path) -> None:
    wav = encoded(tone(2))
    cases = {
        "empty.wav": (b"", "empty.wav is empty"),
        "text.wav": (b"not a sound\n" * 50, "text.wav is a text, not a sound recording"),
        "text.mp3": (b"not a sound\n" * 50, "text.mp3 is a text, not a sound recording"),
        "bytes.mp3": (np.random.default_rng(0).bytes(9000), "bytes.mp3 is not a sound file of a known format"),
        "bytes.raw": (np.random.default_rng(1).bytes(9000), "bytes.raw is not a sound file of a known format"),
        "none.wav": (encoded(tone(0)), "none.wav has no samples"),
        "header.wav": (wav[:30], "header.wav is a broken sound file"),
        "nan.wav": (encoded(np.full(RATE, np.nan, np.float32), subtype="FLOAT"), "nan.wav has no valid samples"),
        "unit.wav": (encoded(tone(1) * 32768, subtype="FLOAT"), "unit.wav has samples of 1.638e.04, where full scale is 1"),
        "rate.wav": (with_header(wav, rate=2**31 - 1), "rate.wav has 2147483647 samples per second"),
        "slow.wav": (with_header(wav, rate=1), "slow.wav has 1 samples per second"),
        "zero.wav": (with_header(wav, rate=0), "zero.wav "),
        "channels.wav": (with_header(wav, channels=65_535), "channels.wav is broken"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=message) as failure:
            load_audio(tmp_path / name)
        assert "\n" not in failure.value.message
        with pytest.raises(InputError):
            list(read_segments(data))
    with pytest.raises(InputError, match="is a directory"):
        load_audio(tmp_path)
    with pytest.raises(NotFoundError, match=r"absent\.wav does not exist"):
        load_audio(str(tmp_path / "absent.wav"))
    with pytest.raises(InputError, match="int"):
        load_audio(3)


def heard(source: object) -> tuple[Floats, tuple[str, ...]]:
    """All samples of a recording, and what it says is wrong."""
    recording = Recording(source)
    samples = [segment.samples for segment in read_segments(recording, longest=1000)]
    return np.concatenate(samples), recording.warnings


def test_what_is_there_of_a_damaged_recording_is_used(tmp_path: Path) -> None:
    sound = noise(20, 0.1)
    files = {f"{name}.{name}": encoded(sound, format=f, subtype=s) for name, (f, s) in zip(NAMES, FORMATS, strict=True)}
    cut = {name: data[: len(data) // 2] for name, data in files.items()}
    holed = {name: hole(data) for name, data in files.items() if name not in ("wav.wav", "float.float")}
    for name, data in cut.items():
        (tmp_path / name).write_bytes(data)
        samples, (warning,) = heard(tmp_path / name)
        assert 8 * RATE < len(samples) < 12 * RATE, name
        if name in ("ogg.ogg", "opus.opus"):  # nobody knows how long they were
            assert re.fullmatch(r"cut short: it has no end; \d+\.\d s are there", warning)
        else:
            assert re.fullmatch(r"cut short: \d+\.\d of 20\.\d s are there", warning)
        with pytest.raises(InputError, match=re.escape(f"{name} is cut short: ")):  # what was said isn't what is there
            load_audio(tmp_path / name)
    for name, data in holed.items():
        (tmp_path / name).write_bytes(data)
        samples, warnings = heard(tmp_path / name)
        assert 19 * RATE < len(samples) < 21 * RATE, name
        assert any(warning.startswith(("damaged", "cut short: 19.")) for warning in warnings), name
    samples, _ = heard(holed["flac.flac"])  # after the hole all is where it was
    np.testing.assert_allclose(samples[-5 * RATE :], sound[-5 * RATE :], atol=1e-3)


def test_a_recorder_that_crashed_leaves_a_wrong_header(tmp_path: Path) -> None:
    wav, aiff, au, caf = (encoded(tone(2), format=format, subtype="PCM_16") for format in ("WAV", "AIFF", "AU", "CAF"))
    for name, data in {
        "zero.wav": with_header(wav, size=0),
        "all-zero.wav": with_header(with_header(wav, size=0), riff=0),
        "stale.wav": with_header(wav, size=6000),
        "zero.aiff": with_size(aiff, b"SSND", 0),
        "zero.au": au[:8] + bytes(4) + au[12:],
    }.items():
        (tmp_path / name).write_bytes(data)
        samples, (warning,) = heard(tmp_path / name)
        assert len(samples) == 2 * RATE, name
        assert re.fullmatch(r"its header says 0\.\d s, as in an interrupted recording; all 2\.0 s .* used", warning)
        assert len(load_audio(tmp_path / name)) == 2 * RATE, "nothing is missing"
    samples, (warning,) = heard(caf[: len(caf) // 2])
    assert warning.startswith("cut short: ")
    assert abs(len(samples) - RATE) < 2100


def test_other_chunks_are_no_samples() -> None:
    wav = with_header(encoded(tone(0)), size=0) + b"LIST\x1a\0\0\0INFOISFT\x0e\0\0\0Lavf58.29.100\0"
    with pytest.raises(InputError, match="has no samples"):
        load_audio(wav)


def test_a_few_samples_that_are_no_numbers_are_silent() -> None:
    for bad in (np.nan, -np.inf, 1e30):
        sound = tone(1)
        sound[5000] = bad
        samples, (warning,) = heard(encoded(sound, subtype="FLOAT"))
        assert warning == "damaged: 1 of its 16000 samples are invalid and were silenced"
        assert samples[5000] == 0
        assert np.delete(samples - tone(1), 5000).any() == np.False_


def hole(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(200) + data[middle + 200 :]


def with_size(data: bytes, chunk: bytes, size: int) -> bytes:
    """A file of chunks with another size of one."""
    place = data.index(chunk) + 4
    return data[:place] + struct.pack(">I", size) + data[place + 4 :]


def test_wav_written_to_a_pipe() -> None:
    """Its header was written before its size was known."""
    for size in (0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000):
        samples, warnings = heard(with_header(encoded(tone(1)), size=size))
        assert (len(samples), warnings) == (RATE, ())


def test_bytes_after_the_samples_are_ignored() -> None:
    assert len(load_audio(encoded(tone(1)) + b"LIST\x04\x00\x00\x00abcd")) == RATE


def test_too_long_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_SECONDS", 60)
    assert len(load_audio(Sound(np.zeros(60 * 1000), 1000), 1000)) == 60_000
    with pytest.raises(InputError, match="more than 1 minutes"):
        load_audio(Sound(np.zeros(60 * 1000 + 1), 1000), 1000)


def times(segments: Sequence[Segment]) -> list[tuple[float, float]]:
    return [(segment.start, segment.end) for segment in segments]


def recording(*parts: tuple[float, float]) -> Floats:
    """Noise of so many seconds and such a level, one part after the other."""
    return np.concatenate([noise(seconds, level, seed) for seed, (seconds, level) in enumerate(parts)])


def test_cut_at_silences() -> None:
    samples = recording((2, 0.001), (3, 0.2), (1.5, 0.001), (4, 0.1), (20, 0.001), (1, 0.2), (0.2, 0.001), (1, 0.2))
    segments = list(read_segments(Sound(samples, RATE), longest=10))
    np.testing.assert_allclose(times(segments), [(1.8, 5.2), (6.3, 10.7), (30.3, 32.7)], atol=0.05)
    for segment in segments:
        assert (segment.samples == samples[round(segment.start * RATE) : round(segment.end * RATE)]).all()


@pytest.mark.parametrize(("noise_level", "level"), [(0.0, 0.003), (0.0001, 0.3), (0.01, 0.1), (0.05, 0.3)])
def test_silence_is_what_is_quiet_beside_the_speech(noise_level: float, level: float) -> None:
    samples = recording((3, level), (1, noise_level), (3, level), (1, noise_level), (3, level), (2, noise_level))
    segments = list(read_segments(Sound(samples + 0.1, RATE), longest=8))  # an offset is not heard
    np.testing.assert_allclose(times(segments), [(0, 3.2), (3.8, 7.2), (7.8, 11.2)], atol=0.05)


def test_without_silence_cut_at_the_quietest_place() -> None:
    samples = recording((7, 0.2), (0.3, 0.03), (10, 0.2), (0.3, 0.03), (6, 0.2))
    segments = list(read_segments(Sound(samples, RATE), longest=10))
    assert [start for start, _ in times(segments)][1:] == [end for _, end in times(segments)][:-1]
    assert segments[0].end == pytest.approx(7.15, abs=0.2)
    assert (np.concatenate([segment.samples for segment in segments]) == samples).all()


def test_short_recording_comes_whole() -> None:
    samples = recording((1, 0.0), (1, 0.2), (4, 0.0), (1, 0.2), (3, 0.0))
    (segment,) = read_segments(Sound(samples, RATE), longest=10)
    assert times([segment]) == [(0, 10)]
    assert (segment.samples == samples).all()
    assert len(list(read_segments(Sound(samples, RATE), longest=9.9))) == 2
    assert len(list(read_segments(Sound(samples, RATE), longest=20, whole=9.9))) == 2
    assert len(list(read_segments(Sound(samples, RATE), longest=9.9, whole=20))) == 2


@pytest.mark.parametrize("seconds", [0.01, 3, 70])
def test_silent_recording_has_no_segment(seconds: float) -> None:
    assert not list(read_segments(Sound(noise(seconds, 0.00001) + 0.01, RATE)))
    assert not list(read_segments(Sound(np.zeros(round(seconds * RATE)), RATE)))


def test_steady_loud_sound_is_no_silence() -> None:
    segments = list(read_segments(Sound(noise(70, 0.2), RATE)))
    assert sum(segment.end - segment.start for segment in segments) == pytest.approx(70)


def test_longest_must_leave_room() -> None:
    for longest in (0.5, -1, float("nan")):
        with pytest.raises(UsageError, match="1 second"):
            list(read_segments(Sound(tone(1), RATE), longest=longest))


def test_segments_come_while_the_recording_is_read() -> None:
    """So a long recording is worked on at once, and memory doesn't depend on its length."""
    data = encoded(np.tile(recording((3, 0.2), (2, 0.0)), 20), format="FLAC")
    opened = Recording(data[: len(data) * 9 // 10])
    segments = read_segments(opened)
    assert len(list(islice(segments, 6))) == 6
    assert not opened.warnings
    assert len(list(segments)) >= 11
    assert re.fullmatch(r"cut short: \d\d\.\d of 100\.0 s are there", *opened.warnings)


@settings(max_examples=30)
@given(
    parts=st.lists(st.tuples(st.floats(0.05, 12), st.sampled_from([0.0, 0.0005, 0.001, 0.2, 0.3])), min_size=1, max_size=8),
    longest=st.sampled_from([1.0, 3.3, 20.0]),
    block=st.sampled_from([997, 16_000, 100_000]),
)
def test_segments_hold_all_that_is_loud(parts: list[tuple[float, float]], longest: float, block: int) -> None:
    rate = 2000  # cutting works alike at any rate
    rng = np.random.default_rng(len(parts))
    pieces = [level * rng.standard_normal(round(seconds * rate)) for seconds, level in parts]
    samples = np.concatenate(pieces).astype(np.float32).clip(-1, 1)
    segments = list(read_segments(Sound(samples, rate), rate, longest))
    covered = np.zeros(len(samples), bool)
    last = 0
    for segment in segments:
        start, end = round(segment.start * rate), round(segment.end * rate)
        assert last <= start < end <= len(samples)
        assert end - start <= longest * rate
        assert (segment.samples == samples[start:end]).all()
        covered[start:end] = True
        last = end
    loud = np.concatenate([np.full(len(piece), level >= 0.1) for piece, (_, level) in zip(pieces, parts, strict=True)])
    assert covered[loud].all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording_module, "_BLOCK", block)
        again = list(read_segments(Sound(samples, rate), rate, longest))
    assert times(again) == times(segments)


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Ten minutes at 8 kHz are 10 MB as a file, and 19 MB decoded."""
    path = tmp_path / "long.wav"
    minute = np.tile(np.concatenate([tone(2, 8000), np.zeros(8000, np.float32)]), 20)
    with soundfile.SoundFile(path, "w", 8000, 1) as file:
        for _ in range(10):
            file.write(minute)
    tracemalloc.start()
    try:
        ends = [segment.end for segment in read_segments(path, 8000)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(ends) == 200
    assert peak < 7e6
