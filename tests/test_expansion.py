"""Command-line arguments become inputs, lazily and in order."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from condgen_cli.data.content import Kind, check_kind, kind_of
from condgen_cli.data.video import load_clip
from condgen_cli.errors import InputError, NotFoundError, UsageError
from condgen_cli.files.inputs import forget_inputs, refuse_input
from condgen_cli.files.sources import Failure, Source
from condgen_cli.inputs.expansion import expand, natural
from condgen_cli.inputs.lines import text_inputs

JPEG = (".jpg", ".jpeg")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("10.jpg", "2.JPG", "1.jpeg", "notes.txt", ".hidden.jpg", "sub/3.jpg", ".git/4.jpg", "sub/deep/5.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expanded(*arguments: str) -> list[str]:
    """The inputs; those that failed as their messages."""
    return [one.error.message if isinstance(one, Failure) else one for one in expand(arguments, JPEG)]


def test_directories_are_searched_in_natural_order(folder: Path) -> None:
    assert expanded(".") == ["./1.jpeg", "./2.JPG", "./10.jpg", "./sub/3.jpg", "./sub/deep/5.jpg"]
    assert expanded("sub") == ["sub/3.jpg", "sub/deep/5.jpg"]


def test_links_to_directories_are_not_followed(folder: Path) -> None:
    (folder / "sub" / "loop").symlink_to(folder)
    assert expanded("sub") == ["sub/3.jpg", "sub/deep/5.jpg"]


def test_patterns_pass_links_to_directories_once(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / "sub" / name).symlink_to(folder)
    assert expanded("**/*.jpg") == ["10.jpg", "sub/3.jpg", "sub/deep/5.jpg"]
    assert expanded("sub/**") == ["sub/3.jpg", "sub/deep/5.jpg"]
    assert expanded(f"{folder}/**/deep/*.jpg") == [f"{folder}/sub/deep/5.jpg"]
    assert expanded("**/sub/**/5.*") == ["sub/deep/5.jpg"]
    assert expanded("*/one/10.jpg") == ["sub/one/10.jpg"]  # a link that is named is followed


def test_what_is_left_out_is_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "Thumbs.db").write_bytes(b"\0\1")
    (folder / "sub" / "more.txt").write_bytes(b"x")
    (folder / "sub" / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    found = expand([".", "sub/deep"], JPEG)
    assert len(list(found)) == 6
    found.warn_of_left_out()
    told = "warning: .: 4 files of other kinds and 1 link to directories were left out (.txt, .db)\n"
    assert capsys.readouterr().err == told


# Content


@pytest.fixture
def kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of each kind, under names that say nothing or something else."""
    image = Image.new("RGB", (32, 32), "red")
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
    image.save(tmp_path / "photo", "PNG")
    image.save(tmp_path / "photo.mp4", "JPEG")
    image.save(tmp_path / "phone.heic")
    image.save(tmp_path / "camera.avif")
    image.save(tmp_path / "archive.jp2")
    image.save(tmp_path / "new.jxl")
    image.save(tmp_path / "old.tga")
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], duration=200)
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:], duration=200)
    frames[0].save(tmp_path / "moving.avif", save_all=True, append_images=frames[1:], duration=200)
    for name, format, codec in (
        ("clip", "mp4", "libx264"),
        ("tape.mts", "mpegts", "libx264"),
        ("disc.vob", "vob", "mpeg2video"),
    ):
        with av.open(str(tmp_path / name), "w", format=format) as container:
            stream: Any = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for _ in range(10):
                frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
                container.mux(stream.encode(frame.reformat(format="yuv420p")))
            container.mux(stream.encode())
    soundfile.write(tmp_path / "talk.jpg", np.zeros(800), 8000, format="WAV")
    soundfile.write(tmp_path / "talk", np.zeros(800), 8000, format="OGG")
    (tmp_path / "code.ts").write_text("const a = 1;\n")
    (tmp_path / "notes.txt").write_text("Ein Hund läuft.\n" * 400)
    (tmp_path / "noise.bin").write_bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_content_tells_what_a_file_holds(kinds: Path) -> None:
    found = {path.name: str(kind_of(path)) for path in kinds.iterdir()}
    assert found == {
        "photo": "photo",
        "photo.mp4": "photo",
        "phone.heic": "photo",
        "camera.avif": "photo",
        "archive.jp2": "photo",
        "new.jxl": "photo",
        "old.tga": "photo",
        "moving.webp": "clip",
        "moving.png": "clip",
        "moving.avif": "clip",
        "clip": "clip",
        "tape.mts": "clip",
        "disc.vob": "clip",
        "talk.jpg": "sound",
        "talk": "sound",
        "code.ts": "text",
        "notes.txt": "text",
        "noise.bin": "other",
    }


def test_a_folder_gives_files_of_the_wanted_kinds(kinds: Path) -> None:
    left = {"code.ts", "notes.txt", "noise.bin", "talk"}
    everything = {path.name for path in kinds.iterdir()}
    found = expand([str(kinds)], kinds=["photo", "clip"])
    assert {Path(str(name)).name for name in found} == everything - left  # talk.jpg is wanted by its name, and will be told
    assert found.left_out == [f"{kinds}: 4 files of other kinds were left out (.ts, .bin, .txt)"]
    (nothing,) = expand([str(kinds)], suffixes=[".xyz"])
    assert isinstance(nothing, Failure)
    assert "holds no files with a suffix of .xyz, only 18 files of other kinds" in nothing.error.message


def test_pictures_that_move_are_clips(kinds: Path) -> None:
    for name in ("moving.webp", "moving.png", "moving.avif"):
        clip = load_clip(name, 8)
        assert clip.times == pytest.approx((0.0, 0.2, 0.4), abs=0.01)
        assert clip.duration == pytest.approx(0.6, abs=0.01)
        middle = clip.frames[1].getpixel((16, 16))
        assert isinstance(middle, tuple)
        assert middle[1] > middle[0] + 80


def test_a_moving_picture_that_is_cut_short_has_frames(kinds: Path) -> None:
    for name in ("moving.webp", "moving.avif", "moving.png"):
        content = (kinds / name).read_bytes()
        clip = load_clip(content[:-12], 8)
        assert clip.frames
        assert clip.warnings[0].startswith("cut short: ")


def test_what_a_folder_gives_is_not_written_over(kinds: Path) -> None:
    forget_inputs()
    expand([str(kinds)], kinds=["photo", "clip"])
    for name in ("photo", "tape.mts", "phone.heic"):
        with pytest.raises(UsageError, match="is an input"):
            refuse_input(kinds / name)
    for name in ("notes.txt", "noise.bin", "talk", "new"):
        refuse_input(kinds / name)


def test_errors_name_the_command_that_reads_the_file(kinds: Path) -> None:
    hints = {}
    for name in ("photo", "clip", "talk", "notes.txt"):
        with pytest.raises(InputError, match=f"^{name} is a") as caught:
            check_kind(Source(name), [], Kind.photo)
        hints[name] = caught.value.hint
    assert hints == {
        "photo": "condgen caption photo",
        "clip": "condgen caption clip",
        "talk": "condgen transcribe talk",
        "notes.txt": "condgen translate --input notes.txt",
    }
    (kinds / "- it's.wav").write_bytes((kinds / "talk").read_bytes())
    with pytest.raises(InputError) as caught:
        check_kind(Source("- it's.wav"), [Kind.photo], Kind.photo)
    assert caught.value.hint is not None
    assert shlex.split(caught.value.hint) == ["condgen", "transcribe", "./- it's.wav"]


def test_a_file_of_other_kind_is_no_file_of_texts(kinds: Path) -> None:
    for name, kind in (("photo", "a photo"), ("clip", "a video"), ("talk", "a sound recording")):
        with pytest.raises(InputError, match=f"{name} is {kind}, not a text"):
            text_inputs([], name)


# Streams


def test_named_files_are_taken_whatever_their_suffix(folder: Path) -> None:
    assert expanded("notes.txt", "10.jpg") == ["notes.txt", "10.jpg"]


def test_patterns_that_no_shell_expanded(folder: Path) -> None:
    assert expanded("*.jp*g") == ["1.jpeg", "10.jpg"]
    assert expanded("**/*.jpg") == ["10.jpg", "sub/3.jpg", "sub/deep/5.jpg"]
    assert expanded("su?") == ["sub/3.jpg", "sub/deep/5.jpg"]
    assert expanded("*.png") == ["nothing matches *.png"]


def test_a_file_named_like_a_pattern(folder: Path) -> None:
    (folder / "a[1].jpg").write_bytes(b"x")
    assert expanded("a[1].jpg") == ["a[1].jpg"]


def test_what_is_not_there_fails_in_its_place(folder: Path) -> None:
    (folder / "void").mkdir()
    assert expanded("10.jpg", "100.jpg", "void", "sub/3.jpg") == [
        "10.jpg",
        "100.jpg does not exist",
        "void holds no files with a suffix of .jpeg .jpg",
        "sub/3.jpg",
    ]


def test_near_names_are_offered(folder: Path) -> None:
    (failure,) = expand(["sub/deep/6.jpg"], JPEG)
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, NotFoundError)
    assert failure.error.hint == "did you mean: sub/deep/5.jpg"
    (far,) = expand(["nowhere/at/all.jpg"], JPEG)
    assert isinstance(far, Failure)
    assert far.error.hint is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_directory_fails(folder: Path) -> None:
    (folder / "sub").chmod(0)
    try:
        assert expanded("sub")[0].startswith("cannot read sub: ")
    finally:
        (folder / "sub").chmod(0o700)


def test_expansion_is_lazy(folder: Path) -> None:
    def arguments() -> Iterator[str]:
        yield "10.jpg"
        raise AssertionError("read too far")

    assert next(expand(arguments(), JPEG)) == "10.jpg"


def test_stdin_and_urls_stand_for_themselves(folder: Path) -> None:
    assert expanded("-", "https://host/*.jpg", "HTTP://host/a") == ["-", "https://host/*.jpg", "HTTP://host/a"]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True))
def test_natural_order_is_that_of_numbers(numbers: list[int]) -> None:
    names = sorted((f"img{number}.jpg" for number in numbers), key=natural)
    assert [int(re.findall(r"\d+", name)[0]) for name in names] == sorted(numbers)


@given(st.lists(st.text(max_size=8), max_size=8))
def test_any_names_can_be_ordered(names: list[str]) -> None:
    assert sorted(sorted(names, key=natural)) == sorted(names)
