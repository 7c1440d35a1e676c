"""``condgen score``."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jiwer
import pytest
import sacrebleu

from condgen_cli.cli.app import run

SYSTEM = b"The dog bit the man.\nIt wasn't surprising.\nThe man had just bitten him.\n"
FIRST = b"The dog bit the man.\nIt was not unexpected.\nThe man bit him first.\n"
SECOND = b"The dog had bit the man.\nNo one was surprised.\nThe man had bitten the dog.\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, content in {"hyp": SYSTEM, "ref0": FIRST, "ref1": SECOND}.items():
        Path(name).write_bytes(content)
    return tmp_path


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    captured = capsys.readouterr()
    return json.loads(captured.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "bleu", "--hyp", "hyp", "--ref", "ref0", "--ref", "ref1", "--format", "json"]) == 0
    (result,) = document(capsys)["results"]
    assert (result["system"], result["n"], list(result["metrics"])) == ("hyp", 3, ["bleu"])
    assert result["metrics"]["bleu"]["value"] == pytest.approx(48.530827, abs=1e-6)
    assert result["metrics"]["bleu"]["low"] < 48 < result["metrics"]["bleu"]["high"]
    assert result["signature"].startswith("nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert "|n:3|bs:1000|seed:12345|condgen:" in result["signature"]


def test_text(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "bleu", "wer", "--hyp", "hyp", "--ref", "ref0", "--no-ci"]) == 0
    out = capsys.readouterr().out
    assert "hyp, n = 3" in out
    assert "wer" in out
    assert "nrefs:1|" in out
    assert "seed:" not in out


def test_paired(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["score", "chrf", "wer", "--hyp", "hyp", "--ref", "ref0", "--paired", "ref0"]
    assert run([*arguments, "--format", "json"]) == 0
    found = document(capsys)
    assert [result["system"] for result in found["results"]] == ["hyp", "ref0"]
    (comparison,) = found["paired"]
    wer = comparison["metrics"]["wer"]
    assert wer["value"] == pytest.approx(-found["results"][0]["metrics"]["wer"]["value"])
    assert wer["low"] <= wer["value"] <= wer["high"]
    assert 0 < wer["p"] <= 1
    assert run(arguments) == 0
    assert "ref0 less hyp" in capsys.readouterr().out


@pytest.mark.parametrize("weights", ["plain", "sclite"])
def test_alignments(weights: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["score", "wer", "--hyp", "hyp", "--ref", "ref0", "--alignments", weights]
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert "REF:  The dog bit the man.\n" in out
    assert f"total ({weights}):" in out
    assert run([*arguments, "--format", "json"]) == 0
    (result,) = document(capsys)["results"]
    assert [row["id"] for row in result["alignments"]] == ["1", "2", "3"]
    assert result["alignments"][0]["pairs"][0] == ["The", "The"]


def test_only_line_feeds_end_lines(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("hyp").write_bytes(b"\xef\xbb\xbfa b\r\nc\xe2\x80\xa8d\x0ce\n\nlast")
    Path("ref0").write_bytes(b"a b\nc d e\n\nlast\n")
    assert run(["score", "wer", "accuracy", "--hyp", "hyp", "--ref", "ref0", "--format", "json"]) == 0
    (result,) = document(capsys)["results"]
    assert result["n"] == 4
    assert result["metrics"]["wer"]["value"] == 0
    assert result["metrics"]["accuracy"]["value"] == 100


def test_an_empty_line_is_no_reference(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("ref1").write_bytes(b"The dog bit the man.\n\n\n")
    assert run(["score", "wer", "--hyp", "hyp", "--ref", "ref0", "--ref", "ref1", "--format", "json"]) == 0
    assert document(capsys)["results"][0]["signature"].startswith("nrefs:var|")


def test_standard_input(files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(FIRST)))
    assert run(["score", "wer", "--hyp", "-", "--ref", "ref0", "--format", "json"]) == 0
    assert document(capsys)["results"][0]["metrics"]["wer"]["value"] == 0


@pytest.mark.parametrize(
    ("content", "arguments", "code", "message"),
    [
        (b"one\ntwo\n", [], 2, "hyp has 2 lines, but ref0 has 3"),
        (b"", [], 1, "hyp is empty"),
        (b"fine\nbad \xff\nfine\n", [], 1, "hyp, line 2: byte 5 is not UTF-8"),
        (SYSTEM, ["--ref", "nowhere"], 3, "no file nowhere"),
        (SYSTEM, ["--ref", "."], 1, "cannot read ."),
        (SYSTEM, ["--ref", "-", "--paired", "-"], 2, "standard input can be read only once"),
        (SYSTEM, ["--alignments", "fancy"], 2, "--alignments can't be 'fancy'"),
    ],
)
def test_failures_are_one_line(
    content: bytes, arguments: list[str], code: int, message: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("hyp").write_bytes(content)
    assert run(["score", "wer", "--hyp", "hyp", "--ref", "ref0", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {message}")
    assert len([line for line in captured.err.splitlines() if not line.startswith("hint: ")]) == 1


def test_an_unknown_metric(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "wir", "--hyp", "hyp", "--ref", "ref0", "--format", "json"]) == 3
    assert document(capsys)["error"] == {"code": 3, "message": "no metric named 'wir'", "hint": "did you mean: wer"}


def test_a_metric_is_offered_whatever_the_case(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, hint in {"BLEU": "bleu, bleu4", "Rouge-L": "rouge_l", "CIDER": "cider"}.items():
        assert run(["score", name, "--hyp", "hyp", "--ref", "ref0"]) == 3
        assert f"hint: did you mean: {hint}" in capsys.readouterr().err


def test_an_undefined_score_is_told_as_such(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["score", "rhyme", "wer", "--hyp", "hyp", "--ref", "ref0"]
    assert run([*arguments, "--paired", "ref1"]) == 0
    captured = capsys.readouterr()
    assert "nan" not in (captured.out + captured.err).lower()
    rows = [line.split() for line in captured.out.splitlines() if line.startswith("rhyme")]
    assert rows == [["rhyme", "–"], ["rhyme", "–"], ["rhyme", "–", "–"]]
    assert captured.out.count("– rhyme: no poem is in a regular form") == 1

    assert run([*arguments, "--paired", "ref1", "--format", "json"]) == 0
    found = document(capsys)
    nothing = {"value": None, "low": None, "high": None}
    assert [result["metrics"]["rhyme"] for result in found["results"]] == [nothing, nothing]
    assert [result["remarks"]["rhyme"] for result in found["results"]] == [["no poem is in a regular form"]] * 2
    assert found["paired"][0]["metrics"]["rhyme"] == {**nothing, "p": None}
    assert found["paired"][0]["metrics"]["wer"]["p"] > 0


def test_a_score_that_some_resamples_leave_undefined_has_an_interval(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poem = "床前明月光，疑是地上霜。举头望明月，低头思故乡。"
    Path("hyp").write_text(f"{poem}\nno poem\n")
    assert run(["score", "rhyme", "--hyp", "hyp", "--ref", "hyp", "--format", "json"]) == 0
    assert document(capsys)["results"][0]["metrics"]["rhyme"] == {"value": 100, "low": 100, "high": 100}


def test_one_item_is_told_to_be_too_few(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("one").write_bytes(FIRST.splitlines()[0])
    assert run(["score", "cider", "bleu4", "--hyp", "one", "--ref", "one", "--format", "json"]) == 0
    captured = capsys.readouterr()
    (result,) = json.loads(captured.out)["results"]
    assert result["metrics"]["cider"]["value"] == 0
    assert "warning: one: cider: it is 0 for any output of 1 item" in captured.err
    assert "warning: one: cider, bleu4: the interval of 1 item has no width" in captured.err
    assert "it is 0 for any output of 1 item" in result["remarks"]["cider"][0]

    assert run(["score", "wer", "--hyp", "hyp", "--ref", "ref0", "--paired", "ref1"]) == 0
    assert "warning: no p-value can be less than 0.25 with 3 items" in capsys.readouterr().err
    assert run(["score", "cider", "--hyp", "hyp", "--ref", "ref0"]) == 0
    assert capsys.readouterr().err == ""
    Path("same").write_text("a dog runs\n" * 3)
    assert run(["score", "cider", "--hyp", "same", "--ref", "same"]) == 0
    assert "it is 0 for any output whose references are all alike" in capsys.readouterr().err


@pytest.mark.parametrize(("output", "reference"), [("", ""), ("a b", ""), ("", "a b"), ("a b", "a b")])
def test_scores_of_empty_texts_are_those_of_the_packages(
    output: str, reference: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("hyp").write_text(f"{output}\n{output}\n")
    Path("ref0").write_text(f"{reference}\n{reference}\n")
    metrics = ["wer", "cer", "bleu", "chrf", "rouge_l", "cider", "bleu4", "accuracy", "form"]
    assert run(["score", *metrics, "--hyp", "hyp", "--ref", "ref0", "--format", "json"]) == 0
    (result,) = document(capsys)["results"]
    values = {key: metric["value"] for key, metric in result["metrics"].items()}
    pairs = [reference] * 2, [output] * 2
    assert values["wer"] == pytest.approx(100 * jiwer.wer(*pairs))
    assert values["cer"] == pytest.approx(100 * jiwer.cer(*pairs))
    assert values["bleu"] == sacrebleu.corpus_bleu([output] * 2, [[reference] * 2], force=True).score == 0
    assert values["chrf"] == sacrebleu.corpus_chrf([output] * 2, [[reference] * 2]).score
    remarks = {key: " ".join(lines) for key, lines in result["remarks"].items()}
    if reference:
        assert remarks["bleu"] == "it is 0, as no output has 4 words"
        assert not {"wer", "cer", "chrf"} & set(remarks)
    else:
        for key in ("wer", "cer", "bleu", "chrf", "rouge_l", "cider", "bleu4"):
            assert remarks[key].startswith("the references hold no text")


def test_names_are_printed_escaped(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a\x1b[31mb").write_bytes(SYSTEM)
    assert run(["score", "wer", "--hyp", "a\x1b[31mb", "--ref", "ref0", "--paired", "a\x1b[31mb"]) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "a\\x1b[31mb less a\\x1b[31mb" in out


def test_normalised_texts_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whisper's conventions and LibriSpeech's: the same words are no errors, and the signature says so."""
    pytest.importorskip("whisper_normalizer", reason="needs condgen[hf]")
    monkeypatch.chdir(tmp_path)
    Path("hyp").write_text("Mr. Smith won't pay twenty-one dollars, um, for the colour.\n", encoding="utf-8")
    Path("ref").write_text("MISTER SMITH WILL NOT PAY TWENTY ONE DOLLARS FOR THE COLOR\n", encoding="utf-8")
    arguments = ["score", "wer", "--hyp", "hyp", "--ref", "ref", "--format", "json"]
    assert run(arguments) == 0
    assert document(capsys)["results"][0]["metrics"]["wer"]["value"] > 50
    assert run([*arguments, "--normalise", "english"]) == 0
    (result,) = document(capsys)["results"]
    assert result["metrics"]["wer"]["value"] == 0
    assert "|norm:english-whisper-normalizer-" in result["signature"]
    assert run([*arguments, "--normalise", "englisch"]) == 2
