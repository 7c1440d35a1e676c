"""``condgen caption`` on videos as a user meets it, with a small model of random weights."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import save_file

from condgen_caption.video import build
from condgen_cli.cli import app
from condgen_cli.data.text import WordVocabulary

CONFIG = {
    "encoder": "lite0",
    "image_size": 64,
    "frames": 4,
    "recurrent_size": 4,
    "embedding_size": 8,
    "hidden_size": 8,
    "value_size": 8,
    "match_size": 8,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run's folder with random weights."""
    folder = tmp_path_factory.mktemp("runs") / "clips"
    folder.mkdir()
    WordVocabulary(["a", "dog", "then", "cat", "runs"]).save(folder / "vocabulary.json")
    torch.manual_seed(3)
    model = build(CONFIG, {"vocabulary.json": folder / "vocabulary.json"})
    save_file(model.state_dict(), folder / "model.safetensors")
    description = {
        "architecture": {"name": "caption-video", "config": CONFIG},
        "task": "caption",
        "decoding": {"beam": 2, "max_length": 5},
        "files": ["vocabulary.json", "model.safetensors"],
    }
    (folder / "model.json").write_text(json.dumps(description))
    return folder


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Videos, a photo and a text, in the working directory."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, codec, count in (("clip.mp4", "libx264", 20), ("moving.gif", "gif", 6), ("tail.mkv", "libx264", 50)):
        with av.open(str(folder / name), "w") as container:
            stream: Any = container.add_stream(codec, rate=5)
            stream.width, stream.height = 64, 48
            stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
            stream.codec_context.thread_count = 1
            for index in range(count):
                pixels = rng.integers(0, 10 + 4 * index, (48, 64, 3), dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=stream.pix_fmt)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    content = (folder / "tail.mkv").read_bytes()
    (folder / "tail.mkv").write_bytes(content[: len(content) * 2 // 3])
    (folder / "diary.mp4").write_text("Dear diary,\n" * 40)
    Image.linear_gradient("L").convert("RGB").save(folder / "photo.jpg")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CONDGEN_HOME", str(tmp_path / "home"))
    return folder


def test_a_process_describes_a_clip_and_draws_it(run: Path, inputs: Path, condgen: Callable[..., Any]) -> None:
    done = condgen("caption", "clip.mp4", "-m", str(run), "--show-attention", "--save-attention", "{stem}.png")
    assert done.returncode == 0, done.stderr
    assert "A bar for each frame." in " ".join(done.stdout.split())
    assert "0.4s" in done.stdout
    assert done.stdout.isascii()
    with Image.open(inputs / "clip.png") as figure:
        assert figure.size[0] > 400


def test_a_video_model_takes_everything_that_moves_or_stands(
    run: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = app.run(["caption", ".", "moving.gif", "-m", str(run), "--format", "json"])
    out, err = capsys.readouterr()
    rows = {row["input"]: row for row in json.loads(out)}
    assert code == 4
    assert set(rows) == {"./clip.mp4", "./diary.mp4", "./moving.gif", "./photo.jpg", "./tail.mkv", "moving.gif"}
    axes = {name: row["attention"]["attention"]["axes"][1] for name, row in rows.items() if row["output"] is not None}
    assert axes["./clip.mp4"]["kind"] == "frames"
    assert axes["./clip.mp4"]["labels"] == pytest.approx([0.4, 1.4, 2.4, 3.4], abs=0.21)
    assert axes["./photo.jpg"]["labels"] == [0.0]
    assert len(axes["moving.gif"]["labels"]) == 4
    assert rows["./diary.mp4"]["error"]["message"] == "./diary.mp4 is not a video of a known format"
    assert "warning: ./tail.mkv: its pictures end at" in err


def test_models_are_chosen_by_input_and_one_that_is_missing_costs_its_inputs_only(
    run: Path, inputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("condgen_caption.cli.VIDEO_MODEL", "sat-vidio")
    assert app.run(["caption", "photo.jpg", "clip.mp4", "none.mp4", "photo.jpg"]) == 4
    out, err = capsys.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()] == ["photo.jpg", "photo.jpg"]
    assert "error: clip.mp4: no model named 'sat-vidio'" in err
    assert "error: none.mp4 does not exist" in err

    monkeypatch.setattr("condgen_caption.cli.VIDEO_MODEL", str(run))
    assert app.run(["caption", "clip.mp4", "photo.jpg", "moving.gif", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["input"] for row in rows] == ["clip.mp4", "photo.jpg", "moving.gif"]
    assert [row["attention"]["attention"]["axes"][1]["kind"] for row in rows] == ["frames", "grid", "frames"]


def test_a_missing_model_that_a_recipe_makes_says_so(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["caption", "clip.mp4", "-m", "nic-video"]) == 3
    assert "hint: condgen train nic-video" in capsys.readouterr().err


def test_a_model_of_photos_refuses_videos(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["caption", "clip.mp4", "photo.jpg", "moving.gif", "-m", "sat"]) == 4
    out, err = capsys.readouterr()
    assert "clip.mp4 is a video, and this model describes photos" in err
    assert [line.partition(":")[0] for line in out.splitlines()] == ["photo.jpg", "moving.gif"]


def test_content_decides_what_is_shown_to_which_model(inputs: Path) -> None:
    """The command as a process: names say nothing, a clip comes through a pipe, a photo is cut short, others are neither."""
    content = (inputs / "photo.jpg").read_bytes()
    (inputs / "cut.jpeg").write_bytes(content[: len(content) * 2 // 3])
    (inputs / "photo.jpg").rename(inputs / "photo")
    clip = (inputs / "clip.mp4").read_bytes()
    (inputs / "clip.mp4").rename(inputs / "clip.jpg")
    soundfile.write(inputs / "talk.wav", np.zeros(800), 8000)
    (inputs / "loop").symlink_to(inputs)
    names = ["photo", "clip.jpg", "-", "cut.jpeg", "talk.wav", "**/p*o", "/dev/zero"]
    command = [sys.executable, "-m", "condgen_cli", "caption", *names, "--beam", "1", "--format", "json"]
    done = subprocess.run(command, input=clip, capture_output=True, check=False)
    rows = json.loads(done.stdout)
    told = done.stderr.decode()
    assert done.returncode == 4
    assert [row["input"] for row in rows] == ["photo", "clip.jpg", "-", "cut.jpeg", "talk.wav", "photo", "/dev/zero"]
    kinds = [row["attention"] and row["attention"]["attention"]["axes"][1]["kind"] for row in rows]
    assert kinds == ["grid", "frames", "frames", "grid", None, "grid", None]
    assert rows[1]["output"] == rows[2]["output"]
    assert rows[3]["output"]
    # that a made photo is unlike what the model has seen is said once, and not what is tested here
    warnings = [[one for one in row["warnings"] if "unlike what" not in one] for row in rows]
    assert list(map(len, warnings)) == [0, 0, 0, 1, 0, 0, 0]
    assert warnings[3][0].startswith("cut short: ")
    assert f"warning: cut.jpeg: {warnings[3][0]}" in told
    assert rows[4]["error"] == {
        "code": 1,
        "message": "talk.wav is a sound recording, not a photo or a video",
        "hint": "condgen transcribe talk.wav",
    }
    assert rows[6]["error"]["message"] == "/dev/zero is a device, not a file"
    assert "Traceback" not in told
