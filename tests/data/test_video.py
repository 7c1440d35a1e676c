"""The front end of videos: files that the tests write with PyAV, read as a few frames with their times."""

from __future__ import annotations

import gc
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from condgen_cli.data.content import Kind, kind_of
from condgen_cli.data.video import Clip, Footage, evenly, load_clip
from condgen_cli.errors import InputError, NotFoundError

CODECS = {".mp4": "libx264", ".mkv": "libx264", ".webm": "libvpx", ".avi": "mpeg4", ".gif": "gif"}


def write(
    path: Path,
    count: int,
    *,
    rate: int = 10,
    gop: int = 10,
    rotation: int = 0,
    times: Sequence[float] = (),
    options: dict[str, str] | None = None,
    codec: str = "",
    b_frames: int | None = None,
    sound: float = 0.0,
) -> Path:
    """A video whose frames get brighter; their upper left quarter is red, their upper right one green.

    Args:
        times: of the frames, in milliseconds precisely.
        sound: seconds of silence beside it.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream(codec or CODECS[path.suffix], rate=rate)
        silence: Any = container.add_stream("pcm_s16le", rate=8000, layout="mono") if sound else None
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "rgb8" if path.suffix == ".gif" else "yuv420p"
        stream.codec_context.thread_count = 1
        stream.gop_size = gop
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        if rotation:
            stream.set_display_rotation(rotation)
        for index in range(count):
            pixels = np.full((48, 64, 3), round(255 * index / max(count - 1, 1)), np.uint8)
            pixels[:24, :32], pixels[:24, 32:] = (220, 0, 0), (0, 220, 0)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=stream.pix_fmt)
            if times:
                frame.pts, frame.time_base = round(1000 * times[index]), Fraction(1, 1000)
                stream.codec_context.time_base = frame.time_base
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
        if silence:
            quiet = av.AudioFrame.from_ndarray(np.zeros((1, round(8000 * sound)), np.int16), format="s16", layout="mono")
            quiet.sample_rate, quiet.pts = 8000, 0
            for packet in [*silence.encode(quiet), *silence.encode()]:
                container.mux(packet)
    return path


def brightness(clip: Clip) -> list[float]:
    """Of the lower half of each frame, 0 to 1."""
    return [float(np.asarray(frame)[frame.height * 3 // 4].mean()) / 255 for frame in clip.frames]


@pytest.mark.parametrize("suffix", CODECS)
def test_frames_are_spread_evenly_over_the_video(tmp_path: Path, suffix: str) -> None:
    clip = load_clip(write(tmp_path / f"a{suffix}", 40), 8)
    assert len(clip.frames) == 8
    assert {frame.size for frame in clip.frames} == {(64, 48)}
    assert clip.duration == pytest.approx(4.0, abs=0.11)
    assert clip.times == pytest.approx([0.25 + 0.5 * index for index in range(8)], abs=0.21)
    assert brightness(clip) == pytest.approx([10 * time / 39 for time in clip.times], abs=0.15 if suffix == ".gif" else 0.04)
    assert clip.warnings == ()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_short_videos_are_read_whole(tmp_path: Path, count: int) -> None:
    clip = load_clip(write(tmp_path / "a.mp4", count), 5)
    assert clip.times == pytest.approx([index / 10 for index in range(count)])


@pytest.mark.parametrize(
    ("rotation", "corners"),
    [(90, "green none red none"), (180, "none none green red"), (-90, "none red none green")],
)
def test_frames_are_turned_as_the_file_says(tmp_path: Path, rotation: int, corners: str) -> None:
    frame = load_clip(write(tmp_path / "a.mp4", 1, rotation=rotation), 1).frames[0]
    assert frame.size == ((64, 48) if rotation == 180 else (48, 64))
    assert seen(frame) == corners


TURNS = {
    "flipped left to right": ((-1, 0, 0, 1), "green red none none"),
    "flipped top to bottom": ((1, 0, 0, -1), "none none red green"),
    "transposed": ((0, 1, 1, 0), "red none green none"),
    "transversed": ((0, -1, -1, 0), "none green none red"),
    "a quarter turn": ((0, 1, -1, 0), "none red none green"),
    "half a turn": ((-1, 0, 0, -1), "none none green red"),
}


@pytest.mark.parametrize("name", TURNS)
def test_frames_are_mirrored_as_the_file_says(tmp_path: Path, name: str) -> None:
    (a, b, c, d), corners = TURNS[name]
    path = write(tmp_path / "a.mp4", 1)
    content = bytearray(path.read_bytes())
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    place = content.index(b"tkhd") + 44
    assert struct.unpack_from(">i", content, place)[0] == 1 << 16
    content[place : place + len(matrix)] = matrix
    path.write_bytes(content)
    assert seen(load_clip(path, 1).frames[0]) == corners


def seen(frame: Image.Image) -> str:
    """Which quarters are red and green: upper left, upper right, lower left, lower right."""
    names = []
    for y in (4, frame.height - 4):
        for x in (4, frame.width - 4):
            red, green, _ = frame.getpixel((x, y))
            names.append("red" if red > green + 100 else "green" if green > red + 100 else "none")
    return " ".join(names)


def test_frames_at_irregular_times_are_chosen_by_time(tmp_path: Path) -> None:
    times = [index / 20 for index in range(40)] + [6.0, 8.0]
    clip = load_clip(write(tmp_path / "a.mkv", len(times), times=times), 4)
    assert clip.times == pytest.approx((1.0, 1.95, 6.0), abs=0.3)
    assert max(clip.times) >= 6.0


def decoded(path: Path) -> list[tuple[float, float]]:
    """All frames of a video as FFmpeg gives them: seconds since the first, and brightness from 0 to 1."""
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return [(time - frames[0][0], float(pixels[36].mean()) / 255) for time, pixels in frames]


@settings(max_examples=40)
@given(
    kind=st.sampled_from(
        [(".mp4", "libx264"), (".mkv", "libx264"), (".webm", "libvpx"), (".avi", "mpeg4"), (".ts", "libx264")]
    ),
    gaps=st.lists(st.sampled_from([0.01, 0.04, 0.04, 0.1, 1.0, 20.0]), min_size=1, max_size=40),
    begin=st.sampled_from([0.0, 0.0, 7.0]),
    gop=st.sampled_from([1, 6, 100]),
    b_frames=st.sampled_from([0, 2]),
    most=st.integers(1, 8),
)
def test_chosen_frames_are_those_that_decoding_everything_shows(
    tmp_path_factory: pytest.TempPathFactory,
    kind: list[str],
    gaps: list[float],
    begin: float,
    gop: int,
    b_frames: int,
    most: int,
) -> None:
    suffix, codec = kind
    times = [begin + float(time) for time in np.cumsum([0.0, *gaps])]
    assume(suffix != ".ts" or len(times) > 8)  # FFmpeg doesn't open very short ones
    path = tmp_path_factory.mktemp("clip") / f"a{suffix}"
    write(path, len(times), times=times, codec=codec, gop=gop, b_frames=b_frames * (codec == "libx264"))
    frames = decoded(path)
    clip = load_clip(path, most)
    chosen = [frames[index] for index in evenly([time for time, _ in frames], clip.duration, most)]
    assert clip.times == pytest.approx([time for time, _ in chosen], abs=0.001)
    assert brightness(clip) == pytest.approx([bright for _, bright in chosen], abs=0.01)
    assert clip.duration >= frames[-1][0]
    assert clip.warnings == ()


def test_a_scene_of_a_second_in_a_long_video_is_not_passed_over(tmp_path: Path) -> None:
    times = [float(10 * index) for index in range(7)] + [61.0] + [float(10 * index) for index in range(7, 14)]
    clip = load_clip(write(tmp_path / "a.mp4", 15, times=times), 16)
    assert clip.times == pytest.approx(times)


def test_pictures_that_start_later_than_the_sound_are_not_cut_short(tmp_path: Path) -> None:
    times = [6.0 + index / 10 for index in range(40)]
    for suffix in (".mkv", ".mov"):
        path = write(tmp_path / f"a{suffix}", 40, times=times, codec="mpeg4", sound=10.0)
        clip = load_clip(path, 4)
        assert clip.warnings == ()
        assert clip.duration == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi"])
def test_a_long_video_costs_what_its_key_frames_cost(tmp_path: Path, suffix: str) -> None:
    clip = load_clip(write(tmp_path / f"a{suffix}", 480, rate=2, gop=10), 8)
    assert clip.duration == pytest.approx(240, abs=2)
    assert clip.decoded <= 8 * 15
    assert clip.times == pytest.approx([240 / 8 * (index + 0.5) for index in range(8)], abs=1.0)
    assert brightness(clip) == pytest.approx([time / 240 for time in clip.times], abs=0.04)


def test_without_key_frames_nothing_is_decoded_again_and_again(tmp_path: Path) -> None:
    clip = load_clip(write(tmp_path / "a.avi", 300, rate=2, gop=100_000), 16)
    assert len(clip.frames) == 16
    assert clip.decoded <= 2 * 300 + 16


def test_a_video_of_unknown_length_is_read_through(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", 300, rate=2, options={"live": "1"})
    with av.open(str(path)) as container:
        assert container.duration is None
    clip = load_clip(path, 6)
    assert clip.times == pytest.approx([25 * index + 12.5 for index in range(6)], abs=10)
    assert clip.duration == pytest.approx(150, abs=1)


@pytest.mark.parametrize(("suffix", "count", "rate"), [(".avi", 60, 10), (".mkv", 300, 2)])
def test_what_is_there_of_a_truncated_video_is_used(tmp_path: Path, suffix: str, count: int, rate: int) -> None:
    path = write(tmp_path / f"a{suffix}", count, rate=rate)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    clip = load_clip(path, 8)
    assert len(clip.frames) == 8
    assert clip.duration < 0.9 * count / rate
    assert clip.times[-1] > 0.7 * clip.duration
    (warning,) = clip.warnings
    assert f"its pictures end at {clip.duration:.1f} of" in warning


@pytest.mark.parametrize("options", [{"movflags": "faststart"}, {"movflags": "frag_keyframe+empty_moov"}])
def test_what_is_missing_of_a_truncated_mp4_is_told(tmp_path: Path, options: dict[str, str]) -> None:
    content = write(tmp_path / "a.mp4", 60, options=options).read_bytes()
    assert load_clip(content, 4).warnings == ()
    clip = load_clip(content[:-10], 4)
    assert 5.5 < clip.duration <= 6.1  # the last frames may be lost with the last one's bytes
    assert "cut short" in clip.warnings[0]
    assert clip.duration < 5.95 or f"10 of {len(content):,} bytes are missing" in clip.warnings[0]
    shorter = load_clip(content[: len(content) * 2 // 3], 4)
    assert 1.0 < shorter.duration < 4.0
    assert "cut short" in shorter.warnings[0]
    with pytest.raises(InputError, match="is a broken video"):
        load_clip(content[: len(content) // 10], 4)


def test_a_fragmented_mp4_may_end_in_the_head_of_a_fragment(tmp_path: Path) -> None:
    content = write(tmp_path / "a.mp4", 60, options={"movflags": "frag_keyframe+empty_moov"}).read_bytes()
    fragment = content.rindex(b"moof") - 4
    for size in range(fragment + 1, content.index(b"mdat", fragment) - 4, 7):
        clip = load_clip(content[:size], 4)
        assert 4.5 < clip.duration < 5.5
        assert "cut short" in clip.warnings[0]
    (tmp_path / "cut").write_bytes(content[: fragment + 20])
    assert kind_of(str(tmp_path / "cut")) is Kind.clip


def test_damage_in_the_middle_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.avi", 80)
    content = bytearray(path.read_bytes())
    start, end = len(content) // 2, len(content) * 3 // 4
    content[start:end] = np.random.default_rng(0).integers(0, 256, end - start, dtype=np.uint8).tobytes()
    path.write_bytes(content)
    clip = load_clip(path, 4)
    assert clip.frames
    assert clip.warnings


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"Dear diary,\n" * 50, "is not a video of a known format"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp4\n", "is not a video of a known format"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "is not a video of a known format"),
        (b"\0\0\0\x20ftypisom" + bytes(200), "its index is missing"),
    ],
)
def test_what_is_no_video_gets_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    write(tmp_path / "other.mp4", 2)
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_clip(path)
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.mp4 does not exist"):
        load_clip(tmp_path / "none.mp4")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(InputError, match="has sound and no pictures"):
        load_clip(path)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_photo_is_a_clip_of_one_frame(tmp_path: Path, format: str) -> None:
    image = Image.new("RGB", (40, 30), "blue")
    image.save(tmp_path / "photo", format)
    for source in (image, tmp_path / "photo", (tmp_path / "photo").read_bytes()):
        clip = load_clip(source)
        assert clip.times == (0.0,)
        assert clip.frames[0].size == (40, 30)


def test_bytes_are_read_as_the_file_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.webm", 30)
    from_file, from_bytes = load_clip(path, 4), load_clip(path.read_bytes(), 4)
    assert from_file.times == from_bytes.times
    assert all(np.array_equal(a, b) for a, b in zip(from_file.frames, from_bytes.frames, strict=True))


def test_large_frames_are_reduced(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 1440, 720, "yuvj420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((720, 1440, 3), np.uint8), format="rgb24").reformat(format="yuvj420p")
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    assert load_clip(path).frames[0].size == (720, 360)


def test_footage_is_decoded_once_while_its_clip_is_held(tmp_path: Path) -> None:
    footage = Footage(str(write(tmp_path / "a.mp4", 6)))
    clip = load_clip(footage, 4)
    assert load_clip(footage, 4) is clip
    assert len(load_clip(footage, 3).frames) == 3
    frame = np.asarray(clip.frames[0])
    del clip
    gc.collect()
    assert np.array_equal(load_clip(footage, 4).frames[0], frame)


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=200, unique=True), st.floats(0, 1e5), st.integers(1, 40))
def test_chosen_frames_are_those_shown_at_even_moments(microseconds: list[int], more: float, most: int) -> None:
    times = [time / 1e6 for time in sorted(microseconds)]
    duration = times[-1] + more
    chosen = evenly(times, duration, most)
    assert chosen == sorted(set(chosen))
    assert 1 <= len(chosen) <= most or len(times) <= most
    assert all(0 <= index < len(times) for index in chosen)
    if len(times) <= most:
        assert chosen == list(range(len(times)))
    else:
        for part in range(most):
            length = duration - times[0]
            moment, margin = times[0] + (part + 0.5) / most * length, 1e-8 * length
            earliest, latest = (
                max(index for index, time in enumerate(times) if time <= at) for at in (moment - margin, moment + margin)
            )
            assert any(earliest <= index <= latest for index in chosen)


@given(st.integers(1, 300), st.integers(1, 40))
def test_frames_at_regular_times_are_at_regular_steps(count: int, most: int) -> None:
    chosen = evenly([float(index) for index in range(count)], float(count), most)
    assert len(chosen) == min(count, most)
    steps = np.diff(chosen)
    assert not len(steps) or steps.max() - steps.min() <= 1
