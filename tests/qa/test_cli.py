"""``condgen qa`` as a user meets it, with a model whose first hop looks at what the question names."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import condgen_qa
from condgen_cli.cli import app
from condgen_cli.testing import check_plugin
from condgen_qa.config import QaConfig
from condgen_qa.model import QaModel
from condgen_qa.text import tokens
from condgen_qa.vocabulary import StoryVocabulary

STORY = "Mary went to the garden.\nJohn went to the kitchen. Sandra is in the office."
PEOPLE, PLACES = ("mary", "john", "sandra"), ("garden", "kitchen", "office")
Outcome = tuple[int, str, str]
Qa = Callable[..., Outcome]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One hop that looks at the sentence with the question's person, and answers with its place."""
    folder = tmp_path_factory.mktemp("model")
    vocabulary = StoryVocabulary.build([*tokens(STORY), "where"], PLACES)
    config = QaConfig(embedding_size=6, hops=1, encoding="bag", temporal=False, memory_size=4)
    net = QaModel(config, vocabulary)
    with torch.no_grad():
        net.embeddings.zero_()
        for unit, (person, place) in enumerate(zip(PEOPLE, PLACES, strict=True)):
            net.embeddings[0, vocabulary.tokens.index(person), 0, unit] = 3
            net.embeddings[0, vocabulary.tokens.index(place), 1, 3 + unit] = 3
    save_file(net.state_dict(), folder / "model.safetensors")
    vocabulary.save(folder / "vocabulary.json")
    description = {
        "task": "qa",
        "architecture": {"name": "qa", "config": config.model_dump()},
        "files": ["model.safetensors", "vocabulary.json"],
    }
    (folder / "model.json").write_text(json.dumps(description))
    return folder


@pytest.fixture
def qa(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Qa:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "story.txt").write_text(STORY)

    def run(*arguments: str) -> Outcome:
        code = app.run(["qa", *arguments, "-m", str(model)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_answers_come_with_probabilities_in_the_order_of_the_questions(qa: Qa) -> None:
    code, out, err = qa("story.txt", "-q", "Where is John?", "--question", "Where is Mary?")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith("kitchen 100.0 %  (")
    assert first.endswith(")")
    assert second.startswith("garden 100.0 %  (")


def test_an_answer_that_is_a_guess_says_so(qa: Qa) -> None:
    cases = {
        ("story.txt", "Where is Bob?"): "the model doesn't know Bob",
        ("Mary went to the garden.", "Where is John?"): "the story never mentions John",
        ("Mary went to the garden.", "where is john"): "the story never mentions john",
        ("Mary went to the garden.", "Where is Mary's John?"): "the story never mentions John",
        ("Mary flew over Paris and Rome.", "Where is Mary?"): "the model doesn't know 4 of the story's 5 words",
    }
    for (story, question), why in cases.items():
        code, out, _ = qa(story, "-q", question)
        assert code == 0
        assert out.endswith(f"  (a guess: {why})\n")
    code, out, _ = qa("story.txt", "-q", "Where is Bob?", "--format", "json")
    (row,) = json.loads(out)
    assert row["output"] in PLACES
    assert row["warnings"][-1] == "a guess: the model doesn't know Bob"
    assert row["mean_log_prob"] == pytest.approx(row["score"])
    for question in ("Where is Mary?", "Where is Mary's office?", "WHERE IS SANDRA?", "Where is mary?"):
        assert "guess" not in qa("story.txt", "-q", question)[1]


def test_a_file_of_questions_is_no_question(qa: Qa) -> None:
    code, _, err = qa("story.txt", "-q", "story.txt")
    assert code == 2
    assert "hint: condgen qa story.txt < story.txt" in err


def test_the_story_may_be_the_argument_or_standard_input(qa: Qa, monkeypatch: pytest.MonkeyPatch) -> None:
    _, expected, _ = qa("story.txt", "-q", "Where is Sandra?")
    assert qa(STORY, "-q", "Where is Sandra?") == (0, expected, "")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(STORY.encode())))
    assert qa("-", "-q", "Where is Sandra?") == (0, expected, "")


def test_without_questions_those_of_the_story_are_asked_of_what_stands_before(qa: Qa) -> None:
    text = (
        "1 Mary went to the garden.\n2 Where is Mary?\tgarden\t1\n3 John went to the kitchen.\n4 Where is John? \tkitchen\t3\n"
    )
    Path("asked.txt").write_text(text)
    code, out, _ = qa("asked.txt", "--format", "json")
    documents = json.loads(out)
    assert code == 0
    assert [document["input"] for document in documents] == ["Where is Mary?", "Where is John?"]
    assert [document["output"] for document in documents] == ["garden", "kitchen"]
    labels = [document["attention"]["attention"]["axes"][1]["labels"] for document in documents]
    assert [len(sentences) for sentences in labels] == [1, 2]


def test_without_any_questions_they_are_read_from_standard_input(qa: Qa, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = b"Where is Mary?\n\nWhere is John\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    code, out, err = qa("story.txt")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["garden", "kitchen"]


def test_json_has_the_likeliest_answers_and_attention_by_hop_and_sentence(qa: Qa) -> None:
    _, out, _ = qa("story.txt", "-q", "Where is John?", "--format", "jsonl")
    document = json.loads(out)
    assert document["answers"][0]["answer"] == "kitchen"
    assert sum(one["probability"] for one in document["answers"]) == pytest.approx(1, abs=1e-4)
    axes = document["attention"]["attention"]["axes"]
    assert [axis["kind"] for axis in axes] == ["hops", "sentences"]
    assert axes[1]["labels"][1] == "John went to the kitchen."
    ((_, second, _),) = document["attention"]["attention"]["weights"]
    assert second > 0.99


def test_attention_is_a_table_of_sentences_and_hops(qa: Qa) -> None:
    code, out, _ = qa("story.txt", "-q", "Where is John?", "--show-attention")
    assert code == 0
    lines = out.splitlines()
    assert any("sentence" in line and "hop 1" in line for line in lines)
    (john,) = (line for line in lines if "John went" in line)
    assert "100% ####" in john
    assert all("#" not in line for line in lines if "Mary" in line or "Sandra" in line)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("suffix", [".png", ".html", ".txt", ".json", ".npz"])
def test_attention_can_be_saved(qa: Qa, suffix: str) -> None:
    assert qa("story.txt", "-q", "Where is John?", "--save-attention", f"a{suffix}")[0] == 0
    assert Path(f"a{suffix}").stat().st_size > 100


def test_a_question_without_a_known_word_fails_alone(qa: Qa) -> None:
    code, out, err = qa("story.txt", "-q", "Wo war Johnn?", "-q", "Where is Mary?")
    assert code == 4
    assert out.splitlines()[0] == ""
    assert out.splitlines()[1].startswith("garden")
    assert "knows no word of the question 'Wo war Johnn?'" in err
    assert "hint: known words: john" in err


def test_what_is_wrong_with_a_story_is_said_once(qa: Qa) -> None:
    Path("long.txt").write_text("Fred went to the gardens.\n" * 10_000 + STORY)
    code, out, err = qa("long.txt", "-q", "Where is Mary?", "-q", "Where is John?")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert err.count("the first 9,999 are left out, the memory holds 4") == 1
    assert err.count("unknown words in the story are skipped: fred, gardens (known: garden)") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("", "-q", "Where?"), 3, "does not exist"),
        (("   \n ", "-q", "Where?"), 3, "does not exist"),
        (("empty.txt", "-q", "Where is Mary?"), 1, "the story is empty"),
        (("storry.txt", "-q", "Where is Mary?"), 3, "did you mean: story.txt"),
        ((".", "-q", "Where is Mary?"), 1, "is a directory"),
        (("latin.txt", "-q", "Where is Mary?"), 1, "not UTF-8"),
    ],
)
def test_stories_that_cannot_be_had(qa: Qa, arguments: tuple[str, ...], code: int, message: str) -> None:
    Path("empty.txt").write_text(" \n...\n")
    Path("latin.txt").write_bytes("Zoë is here.".encode("latin-1"))
    found, out, err = qa(*arguments)
    assert (found, out) == (code, "")
    assert message in err


def test_inspect_reads_a_text_with_its_questions(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["inspect", str(model), f"{STORY} Where is John?", "--format", "json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["output"] == "kitchen"
    assert app.run(["inspect", str(model)]) == 0
    assert "vocabulary  12 tokens: garden in is john kitchen" in capsys.readouterr().out


def test_eval_marks_the_tasks_that_fail(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "en").mkdir()
    sentences = "1 Mary went to the garden.\n2 John went to the kitchen.\n"
    (tmp_path / "en" / "qa1_easy_test.txt").write_text(
        f"{sentences}3 Where is Mary?\tgarden\t1\n4 Where is John?\tkitchen\t2\n"
    )
    (tmp_path / "en" / "qa2_hard_test.txt").write_text(
        f"{sentences}3 Where is Mary?\tkitchen\t2\n4 Where is John?\tkitchen\t2\n"
    )
    arguments = ["eval", str(model), "--dataset", "babi", "--set", "task=1,2", "--data-dir", str(tmp_path)]
    assert app.run([*arguments, "--format", "json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["metrics"]["accuracy"]["value"] == 75
    assert result["metrics"]["fact_recall"]["value"] == result["metrics"]["fact_recall_1"]["value"] == 75
    assert result["metrics"]["fact_recall_2"] == {"value": None, "low": None, "high": None}
    assert {name: group["metrics"]["error"]["value"] for name, group in result["groups"].items()} == {"1 easy": 0, "2 hard": 50}
    assert app.run([*arguments, "--no-ci"]) == 0
    easy, hard, mean = (line for line in capsys.readouterr().out.splitlines() if line.startswith(("1 easy", "2 hard", "mean")))
    assert "failed" not in easy
    assert hard.endswith("failed")
    assert mean.endswith("1 failed")
    assert "25.00" in mean


def test_plugin() -> None:
    check_plugin(condgen_qa)


def test_help_imports_nothing_heavy(condgen_env: dict[str, str]) -> None:
    code = (
        "import sys; from condgen_cli.cli.app import run; assert run(['qa', '--help']) == 0;"
        "heavy = {'torch', 'numpy', 'pydantic'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=condgen_env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
