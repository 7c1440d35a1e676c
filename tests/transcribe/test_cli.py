"""``condgen transcribe`` as a user meets it, with a small model of random weights."""

from __future__ import annotations

import io
import json
import os
import re
import struct
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
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from condgen_cli.cli import app
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_transcribe.model import build

CONFIG = {"bins": 20, "channels": 3, "layers": 1, "listener_size": 6, "embedding_size": 5, "hidden_size": 7, "match_size": 4}
RATE = 8000

Outcome = tuple[int, str, str]
Transcribe = Callable[..., Outcome]
MakePlugin = Callable[..., None]


@pytest.fixture(scope="module")
def las(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run's folder with random weights."""
    folder = tmp_path_factory.mktemp("runs") / "las-run"
    folder.mkdir()
    SubwordVocabulary.train(["HELLO THERE WORLD", "THE OTHER ONE"], 8).save(folder / "vocabulary.json")
    torch.manual_seed(1)
    model = build(CONFIG, {"vocabulary.json": folder / "vocabulary.json"})
    save_file(model.state_dict(), folder / "model.safetensors")
    description = {
        "architecture": {"name": "transcribe", "config": CONFIG},
        "task": "transcribe",
        "decoding": {"beam": 2, "min_length": 8, "max_length": 12},
        "files": ["vocabulary.json", "model.safetensors"],
    }
    (folder / "model.json").write_text(json.dumps(description))
    return folder


def noise(seconds: float, rate: int = RATE) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, int(rate * seconds)).astype(np.float32)


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(int(RATE * seconds), np.float32)


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a short recording, one in three parts, a silent one."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    monkeypatch.chdir(folder)
    soundfile.write("short.wav", noise(1), RATE)
    soundfile.write("long.flac", np.concatenate([noise(8), silence(2), noise(9), silence(1), noise(10)]), RATE)
    soundfile.write("silent.ogg", silence(1), RATE)
    return folder


@pytest.fixture
def transcribe(recordings: Path, las: Path, capsys: pytest.CaptureFixture[str]) -> Transcribe:
    """Runs the command in this process: exit code, stdout, stderr."""

    def run(*arguments: str) -> Outcome:
        code = app.run(["transcribe", "-m", str(las), *arguments])
        out, err = capsys.readouterr()
        # the model has learnt nothing: that it writes one letter over and over, looking nowhere, is rightly warned of
        signs = re.compile(" over and over|may not be speech")
        return code, out, "".join(line for line in err.splitlines(True) if not signs.search(line))

    return run


def test_a_line_for_each_recording(transcribe: Transcribe) -> None:
    code, out, err = transcribe("short.wav")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"\S.*\n", out)
    code, batch, err = transcribe(".")
    assert (code, err) == (0, "warning: nothing to transcribe in ./silent.ogg\n")
    first, second, third = batch.splitlines()
    assert first.startswith("./long.flac: ")
    assert (second, third) == (f"./short.wav: {out.strip()}", "./silent.ogg: ")
    assert transcribe("long.flac")[1].strip() == first.removeprefix("./long.flac: ").strip()


def test_json_holds_words_with_their_times(transcribe: Transcribe) -> None:
    code, out, _ = transcribe("long.flac", "silent.ogg", "short.wav", "absent.wav", "--format", "json")
    long, silent, short, absent = json.loads(out)
    assert code == 4
    names = ["input", "output", "score", "mean_log_prob", "attention", "error", "warnings", "words"]
    assert list(long) == list(absent) == names
    assert (silent["output"], silent["words"], absent["words"]) == ("", [], None)
    for row, seconds in ((long, 30.0), (short, 1.0)):
        assert " ".join(word["word"] for word in row["words"]) == row["output"] != ""
        times = [time for word in row["words"] for time in (word["start"], word["end"])]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= seconds
    starts = [word["start"] for word in long["words"]]
    assert any(start < 8.5 for start in starts)
    assert any(9.5 < start < 19.5 for start in starts)
    assert any(start > 19.5 for start in starts)
    axes = long["attention"]["attention"]["axes"]
    assert axes[1]["kind"] == "time"
    assert axes[1]["labels"] == sorted(axes[1]["labels"])
    lines = transcribe("short.wav", "--format", "jsonl", "--nbest", "2")[1].splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0])["words"] == short["words"]


def seconds(time: str) -> float:
    hours, minutes, rest = time.replace(",", ".").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def check_cues(cues: list[tuple[str, str, str]], words: list[str]) -> None:
    times = [seconds(time) for cue in cues for time in cue[:2]]
    assert times == sorted(times)
    assert " ".join(cue[2] for cue in cues).split() == words
    assert all(len(line) <= 42 for cue in cues for line in cue[2].split("\n"))


def test_subtitles(transcribe: Transcribe) -> None:
    words = transcribe("long.flac")[1].split()
    code, out, err = transcribe("long.flac", "--format", "srt")
    assert (code, err) == (0, "")
    cues = re.findall(r"(\d+)\n(\d\d:\d\d:\d\d,\d{3}) --> (\d\d:\d\d:\d\d,\d{3})\n((?:.+\n)+)\n", out)
    assert [int(cue[0]) for cue in cues] == list(range(1, len(cues) + 1))
    check_cues([(start, end, text.rstrip("\n")) for _, start, end, text in cues], words)
    code, out, err = transcribe("long.flac", "--format", "vtt", "-o", "{stem}.vtt")
    assert (code, out, err) == (0, "", "")
    header, body = Path("long.vtt").read_text().split("\n\n", 1)
    assert header == "WEBVTT"
    cues = re.findall(r"(\d\d:\d\d:\d\d\.\d{3}) --> (\d\d:\d\d:\d\d\.\d{3})\n((?:.+\n)+)\n", body)
    check_cues([(start, end, text.rstrip("\n")) for start, end, text in cues], words)


def test_several_inputs_need_a_file_each_for_subtitles(transcribe: Transcribe, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("sub").mkdir()
    soundfile.write("sub/short.wav", noise(1), RATE)
    code, out, err = transcribe("short.wav", "sub/short.wav", "silent.ogg", "absent.wav", "--format", "srt", "-o", "{stem}.srt")
    assert (code, out) == (4, "")
    assert "error: absent.wav does not exist" in err
    assert {path.name for path in Path().glob("*.srt")} == {"short.srt", "short-2.srt", "silent.srt"}
    assert Path("short-2.srt").read_text() == Path("short.srt").read_text() != ""
    assert Path("silent.srt").read_text() == ""
    monkeypatch.setattr(
        "condgen_cli.running.runner.load", lambda *_: pytest.fail("a model was loaded before the options' check")
    )
    code, _, err = transcribe("short.wav", "long.flac", "--format", "vtt")
    assert (code, err.splitlines()[1]) == (2, "hint: -o {stem}.vtt")
    assert transcribe("short.wav", "long.flac", "--format", "vtt", "-o", "a.vtt")[2].endswith("hint: -o a-{stem}.vtt\n")
    assert transcribe("short.wav", "--format", "srt", "--nbest", "2")[0] == 2
    assert transcribe("short.wav", "--format", "subtitles")[0] == 2


def test_bad_recordings_cost_a_line_each(transcribe: Transcribe) -> None:
    Path("empty.wav").write_bytes(b"")
    Path("text.wav").write_text("no sound at all")
    Path("cut.wav").write_bytes(Path("short.wav").read_bytes()[:40])
    Path("folder").mkdir()
    soundfile.write("nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    av_open_film("silent.mp4")
    bad = ["empty.wav", "text.wav", "cut.wav", "nan.wav", "absent.wav", "folder", "silent.mp4"]
    code, out, err = transcribe(*bad[:3], "short.wav", *bad[3:])
    assert "error: silent.mp4 has pictures and no sound\n" in err
    assert code == 4
    assert [line.split(":")[0] for line in out.splitlines()] == ["short.wav"]
    errors = [line for line in err.splitlines() if not line.startswith("hint: ")]
    assert [next(name for name in bad if name in line) for line in errors] == bad
    assert all(line.startswith("error: ") for line in errors)
    code, out, err = transcribe("empty.wav", "absent.wav")
    assert (code, out) == (1, "")
    assert err.startswith("error: empty.wav is empty\nerror: absent.wav does not exist\n")


def test_unusual_recordings_are_heard(transcribe: Transcribe) -> None:
    soundfile.write("high.wav", noise(1, 192_000), 192_000)
    soundfile.write("many.wav", np.tile(noise(1)[:, None], 32), RATE)
    soundfile.write("instant.wav", noise(0.01), RATE)
    code, out, err = transcribe("high.wav", "many.wav", "instant.wav", "--format", "json")
    assert (code, err) == (0, "")
    for row in json.loads(out):
        assert [word["word"] for word in row["words"]] == row["output"].split()


def test_a_recording_on_standard_input(transcribe: Transcribe, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = transcribe("short.wav")[1]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path("short.wav").read_bytes())))
    assert transcribe("-") == (0, expected, "")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert transcribe("-") == (1, "", "error: standard input is empty\n")


def test_what_is_left_of_a_damaged_recording_is_transcribed(transcribe: Transcribe) -> None:
    soundfile.write("broken.flac", np.concatenate([part for _ in range(12) for part in (noise(9), silence(1))]), RATE)
    whole = Path("broken.flac").read_bytes()
    Path("cut.flac").write_bytes(whole[: len(whole) // 2])
    Path("crashed.wav").write_bytes(with_size(Path("short.wav").read_bytes(), 0))
    data = bytearray(whole)
    data[len(data) * 3 // 4 : len(data) * 3 // 4 + 4000] = b"\0" * 4000
    Path("broken.flac").write_bytes(data)
    code, out, err = transcribe("broken.flac", "cut.flac", "crashed.wav")
    assert code == 0
    assert all(re.fullmatch(r"\S+: \S.*", line) for line in out.splitlines())
    broken, cut, crashed = err.splitlines()
    assert re.fullmatch(r"warning: broken\.flac: damaged: \d+\.\d s of its sound can't be decoded and were silenced", broken)
    assert re.fullmatch(r"warning: cut\.flac: cut short: \d+\.\d of 120\.0 s are there", cut)
    assert (
        crashed == "warning: crashed.wav: its header says 0.0 s, as in an interrupted recording; all 1.0 s in the file are used"
    )
    code, out, _ = transcribe("broken.flac", "cut.flac", "--format", "json")
    for row, line in zip(json.loads(out), (broken, cut), strict=True):
        assert row["output"]
        assert line.partition(": ")[2].partition(": ")[2] in row["warnings"]
    code, out, err = transcribe("cut.flac", "--format", "srt", "-o", "cut.srt")
    assert (code, out, err) == (0, "", f"{cut}\n")
    assert Path("cut.srt").read_text().startswith("1\n00:00:0")


def with_size(wav: bytes, size: int) -> bytes:
    place = wav.index(b"data") + 4
    return wav[:place] + struct.pack("<I", size) + wav[place + 4 :]


def av_open_film(name: str, sound: NDArray[np.float32] | None = None) -> None:
    """A film of a second of grey, with sound or without."""
    with av.open(name, "w") as container:
        pictures = container.add_stream("mpeg4", rate=5)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        speech = None if sound is None else container.add_stream("aac", rate=RATE, layout="mono")
        for _ in range(5):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 99, np.uint8), format="rgb24")))
        container.mux(pictures.encode(None))
        if sound is None or speech is None:
            return
        for place in range(0, len(sound) - 1023, 1024):
            frame = av.AudioFrame.from_ndarray(sound[None, place : place + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, place
            container.mux(speech.encode(frame))
        container.mux(speech.encode(None))


def test_a_folder_of_sound_in_any_container(transcribe: Transcribe) -> None:
    Path("mixed").mkdir()
    av_open_film("mixed/film.mp4", noise(1))
    av_open_film("mixed/film.mkv", noise(1))
    Path("mixed/film.mp4").rename("mixed/unnamed.m4a")
    Path("mixed/notes.txt").write_text("no sound")
    code, out, err = transcribe("mixed")
    assert code == 0
    assert [line.split(": ")[0] for line in out.splitlines()] == ["mixed/film.mkv", "mixed/unnamed.m4a"]
    assert re.fullmatch(r"warning: mixed: 1 file .*\(\.txt\)\n", err)


def test_stereo_in_opposite_phase_is_heard(transcribe: Transcribe) -> None:
    soundfile.write("phase.wav", np.stack([noise(1), -noise(1)], axis=1), RATE, subtype="FLOAT")
    assert transcribe("phase.wav")[1:] == transcribe("short.wav")[1:]


def test_other_kinds_of_files_name_the_command_that_reads_them(transcribe: Transcribe) -> None:
    Image.new("RGB", (20, 20)).save("photo.wav", "PNG")
    Path("notes.wav").write_text("a line\n" * 20)
    code, out, err = transcribe("photo.wav", "notes.wav")
    assert (code, out) == (1, "")
    assert err == (
        "error: photo.wav is a photo, not a sound recording\nhint: condgen caption photo.wav\n"
        "error: notes.wav is a text, not a sound recording\nhint: condgen translate --input notes.wav\n"
    )


def test_attention_of_a_recording_in_parts(transcribe: Transcribe) -> None:
    plain = transcribe("long.flac")[1]
    code, out, _ = transcribe("long.flac", "--show-attention", "--save-attention", "{stem}.json")
    assert code == 0
    assert out.startswith(plain)
    assert len(out.splitlines()) > 10
    assert Path("long.json").is_file()


PLUGIN = """
    import time
    from pathlib import Path

    from condgen_cli.hookspecs import hookimpl
    from condgen_cli.specs import ModelSpec

    CONDGEN_API = "2"

    @hookimpl
    def condgen_register_models():
        return [ModelSpec("waiting", "transcribe", "plug_waiting:build")]

    def build(config, files):
        from condgen_cli.generation import Generation
        from condgen_cli.model import Predictor

        class Waiting(Predictor):
            '''Writes where a part begins, and after each batch but the first waits until it is told to go on.'''

            batches = 0

            def collate(self, items):
                return [item.meta["start"] for item in items]

            def length(self, item):
                return len(item.condition.samples)

            def predict(self, batch):
                while self.batches and not Path(config["go"] + str(self.batches)).exists():
                    time.sleep(0.02)
                self.batches += 1
                return [Generation(f"{start:.0f}") for start in batch]

        return Waiting()
"""


def test_parts_are_printed_as_they_are_done(
    recordings: Path, make_plugin: MakePlugin, condgen_env: dict[str, str], tmp_path: Path
) -> None:
    make_plugin("waiting", PLUGIN)
    soundfile.write("talk.wav", np.concatenate([part for _ in range(6) for part in (noise(9), silence(1))]), RATE)
    go = tmp_path / "go"
    architecture = {"name": "waiting", "config": {"go": str(go)}}
    (tmp_path / "model.json").write_text(json.dumps({"architecture": architecture, "task": "transcribe", "files": []}))
    command = [sys.executable, "-m", "condgen_cli", "transcribe", "-m", str(tmp_path), "talk.wav", "--batch-size", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=condgen_env, bufsize=0) as process:
        assert process.stdout
        assert process.stderr
        out = b""
        for batch, expected in enumerate([b"0 10", b"0 10 20 30", b"0 10 20 30 40 50\n"], 1):
            while len(out) < len(expected) and (more := process.stdout.read(100)):
                out += more
            assert out == expected, "before the next batch is run"
            Path(f"{go}{batch}").touch()
        assert process.wait(300) == 0
        assert process.stderr.read() == b""


def test_a_pipe_is_transcribed_as_it_comes(
    recordings: Path, make_plugin: MakePlugin, condgen_env: dict[str, str], tmp_path: Path
) -> None:
    """A file of the name that messages use for standard input is another file."""
    make_plugin("waiting", PLUGIN)
    Path("standard input").write_text("no sound")
    soundfile.write("talk.flac", np.concatenate([part for _ in range(9) for part in (noise(9), silence(1))]), RATE)
    data = Path("talk.flac").read_bytes()
    go = tmp_path / "go"
    for batch in range(1, 20):
        Path(f"{go}{batch}").touch()
    architecture = {"name": "waiting", "config": {"go": str(go)}}
    (tmp_path / "model.json").write_text(json.dumps({"architecture": architecture, "task": "transcribe", "files": []}))
    command = [sys.executable, "-m", "condgen_cli", "transcribe", "-m", str(tmp_path), "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=condgen_env, bufsize=0) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(data[: len(data) * 8 // 10])
        out = b""
        while len(out) < len(b"0 10 20") and (more := process.stdout.read(100)):
            out += more
        assert out.startswith(b"0 10 20"), "while the pipe goes on"
        process.stdin.write(data[len(data) * 8 // 10 :])
        process.stdin.close()
        assert out + process.stdout.read() == b"0 10 20 30 40 50 60 70 80\n"
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_decoders_say_nothing_and_progress_is_shown_on_a_terminal(
    recordings: Path, make_plugin: MakePlugin, condgen_env: dict[str, str], tmp_path: Path
) -> None:
    make_plugin("waiting", PLUGIN.replace("while self.batches", "while False"))
    description = {"architecture": {"name": "waiting", "config": {"go": ""}}, "task": "transcribe", "files": []}
    (tmp_path / "model.json").write_text(json.dumps(description))
    talk = np.concatenate([part for _ in range(6) for part in (noise(9), silence(1))])
    for name in ("talk.mp3", "talk.ogg", "talk.flac"):
        soundfile.write(name, talk, RATE)
        data = bytearray(Path(name).read_bytes())
        data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
        Path(name).write_bytes(data[: len(data) * 9 // 10])
    Path("random.mp3").write_bytes(np.random.default_rng(0).bytes(20_000))
    Path("tagged.mp3").write_bytes(b"ID3\x04\0\0\0\0\x0f\x7f" + bytes(3000) + Path("talk.mp3").read_bytes()[5000:])
    names = ["talk.mp3", "talk.ogg", "talk.flac", "random.mp3", "tagged.mp3"]
    command = [sys.executable, "-m", "condgen_cli", "transcribe", "-m", str(tmp_path)]
    done = subprocess.run([*command, *names], env=condgen_env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 4
    assert len(done.stdout.splitlines()) == 4
    for line in done.stderr.splitlines():
        assert re.match(r"(warning|error): (talk|random|tagged)\.\w+", line)
    terminal, inside = os.openpty()
    with subprocess.Popen([*command, "talk.flac", "-o", "talk.txt"], env=condgen_env, stderr=inside) as process:
        os.close(inside)
        shown = b""
        try:
            while more := os.read(terminal, 1000):
                shown += more
        except OSError:  # Linux ends it so
            pass
        assert process.wait(60) == 0
    os.close(terminal)
    assert re.search(rb"transcribe .* 0:00:\d\d/0:01:00", shown)
    assert Path("talk.txt").read_text().startswith("0 10 20")


def test_weights_of_scorers(transcribe: Transcribe) -> None:
    own = transcribe("short.wav", "--format", "json")
    assert transcribe("short.wav", "--format", "json", "--weight", "ctc=0") == own
    heavy = transcribe("short.wav", "--format", "json", "--weight", "ctc=1", "--weight", "ctc=9")
    assert heavy[0] == 0
    assert json.loads(heavy[1])[0]["score"] < json.loads(own[1])[0]["score"]  # the scorer's share is no praise
    code, out, err = transcribe("short.wav", "--weight", "lm=0.3", "-o", "transcript.txt")
    assert (code, out) == (2, "")
    assert err == "error: the model has no scorer 'lm'\nhint: it has: ctc\n"
    assert not Path("transcript.txt").exists()


def test_an_evaluation_states_weights_that_are_not_the_models_own(
    recordings: Path, las: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("test.tsv").write_text("short.wav\tHELLO WORLD\n")

    def result(*weights: str) -> Any:
        arguments = ["eval", str(las), "--dataset", "audio-folder", "--data-dir", ".", "--format", "json", *weights]
        assert app.run(arguments) == 0
        return json.loads(capsys.readouterr().out)["results"][0]

    own, same, other = result(), result("--weight", "ctc=0"), result("--weight", "ctc=0.25")
    assert own["signature"] == same["signature"]
    assert "weights" not in own["signature"]
    assert ",weights.ctc=0.25," in other["signature"]
    assert (own["decoding"]["weights"], other["decoding"]["weights"]) == ({}, {"ctc": 0.25})


def test_help_imports_nothing_heavy_and_offers_subtitles(condgen_env: dict[str, str]) -> None:
    code = (
        "import sys; from condgen_cli.cli.app import run; assert run(['transcribe', '--help']) == 0;"
        "heavy = {'torch', 'numpy', 'pydantic', 'soundfile', 'soxr', 'tokenizers'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=condgen_env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "<text|json|jsonl|srt|vtt>" in done.stdout
