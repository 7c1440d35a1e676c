"""``condgen transcribe`` as a user meets it, with a small model of random weights."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from condgen_cli import app
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
        signs = re.compile(" over and over|the attention is spread")
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
    monkeypatch.setattr("condgen_cli.runner.load", lambda *_: pytest.fail("a model was loaded before options were checked"))
    code, _, err = transcribe("short.wav", "long.flac", "--format", "vtt")
    assert (code, err.splitlines()[1]) == (2, "hint: -o {stem}.vtt")
    assert transcribe("short.wav", "long.flac", "--format", "vtt", "-o", "a.vtt")[2].endswith("hint: -o a-{stem}.vtt\n")
    assert transcribe("short.wav", "--format", "srt", "--nbest", "2")[0] == 2
    assert transcribe("short.wav", "--format", "subtitles")[0] == 2


def test_bad_recordings_cost_a_line_each(transcribe: Transcribe) -> None:
    Path("empty.wav").write_bytes(b"")
    Path("text.wav").write_text("no sound at all")
    Path("cut.wav").write_bytes(Path("short.wav").read_bytes()[:5000])
    Path("folder").mkdir()
    nan = noise(1)
    nan[100] = np.nan
    soundfile.write("nan.wav", nan, RATE, subtype="FLOAT")
    bad = ["empty.wav", "text.wav", "cut.wav", "nan.wav", "absent.wav", "folder"]
    code, out, err = transcribe(*bad[:3], "short.wav", *bad[3:])
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


def test_what_was_heard_before_the_damage_is_printed(transcribe: Transcribe) -> None:
    soundfile.write("broken.flac", np.concatenate([part for _ in range(12) for part in (noise(9), silence(1))]), RATE)
    data = bytearray(Path("broken.flac").read_bytes())
    data[len(data) * 3 // 4 : len(data) * 3 // 4 + 4000] = b"\0" * 4000
    Path("broken.flac").write_bytes(data)
    code, out, err = transcribe("broken.flac")
    assert code == 1
    assert re.fullmatch(r"\S.*\n", out)
    assert err.startswith("error: broken.flac is broken after ")
    code, out, _ = transcribe("broken.flac", "--format", "json")
    assert (code, json.loads(out)[0]["output"]) == (1, None)


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

    CONDGEN_API = "1"

    @hookimpl
    def condgen_register_models():
        return [ModelSpec("waiting", "transcribe", "plug_waiting:build")]

    def build(config, files):
        import torch
        from condgen_cli.generation import Generation

        class Waiting(torch.nn.Module):
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
        "import sys; from condgen_cli.app import run; assert run(['transcribe', '--help']) == 0;"
        "heavy = {'torch', 'numpy', 'pydantic', 'soundfile', 'soxr', 'tokenizers'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=condgen_env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "<text|json|jsonl|srt|vtt>" in done.stdout
