"""What commands write: never over what they read, whole under its final name, one failure costing one input."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.cli import app
from condgen_cli.errors import CondgenError, InputError, UsageError
from condgen_cli.files import OutputFile, replacement, write_atomically, write_whole
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.model import Item, Predictor
from condgen_cli.render.files import FORMATS
from condgen_cli.running.runner import Bundle, Runner
from condgen_cli.tasks.outputs import fill
from condgen_cli.terminal.printable import escape_controls, printable

Outcome = tuple[int, str, str]
Run = Callable[..., Outcome]


class Copier(Predictor):
    """Writes its input's name or text, while it looks at it; some inputs go wrong."""

    def collate(self, items: Sequence[Item]) -> list[str]:
        names = [item.condition if isinstance(item.condition, str) else item.source for item in items]
        if any("bad" in name for name in names):
            raise InputError("it is bad")
        return names

    def predict(self, batch: list[str]) -> list[Generation]:
        if any("interrupt" in text for text in batch):
            raise KeyboardInterrupt
        axes = (Axis("token", "tokens", ("copied",)), Axis("source", "tokens", ("it",)))
        return [
            Generation(text, ("copied",), np.zeros(1, np.float32), 0.0, {"attention": AttentionMap(np.ones((1, 1), "f"), axes)})
            for text in batch
        ]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in this process, in an empty folder, with a model that copies."""
    monkeypatch.chdir(tmp_path)

    def load(*_: object) -> Runner:
        return Runner(Copier(), Bundle("copier", task, "copier", {}, {}, {}), torch.device("cpu"))

    task = ""

    def command(*arguments: str) -> Outcome:
        nonlocal task
        task = arguments[0]
        with monkeypatch.context() as patched:
            patched.setattr("condgen_cli.running.runner.load", load)
            code = app.run(list(arguments))
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Files that captioning reads; the model above reads their names only."""
    from PIL import Image

    for name in ("a.png", "b.png", "a.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    return ["a.png", "b.png"]


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if "part" in path.name]


def test_a_file_of_texts_is_never_written_over(run: Run, tmp_path: Path) -> None:
    Path("s.txt").write_text("eins\nzwei\n")
    Path("link.txt").symlink_to("s.txt")
    os.link("s.txt", "hard.txt")
    for name in ("s.txt", "./s.txt", "link.txt", "hard.txt", str(tmp_path / "s.txt")):
        code, out, err = run("translate", "--input", "s.txt", "-o", name)
        assert (code, out) == (2, "")
        assert f"error: {name.removeprefix('./')} is an input" in err
    assert run("translate", "--input", "link.txt", "-o", "s.txt")[0] == 2
    assert run("translate", "--input", "s.txt", "--save-attention", "s.txt")[0] == 2
    assert run("chat", "--input", "s.txt", "-o", "s.txt")[0] == 2
    assert run("generate", "--input", "s.txt", "-o", "s.txt")[0] == 2
    assert run("qa", "s.txt", "-q", "Where is it?", "-o", "s.txt")[0] == 2
    assert Path("s.txt").read_text() == "eins\nzwei\n"


def test_a_recording_is_never_written_over(run: Run) -> None:
    Path("talk.wav").write_bytes(b"RIFF")
    for arguments in (
        ["--format", "srt", "-o", "{stem}.wav"],
        ["-o", "talk.wav"],
        ["--format", "vtt", "-o", "{parent}/{name}"],
    ):
        assert run("transcribe", "talk.wav", *arguments)[0] == 2, arguments
    assert Path("talk.wav").read_bytes() == b"RIFF"


def test_bits_are_never_written_over(run: Run) -> None:
    Path("bits.txt").write_text("01010101\n")
    assert run("ntm", "copy", "--bits", "bits.txt", "-o", "bits.txt")[0] == 2
    assert Path("bits.txt").read_text() == "01010101\n"


def test_photos_are_never_written_over(run: Run, photos: list[str], tmp_path: Path) -> None:
    before = {name: Path(name).read_bytes() for name in ("a.png", "b.png", "a.jpg")}
    lines = [
        ("a.png", "-o", "a.png"),
        ("a.png", "--save-attention", "{stem}.png"),
        ("a.png", "b.png", "--save-attention", "{stem}.png"),
        ("a.png", "b.png", "-o", "{parent}/{name}"),
        ("*.png", "-o", "b.png"),
        (".", "-o", "a.jpg"),
    ]
    for line in lines:
        assert run("caption", *line)[0] == 2, line
    # found while it runs: the map of a.jpg would be the photo a.png, which is read later
    for inputs in (["a.jpg", "*.png"], [str(tmp_path)]):
        code, _, err = run("caption", *inputs, "--save-attention", "{stem}.png")
        assert code != 0
        assert "a.png is an input" in err
    assert {name: Path(name).read_bytes() for name in before} == before
    assert not left_over(tmp_path)


def test_a_failure_leaves_the_results_of_yesterday(run: Run, tmp_path: Path) -> None:
    for name in ("res.txt", "res.json", "res.jsonl"):
        Path(name).write_text("yesterday\n")
        assert run("caption", "nofile.jpg", "-o", name)[0] == 3
        assert run("translate", "--input", "nofile.txt", "-o", name)[0] == 3
        assert run("translate", "bad", "-o", name)[0] == 1
        assert run("translate", "eins", "-o", name, "--nonsense")[0] == 2
        assert Path(name).read_text() == "yesterday\n"
    assert not left_over(tmp_path)


def test_results_replace_an_older_file_and_keep_its_mode_and_links(run: Run, tmp_path: Path) -> None:
    real = tmp_path / "real.txt"
    real.write_text("yesterday\n")
    real.chmod(0o640)
    Path("link.txt").symlink_to("real.txt")
    assert run("translate", "eins", "bad", "-o", "link.txt")[0] == 4
    assert real.read_text() == "eins\n\n"
    assert Path("link.txt").is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    umask = os.umask(0o022)
    try:
        run("translate", "eins", "-o", "new.txt")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(Path("new.txt").stat().st_mode) == 0o644
    assert not left_over(tmp_path)


def test_an_interruption_keeps_what_was_done_beside(run: Run, tmp_path: Path) -> None:
    for name in ("res.json", "res.jsonl", "res.txt"):
        Path(name).write_text("yesterday\n")
        code, out, err = run("translate", "eins", "zwei", "interrupt", "-o", name, "--batch-size", "1")
        assert (code, out) == (130, "")
        assert Path(name).read_text() == "yesterday\n"
        assert f"the results so far are in {name}.part" in err
    rows = json.loads(Path("res.json.part").read_text())
    assert [row["output"] for row in rows] == ["eins", "zwei"]
    assert Path("res.txt.part").read_text() == "eins\nzwei\n"
    code, out, _ = run("translate", "eins", "interrupt", "--format", "json", "--batch-size", "1")
    assert code == 130
    assert [row["output"] for row in json.loads(out)] == ["eins"], "stdout holds a whole document"


def test_the_suffix_decides_the_format(run: Run, photos: list[str]) -> None:
    assert run("translate", "eins", "-o", "a.json") == (0, "", "")
    assert json.loads(Path("a.json").read_text())[0]["output"] == "eins"
    assert run("translate", "eins", "zwei", "-o", "a.jsonl") == (0, "", "")
    assert [json.loads(line)["output"] for line in Path("a.jsonl").read_text().splitlines()] == ["eins", "zwei"]
    assert run("translate", "eins", "-o", "a.JSON", "--format", "text") == (0, "", "")
    assert Path("a.JSON").read_text() == "eins\n"
    assert run("translate", "eins", "-o", "-") == (0, "eins\n", "")
    assert not Path("-").exists()


def test_a_pattern_makes_a_file_for_each_input(run: Run, photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.png").rename(tmp_path / "sub" / "b.png")
    assert run("caption", "a.png", "sub/b.png", "-o", "{stem}.txt") == (0, "", "")
    assert Path("a.txt").read_text() == "a.png\n"
    assert Path("b.txt").read_text() == "sub/b.png\n"
    assert run("caption", "a.png", "sub/b.png", "-o", "{parent}/{name}.json") == (0, "", "")
    assert json.loads(Path("sub/b.png.json").read_text())[0]["output"] == "sub/b.png"
    Path("in.txt").write_text("eins\nzwei\n")
    assert run("translate", "--input", "in.txt", "-o", "{stem}.jsonl") == (0, "", "")
    assert json.loads(Path("in-2.jsonl").read_text())["output"] == "zwei"


def test_an_input_that_fails_leaves_no_file_and_no_other_name(run: Run, photos: list[str]) -> None:
    Path("nofile.txt").write_text("yesterday\n")
    code, _, err = run("caption", "nofile.png", "a.png", "-o", "{stem}.txt")
    assert code == 4
    assert "nofile.png does not exist" in err
    assert Path("nofile.txt").read_text() == "yesterday\n"
    assert Path("a.txt").read_text() == "a.png\n"


def test_inputs_of_one_name_are_told_apart(run: Run, photos: list[str]) -> None:
    code, _, err = run("caption", "a.png", "a.jpg", "-o", "{stem}.txt")
    assert code == 0
    assert err == "warning: a.jpg: a.txt holds the result of a.png, so this result goes to a-2.txt\n"
    assert (Path("a.txt").read_text(), Path("a-2.txt").read_text()) == ("a.png\n", "a.jpg\n")


def test_one_odd_name_or_target_costs_one_input(run: Run, photos: list[str], tmp_path: Path) -> None:
    from PIL import Image

    odd = os.fsdecode(b"caf\xe9.png")
    Path("a.png").rename(odd)
    code, _, err = run("caption", odd, "b.png", "-o", "out.jsonl")
    assert (code, err) == (0, "")
    assert [json.loads(line)["input"] for line in Path("out.jsonl").read_text().splitlines()] == [odd, "b.png"]
    assert run("caption", odd, "b.png", "-o", "out.txt")[0] == 0
    assert Path("out.txt").read_text() == "caf\\xe9.png: caf\\xe9.png\nb.png: b.png\n"
    long = "n" * 240
    Image.new("RGB", (8, 8)).save(tmp_path / f"{long}.png")
    assert run("caption", f"{long}.png", "b.png", "--save-attention", "{stem}.json")[0] == 0
    assert Path(f"{long}.json").exists()
    code, out, err = run("caption", f"{long}.png", "b.png", "--save-attention", "{stem}-with-a-long-end.json")
    assert (code, len(out.splitlines()), len(err.splitlines())) == (4, 2, 1)
    assert "File name too long" in err
    Path("b.txt").mkdir()
    code, _, err = run("caption", "b.png", odd, "-o", "{stem}.txt")
    assert code == 4
    assert "b.txt is a folder" in err
    assert (tmp_path / os.fsdecode(b"caf\xe9.txt")).exists()


def test_a_figure_that_fails_costs_only_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "eins\nzwei $$ \\frac{ \x1b[31m \u202e"
    assert run("translate", text, "--save-attention", "a.png")[::2] == (0, "")
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")

    def fail(*_: object) -> bytes:
        raise RuntimeError("raqm_layout() failed\nin the library")

    monkeypatch.setitem(FORMATS, ".png", fail)
    code, out, err = run("translate", "eins", "zwei", "--save-attention", "{stem}.png")
    assert (code, out) == (1, "eins\nzwei\n")
    assert err.splitlines()[0] == "error: cannot draw text-1.png: RuntimeError: raqm_layout() failed"


def test_two_outputs_of_one_name(run: Run) -> None:
    assert run("translate", "eins", "-o", "a.json", "--save-attention", "a.json")[0] == 2


def test_json_errors_go_where_results_would(run: Run) -> None:
    code, out, _ = run("translate", "eins", "--format", "json", "--nonsense", "-o", "new.json")
    assert (code, out) == (2, "")
    assert json.loads(Path("new.json").read_text())["error"]["code"] == 2
    Path("new.json").write_text("[]\n")
    code, out, _ = run("translate", "eins", "--format", "json", "--nonsense", "-o", "new.json")
    assert json.loads(out)["error"]["code"] == code == 2
    assert Path("new.json").read_text() == "[]\n"


def test_options_that_only_the_model_can_refuse_leave_no_results(run: Run, photos: list[str]) -> None:
    code, out, _ = run("caption", "a.png", "--temperature", "2", "--format", "json")
    assert json.loads(out)["error"]["code"] == code == 2
    code, out, err = run("caption", "a.png", "--temperature", "2", "-o", "new.json")
    assert (code, out) == (2, "")
    assert "part" not in err
    assert sorted(path.name for path in Path().iterdir()) == ["a.jpg", "a.png", "b.png"]


def test_control_characters_are_escaped(run: Run, tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\u202e\n\x9b31m"
    code, out, err = run("translate", f"a{evil}b")
    assert code == 0
    assert out == "a\\x1b]0;owned\\x07\\u202e\n\\x9b31mb\n"
    code, out, err = run("translate", f"a{evil}b", "-o", "out.txt")
    assert "\x1b" not in Path("out.txt").read_text()
    code, out, err = run("caption", f"no{evil}file.png")
    assert (code, out) == (3, "")
    assert err == "error: no\\x1b]0;owned\\x07\\u202e\\n\\x9b31mfile.png does not exist\n"
    rows = json.loads(run("translate", f"a{evil}b", "--format", "json")[1])
    assert rows[0]["output"] == f"a{evil}b", "a document says what is so"


@given(st.text())
def test_printable_text_is_one_line_that_a_terminal_takes(text: str) -> None:
    line = printable(text)
    assert len(line.splitlines()) <= 1
    assert not set(line) & set(map(chr, [*range(32), *range(127, 160), 0x202E, 0x2066]))
    assert printable(line) == line
    line.encode()
    assert text.count("\n") == printable(text, lines=True).count("\n")


@given(st.text())
def test_the_last_net_keeps_documents_and_colours(text: str) -> None:
    assert json.loads(escape_controls(json.dumps(text, ensure_ascii=False), colors=False)) == text
    assert escape_controls(f"\x1b[1;31mred\x1b[0m {text}", colors=True).startswith("\x1b[1;31mred\x1b[0m ")
    assert "\x1b" not in escape_controls(text, colors=False)


@given(st.from_regex(r"[^/\x00]{1,20}", fullmatch=True))
def test_a_name_stands_in_a_pattern_as_it_is(name: str) -> None:
    if name in (".", "..") or ":" in name:
        return
    assert fill(Path("{name}.x"), f"folder/{name}") == Path(f"{name}.x")
    assert fill(Path("out/{stem}"), f"folder/{name}") == Path("out") / Path(name).stem


def test_a_file_that_is_kept_or_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    file = OutputFile(path)
    file.write("one")
    assert not path.exists()
    file.discard()
    assert list(tmp_path.iterdir()) == []
    file = OutputFile(path)
    assert file.keep() is None
    file = OutputFile(path)
    file.write("two")
    assert file.keep() == tmp_path / "a.txt.part"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt.part"]
    with pytest.raises(UsageError, match="is a folder"):
        OutputFile(tmp_path)
    with pytest.raises(CondgenError, match="does not exist"):
        write_whole(tmp_path / "no" / "a.txt", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_told_with_the_file_s_name(run: Run, condgen_env: dict[str, str]) -> None:
    code, _, err = run("translate", "eins", "-o", "/dev/full")
    assert (code, err) == (1, f"error: cannot write /dev/full: {os.strerror(errno.ENOSPC)}\n")
    for line in (["list"], ["list", "--format", "json"], ["--help"], ["--version"], ["nonsense", "--format", "json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "condgen_cli", *line], env=condgen_env, stdout=full, stderr=-1, text=True
            )
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
        assert "unexpected" not in done.stderr
        assert "cannot write standard output" in done.stderr or "nonsense" in done.stderr


def test_closed_streams(condgen_env: dict[str, str]) -> None:
    def closed(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-m", "condgen_cli", *arguments]
        return subprocess.run(command, env=condgen_env, capture_output=True, text=True)

    done = closed(">&-", "list")
    assert (done.returncode, done.stderr) == (1, "error: cannot write standard output: it is closed\n")
    done = closed("<&-", "translate", "--input", "-")
    assert (done.returncode, done.stderr) == (1, "error: there is no standard input\n")
    done = closed("<&-", "score", "wer", "--hyp", "-", "--ref", "-")
    assert done.returncode in (1, 2)
    assert "Error" not in done.stderr
    done = closed("2>&-", "show", "nonsense")
    assert (done.returncode, done.stdout) == (3, "")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path, link = tmp_path / "a.txt", tmp_path / "link"
    write_atomically(path, b"old")
    path.chmod(0o600)
    link.symlink_to(path)
    with suppress(RuntimeError), replacement(link) as partial:
        partial.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    with replacement(link) as partial:
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert link.is_symlink()
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
    assert {each.name for each in tmp_path.iterdir()} == {"a.txt", "link"}
