"""What counts as a word: tokenizers by name and by language, and texts that have no blanks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jiwer
import pytest

from condgen_cli.cli.app import run
from condgen_cli.data.store import dataset_spec, target_language
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.metrics.evaluation import Evaluation
from condgen_cli.metrics.suite import Suite, build_suite, dataset_suite
from condgen_cli.metrics.words import is_installed, lacks_blanks, suitable_tokenizer
from condgen_cli.registry.plugins import manager

CHINESE = ["我喜欢吃红苹果。", "今天天气非常好，我们去公园吧。", "北京是中国的首都，有2000万人。"]
WRITTEN = ["我喜欢吃苹果。", "今天天气很好，我们去公园吧。", "北京是中国的首都，有2000万人。"]
JAPANESE = ["私は猫が好きです。", "今日は天気がいいですね。"]
THAI = ["ฉันรักแมวและสุนัขมาก", "วันนี้อากาศดีมากเลย"]
KOREAN = ["나는 고양이를 아주 좋아합니다.", "오늘은 날씨가 좋네요."]
CUT = ["我 喜欢 吃 红 苹果 。", "今天 天气 非常 好 ， 我们 去 公园 吧 。"]
ENGLISH = ["I like red apples.", "yes"]
TOKENIZERS = ("13a", "intl", "zh", "char", "none")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("hyp").write_text("\n".join(WRITTEN) + "\n")
    Path("ref").write_text("\n".join(CHINESE) + "\n")
    return tmp_path


def scored(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    assert run(["score", *arguments, "--hyp", "hyp", "--ref", "ref", "--format", "json"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out)["results"][0], captured.err


@pytest.mark.parametrize("name", TOKENIZERS)
def test_scores_are_those_of_sacrebleus_own_command(name: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, _ = scored(capsys, "bleu", "chrf", "--tokenize", name)
    command = [sys.executable, "-m", "sacrebleu", "ref", "-i", "hyp", "-m", "bleu", "chrf", "-w", "6", "--tokenize", name]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    for key, one in zip(("bleu", "chrf"), theirs, strict=True):
        assert result["metrics"][key]["value"] == pytest.approx(one["score"], abs=1e-6)
    assert f"bleu[{theirs[0]['signature'].removeprefix('nrefs:1|')}]" in result["signature"]


def test_text_without_blanks_is_warned_about_where_words_count(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, told = scored(capsys, "bleu", "wer", "bleu4", "chrf", "cer", "accuracy")
    assert "warning: hyp: bleu: it counts words, and most of the text has no blanks between them; try the tokenizer zh" in told
    assert "hyp: wer: it counts words, and most of the text has no blanks between them; try cer, or the tokenizer char" in told
    assert set(result["remarks"]) == {"bleu", "wer", "bleu4"}

    result, told = scored(capsys, "bleu", "wer", "chrf", "--tokenize", "char")
    assert (told, result.get("remarks")) == ("", None)


def test_errors_of_characters_where_asked(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, _ = scored(capsys, "wer", "cer", "--tokenize", "char", "--alignments", "plain")
    assert result["metrics"]["wer"]["value"] == pytest.approx(100 * jiwer.cer(CHINESE, WRITTEN))
    assert "wer[case:mixed|tok:char|version:jiwer-" in result["signature"]
    assert result["alignments"][0]["pairs"][4] == ["红", None]
    # blanks are none of the characters
    Path("ref").write_text("a b c\n")
    Path("hyp").write_text("ab d\n")
    assert scored(capsys, "wer", "--tokenize", "char")[0]["metrics"]["wer"]["value"] == pytest.approx(100 / 3)


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["bleu", "--tokenize", "ZH"], 3, "no tokenizer named 'ZH'", "did you mean: zh"),
        (["chrf", "wer", "--tokenize", "zh"], 2, "--tokenize zh has no effect on chrf, wer", "wer takes char"),
        (["cer", "--tokenize", "zh"], 2, "--tokenize zh has no effect on cer", None),
    ],
)
def test_a_tokenizer_that_cannot_be_used(
    arguments: list[str], code: int, message: str, hint: str | None, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", *arguments, "--hyp", "hyp", "--ref", "ref", "--format", "json"]) == code
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["message"], error["hint"]) == (message, hint)


@pytest.mark.parametrize(
    ("name", "package"),
    [("ja-mecab", "'sacrebleu[ja]'"), ("ko-mecab", "'sacrebleu[ko]'"), ("flores200", "sentencepiece")],
)
def test_a_tokenizer_that_is_not_installed(
    name: str, package: str, files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["score", "bleu", "--tokenize", name, "--hyp", "hyp", "--ref", "ref"]) == 3
    told = f"error: tokenizer {name} needs packages that aren't installed\nhint: pip install {package}\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("texts", "lacks", "tokenizer"),
    [
        (CHINESE, True, "zh"),
        (JAPANESE, True, "ja-mecab"),
        (THAI, True, "char"),
        ([*CHINESE, "OK"], True, "zh"),
        ([" ".join(CHINESE)], True, "zh"),
        (KOREAN, False, None),
        (CUT, False, None),
        ([" ".join(text) for text in CHINESE], False, None),
        (ENGLISH, False, None),
        (["Er wohnt in Beijing (北京).", "Kein Wort."], False, None),
        (["", " "], False, None),
        ([], False, None),
    ],
)
def test_whether_words_have_blanks_between_them(texts: list[str], lacks: bool, tokenizer: str | None) -> None:
    assert lacks_blanks(texts) == lacks
    if tokenizer:
        assert suitable_tokenizer(texts) == tokenizer


@pytest.mark.parametrize(
    ("dataset", "options", "language", "tokenizer"),
    [
        ("multi30k", {}, "en", "13a"),
        ("multi30k", {"source": "en", "target": "de"}, "de", "13a"),
        ("tatoeba-cmn", {}, "en", "13a"),
        ("tatoeba-cmn", {"source": "en"}, "zh", "zh"),
        ("parallel", {}, "", "13a"),
        ("parallel", {"language": "zh-TW"}, "zh-TW", "zh"),
        ("parallel", {"language": "cmn"}, "cmn", "zh"),
        ("parallel", {"language": "th"}, "th", "char"),
    ],
)
def test_the_tokenizer_follows_from_the_target(dataset: str, options: dict[str, str], language: str, tokenizer: str) -> None:
    spec = dataset_spec(dataset)
    assert target_language(spec, options) == language
    assert f"bleu[case:mixed|eff:no|tok:{tokenizer}|" in dataset_suite(spec, options).signature
    assert "|tok:intl|" in dataset_suite(spec, options, tokenize="intl").signature


@pytest.mark.skipif(is_installed("ja-mecab"), reason="MeCab is installed")
def test_japanese_without_mecab_is_scored_by_characters_and_told() -> None:
    suite = build_suite(["bleu"], manager().metrics, language="ja")
    items, outputs = [Item("1", None, (JAPANESE[0],))], [Generation(JAPANESE[0])]
    assert "|tok:char|" in suite.signature
    (told,) = suite.new_warnings(items, outputs, suite.statistics(items, outputs))
    assert told.startswith("bleu: computed with char, since tokenizer ja-mecab needs packages")
    assert "pip install 'sacrebleu[ja]'" in told


def test_training_is_told_the_language(capsys: pytest.CaptureFixture[str]) -> None:
    from condgen_cli.training.experiment import dev_scores

    items = [Item(str(n), "", (text,)) for n, text in enumerate(CHINESE)]
    outputs = [Generation(text) for text in WRITTEN]
    spec = dataset_spec("parallel")
    told, untold = dataset_suite(spec, {"language": "zh"}), dataset_suite(spec, {})

    def scores(suite: Suite) -> dict[str, float]:
        return dev_scores(suite, Evaluation("zh", items, outputs, statistics=suite.statistics(items, outputs)))

    assert scores(told)["bleu"] > 70
    assert capsys.readouterr().err == ""
    assert scores(untold)["bleu"] < 1
    assert "dev split: bleu: it counts words" in capsys.readouterr().err
    scores(untold)
    assert capsys.readouterr().err == ""  # once
