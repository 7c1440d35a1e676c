"""``condgen ntm`` as a user meets it, with a tiny model that was never trained."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from condgen_cli.cli import app
from condgen_ntm.model import NtmConfig, NtmModel

Outcome = tuple[int, str, str]
Ntm = Callable[..., Outcome]


@pytest.fixture
def ntm(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ntm:
    """Runs the command in this process, in an empty folder, with a model of the task: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(task: str, *arguments: str) -> Outcome:
        torch.manual_seed(0)
        config = NtmConfig(task=task, hidden_size=8, slots=12, slot_size=4)  # type: ignore[arg-type]
        folder = tmp_path / "model" / task
        if not folder.exists():
            folder.mkdir(parents=True)
            save_file(NtmModel(config).state_dict(), folder / "model.safetensors")
            architecture = {"name": "ntm", "config": config.model_dump()}
            description = {"task": "ntm", "architecture": architecture, "files": ["model.safetensors"]}
            (folder / "model.json").write_text(json.dumps(description))
        code = app.run(["ntm", task, "-m", str(folder), *arguments])
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("task", "sizes", "rows", "answers"),
    [
        ("copy", ["--length", "5"], 8, 5),
        ("repeat-copy", ["--length", "2", "--repeats", "3"], 9, 7),
        ("associative-recall", ["--items", "3"], 6, 3),
        ("n-grams", ["--length", "20"], 1, 15),
        ("priority-sort", ["--items", "5"], 8, 4),
    ],
)
def test_every_task_draws_its_target_and_output_and_counts_wrong_bits(
    ntm: Ntm, task: str, sizes: list[str], rows: int, answers: int
) -> None:
    code, out, err = ntm(task, *sizes)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    pictures = [line[8:] for line in lines[: 2 * rows]]
    assert {len(line) for line in pictures} == {answers}
    assert lines[0].startswith("target")
    assert lines[rows].startswith("output")
    wrong = sum(line.count("x") for line in pictures)
    assert lines[-1].startswith(f"{wrong} of {rows * answers} bits wrong")


def test_wrong_bits_are_red_on_a_terminal_and_plain_in_a_file(ntm: Ntm, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ntm("copy", "--length", "5")[1]
    assert "x" in plain.splitlines()[8]
    monkeypatch.setattr("condgen_cli.terminal.console.use_color", lambda: True)
    assert ntm("copy", "--length", "5")[1].replace("\x1b[1;31m", "").replace("\x1b[0m", "") == plain
    assert "\x1b[1;31mx" in ntm("copy", "--length", "5")[1]
    assert ntm("copy", "--length", "5", "-o", "out.txt") == (0, "", "")
    assert Path("out.txt").read_text() == plain


def test_the_same_seed_gives_the_same_sequence(ntm: Ntm) -> None:
    first, again, other = (ntm("copy", "--seed", seed, "--format", "json")[1] for seed in ("3", "3", "4"))
    assert first == again != other


def test_json_tells_the_target_the_errors_and_the_attention(ntm: Ntm) -> None:
    code, out, _ = ntm("copy", "--length", "3", "--format", "json")
    (row,) = json.loads(out)
    assert code == 0
    assert row["input"].split() == row["target"]
    output = row["output"].split()
    expected = [(s, b) for s in range(3) for b in range(8) if output[s][b] != row["target"][s][b]]
    assert [(error["step"], error["bit"]) for error in row["errors"]] == expected
    assert np.array(row["probabilities"]).shape == (3, 8)
    assert set(row["attention"]) == {"read", "write"}
    assert [axis["kind"] for axis in row["attention"]["write"]["axes"]] == ["tokens", "slots"]


def test_own_bits_from_a_file_and_from_standard_input(ntm: Ntm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bits.txt"
    file.write_text("01101001\n11010010\n")
    assert json.loads(ntm("copy", "--bits", str(file), "--format", "json")[1])[0]["target"] == ["01101001", "11010010"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"0110\n")))
    assert json.loads(ntm("copy", "--bits", "-", "--format", "json")[1])[0]["target"] == ["01100000"]


def test_sequences_apart_by_an_empty_line_are_done_one_by_one(ntm: Ntm, tmp_path: Path) -> None:
    (tmp_path / "bits.txt").write_text("01101001\n\nno bits\n\n11010010\n")
    code, out, err = ntm("copy", "--bits", "bits.txt", "--format", "json")
    assert code == 4
    assert [row["output"] is None for row in json.loads(out)] == [False, True, False]
    assert "error: bits.txt:2: vector 1 is 'no bits', not a row of 0 and 1" in err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xff\xfe\x00", "is not text"),
        (b"012\n", "vector 1 is '012', not a row of 0 and 1"),
        (b"010101010\n", "vectors of 9 bits are wider than the model's 8"),
    ],
)
def test_bits_that_are_none(ntm: Ntm, tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "bits.txt").write_bytes(content)
    code, out, err = ntm("copy", "--bits", "bits.txt")
    assert (code, out) == (1, "")
    assert told in err
    assert sum(line.startswith("error:") for line in err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["copy", "--length", "0"], 2, "--length can't be 0"),
        (["copy", "--items", "3"], 2, "copy has no --items"),
        (["associative-recall", "--items", "1"], 2, "--items can't be 1"),
        (["copy", "--bits", "nowhere.txt"], 3, "nowhere.txt does not exist"),
        (["copy", "--bits", "nowhere.txt", "--length", "3"], 2, "--bits can't be combined with --length"),
    ],
)
def test_arguments_that_make_no_sense(ntm: Ntm, arguments: list[str], code: int, told: str) -> None:
    found, out, err = ntm(*arguments)
    assert (found, out) == (code, "")
    assert told in err


@pytest.mark.parametrize(
    ("arguments", "beyond"),
    [
        (("copy", "--length", "8"), ""),
        (("copy", "--length", "21"), "length 21, trained on 1 to 20"),
        (("repeat-copy", "--length", "3", "--repeats", "4"), ""),
        (("repeat-copy", "--length", "11", "--repeats", "12"), "length 11, trained on 1 to 10; repeats 12, trained on 1 to 10"),
        (("associative-recall", "--items", "7"), "items 7, trained on 2 to 6"),
        (("associative-recall", "--items", "6"), ""),
        (("n-grams", "--length", "60"), "length 60, trained on 200"),
        (("priority-sort", "--items", "20"), ""),
        (("priority-sort", "--items", "19"), "items 19, trained on 20"),
    ],
)
def test_sizes_beyond_training_are_told_of(ntm: Ntm, arguments: tuple[str, ...], beyond: str) -> None:
    out = ntm(*arguments)[1]
    told = f"  (beyond its training: {beyond})\n"
    assert out.endswith(told) if beyond else "beyond" not in out
    (row,) = json.loads(ntm(*arguments, "--format", "json")[1])
    assert [one for one in row["warnings"] if "beyond" in one] == ([told.strip(" ()\n")] if beyond else [])


def test_longer_than_the_memory_is_warned_of_and_done(ntm: Ntm) -> None:
    code, out, err = ntm("copy", "--length", "15")
    assert code == 0
    assert "bits wrong" in out
    assert err == "warning: copy: 15 vectors to remember are more than the memory's 12 slots\n"


def test_the_tape_is_drawn_slots_down_and_steps_across(ntm: Ntm) -> None:
    _, out, _ = ntm("copy", "--length", "4", "--show-attention")
    read, write = out.split("\nread\n")[1].split("\nwrite\n")
    for tape in (read, write):
        lines = tape.splitlines()
        rows = [line for line in lines if line[:2].strip().isdecimal()]
        assert rows
        assert all(len(line) <= 3 + 2 * 9 for line in rows)
        assert any("|" in line for line in lines)


def test_attention_is_saved_in_every_format(ntm: Ntm, tmp_path: Path) -> None:
    for suffix in ("txt", "png", "html", "json", "npz"):
        assert ntm("copy", "--length", "3", "--save-attention", f"tape.{suffix}")[0] == 0
    with np.load(tmp_path / "tape.npz") as arrays:
        assert arrays["weights/write"].shape == (7, 12)
        assert arrays["tape/contents"].shape == (7, 12, 4)
        assert arrays["tape/erase"].shape == arrays["tape/add"].shape == (7, 1, 4)
        contents = arrays["tape/contents"]
    saved = json.loads((tmp_path / "tape.json").read_text())
    np.testing.assert_allclose(saved["tape"]["contents"], contents, atol=1e-4)
    page = (tmp_path / "tape.html").read_text()
    assert 'type="range"' in page
    assert "{{" not in page
    assert "Down: slot. Across: step." in (tmp_path / "tape.txt").read_text()
    with Image.open(tmp_path / "tape.png") as image:
        colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 10


def test_a_text_can_be_looked_into(ntm: Ntm, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ntm("copy", "--length", "1")
    assert app.run(["inspect", str(tmp_path / "model" / "copy"), "copy 0110 1001"]) == 0
    assert "Down: slot. Across: step." in capsys.readouterr().out
    assert app.run(["inspect", str(tmp_path / "model" / "copy"), "fly 0110"]) == 1
    assert "'fly' is not a task" in capsys.readouterr().err


def test_eval_has_a_row_for_each_length(ntm: Ntm, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ntm("copy", "--length", "1")
    arguments = ["--dataset", "ntm-copy", "--set", "lengths=2,3", "--set", "count=5", "--format", "json"]
    assert app.run(["eval", str(tmp_path / "model" / "copy"), *arguments]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert list(result["groups"]) == ["length 2", "length 3"]
    assert 0 < result["metrics"]["bit_errors"]["value"] <= 24
    assert result["metrics"]["bits_per_sequence"]["low"] is not None
    assert result["metrics"]["optimal_bits_per_sequence"]["value"] is None
