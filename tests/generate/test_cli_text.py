"""``condgen generate`` for texts and poems as a user meets it, with models trained in a moment."""

from __future__ import annotations

import io
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import condgen_generate
from condgen_cli.cli import app
from condgen_cli.testing import check_plugin
from condgen_generate.verse import form_of, lines_of

Outcome = tuple[int, str, str]
Generate = Callable[..., Outcome]

LINES = ["白日依山盡", "黃河入海流", "欲窮千里目", "更上一層樓", "牀前明月光", "疑是地上霜", "舉頭望明月", "低頭思故鄉"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that are trained for a few steps by the recipes that ship, with layers that are small."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "input.txt").write_text("To be, or not to be: that is the question.\n" * 40)
    draw, characters = random.Random(0), "".join(LINES) + "天地玄黃宇宙洪荒春夏秋冬"
    lines = [LINES[:4], LINES[4:], *(["".join(draw.choices(characters, k=5)) for _ in range(4)] for _ in range(98))]
    rows = [{"paragraphs": [f"{a}，{b}。", f"{c}，{d}。"]} for a, b, c, d in lines]
    (folder / "tang_poems.jsonl").write_text("\n".join(map(json.dumps, rows)))
    small = ["model.hidden_size=16", "model.embedding_size=8", "training.epochs=1", "training.batch_size=4"]
    for recipe, *more in (
        ("shakespeare", "data.dataset=text-file", "data.steps=16", "stages.books.data.text=input.txt"),
        ("poem", "data.min_count=1"),
    ):
        arguments = ["train", recipe, "--data-dir", str(folder), "-o", str(folder / recipe), *small, *more]
        assert app.run(arguments) == 0
    return folder


@pytest.fixture
def generate(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Generate:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(model: str, *arguments: str) -> Outcome:
        capsys.readouterr()
        code = app.run(["generate", "-m", str(models / model), *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def poems_of(out: str) -> list[str]:
    return [part.replace("\n", "") for part in out.strip("\n").split("\n\n")]


@pytest.mark.parametrize("form", ["5x4", "7x4", "5x8", "7x8"])
def test_poems_are_in_the_form_that_is_asked_for(generate: Generate, form: str) -> None:
    code, out, err = generate("poem", "--form", form, "-n", "3")
    assert (code, err) == (0, "")
    poems = poems_of(out)
    assert len(poems) == 3
    for poem in poems:
        found = form_of(poem)
        assert found is not None
        assert found.name == form
    assert len(out.splitlines()[0]) == 2 * int(form[0]) + 2  # a couplet in each line


def test_the_acrostic_is_read_down(generate: Generate) -> None:
    code, out, err = generate("poem", "--acrostic", "春夏秋冬", "--form", "5x4", "-n", "2")
    assert (code, err) == (0, "")
    assert ["".join(line[0] for line in lines_of(poem)) for poem in poems_of(out)] == ["春夏秋冬"] * 2


def test_scripts_of_prompts_and_poems(generate: Generate) -> None:
    code, out, err = generate("poem", "举头望明月，", "--seed", "2")
    assert (code, err) == (0, "")
    assert out.startswith("举头望明月，")
    same = generate("poem", "舉頭望明月，", "--seed", "2", "--script", "traditional")[1]
    assert same.startswith("舉頭望明月，")
    assert len(same) == len(out)
    assert "舉" not in out


def test_a_seed_reproduces_and_another_does_not(generate: Generate) -> None:
    first = generate("poem", "-n", "2", "--seed", "5")
    assert generate("poem", "-n", "2", "--seed", "5") == first
    assert generate("poem", "-n", "2", "--seed", "6") != first


def test_what_is_drawn_depends_on_the_prompt_alone(generate: Generate, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = ("To be", "or not", "", "To be")
    command = ("shakespeare", "--length", "30", "--seed", "2", "--format", "jsonl")

    def drawn(*arguments: str) -> list[str]:
        code, out, _ = generate(*command, *arguments)
        assert code == 0
        return [json.loads(line)["output"] for line in out.splitlines()]

    together = drawn(*prompts)
    assert drawn(*prompts, "--batch-size", "1") == together
    assert [drawn(prompt)[0] for prompt in prompts[:3]] == together[:3]
    assert drawn() == together[2:3]
    assert together[0] != together[3]
    assert together[1] in drawn("or not", "-n", "3")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"more\nTo be\nor not\n")))
    assert drawn("--input", "-")[1:] == together[:2]
    longer = generate("shakespeare", "To be", "--length", "60", "--seed", "2")[1]
    assert longer.startswith(together[0])


def test_a_text_goes_on_for_the_length_or_until_the_stop(generate: Generate) -> None:
    code, out, err = generate("shakespeare", "To be", "--length", "40", "--temperature", "0.5", "--top-k", "5")
    assert (code, err) == (0, "")
    assert out.startswith("To be")
    assert len(out) == len("To be") + 40 + 1
    _, out, _ = generate("shakespeare", "--length", "300", "--stop", "e", "--format", "json")
    (document,) = json.loads(out)
    assert document["input"] == ""
    assert "e" not in document["output"]


def test_lines_of_standard_input_are_prompts(generate: Generate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"To be\n\nor not")))
    code, out, err = generate("shakespeare", "--input", "-", "--length", "5", "--format", "jsonl")
    assert (code, err) == (0, "")
    documents = [json.loads(line) for line in out.splitlines()]
    assert [document["input"] for document in documents] == ["To be", "", "or not"]
    assert [len(document["output"]) for document in documents] == [10, 5, 11]


def test_an_empty_file_holds_no_prompt(generate: Generate) -> None:
    Path("empty.txt").touch()
    assert generate("shakespeare", "--input", "empty.txt") == (0, "", "")
    assert generate("shakespeare", "--input", "empty.txt", "--format", "json") == (0, "[]\n", "")


def test_json_tells_of_each_step(generate: Generate) -> None:
    code, out, _ = generate("poem", "--form", "5x4", "--format", "json")
    (document,) = json.loads(out)
    assert code == 0
    assert document["attention"] is None
    steps = document["steps"]
    assert "".join(step["token"] for step in steps) == document["output"] + "<eos>"
    for step in steps:
        assert len(step["likeliest"]) == 5
        shares = [one["probability"] for one in step["likeliest"]]
        assert shares == sorted(shares, reverse=True)
        assert step["probability"] <= shares[0] + 1e-6
        assert 2 ** -step["bits"] == pytest.approx(step["probability"], abs=1e-3)


def test_in_place_of_attention_surprise_is_shown(generate: Generate) -> None:
    code, out, err = generate("shakespeare", "To be", "--length", "8", "--show-attention")
    assert (code, err) == (0, "")
    head, *_ = (number for number, line in enumerate(out.splitlines()) if line.startswith("step"))
    rows = out.splitlines()[head + 2 : head + 10]
    assert [int(row.split()[0]) for row in rows] == list(range(1, 9))
    for row in rows:
        assert row.count("%") == 5
        bits = float(re.findall(r"\d+\.\d+", row)[1])
        assert row.count("#") == min(12, round(bits))


def test_inspect_shows_surprise_too(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["inspect", str(models / "shakespeare"), "To be"]) == 0
    first, _, header = capsys.readouterr().out.partition("\nstep ")
    assert first.startswith("To be\n")
    assert "no attention" not in first + header
    assert header.splitlines()[2].split()[0] == "1"
    assert header.splitlines()[2].count("%") == 5


def test_unknown_characters_are_told_of_and_kept(generate: Generate) -> None:
    code, out, err = generate("poem", "--acrostic", "龘夏秋冬", "--form", "5x4")
    assert code == 0
    assert "the model does not know 龘, and reads it as an unknown character" in err
    assert out.startswith("龘")
    code, out, err = generate("shakespeare", "Zöe", "--length", "3")
    assert code == 0
    assert "the model does not know Z ö" in err
    assert out.startswith("Zöe")


@pytest.mark.parametrize(
    ("model", "arguments", "code", "message"),
    [
        ("poem", ("--form", "6x4"), 2, "hint: syllables x lines: 5x4, 7x4, 5x8, 7x8"),
        ("poem", ("--acrostic", "春夏秋冬春", "--form", "5x4"), 2, "4 lines, the acrostic 5 characters"),
        ("poem", ("moon",), 2, "which 'm' isn't"),
        ("poem", ("--length", "30"), 2, "--length and --stop can't be used"),
        ("shakespeare", ("--form", "5x4"), 2, "hint: -m poem"),
        ("shakespeare", ("--script", "traditional"), 2, "can't use --script"),
        ("shakespeare", ("--complete", "x.png", "--length", "3"), 2, "can't be combined with --length"),
        ("poem", ("--temperature", "inf"), 2, "--temperature must be between"),
        ("poem", ("--seed", "-1"), 2, "--seed"),
        ("poem", ("--seed", str(2**64)), 2, "--seed"),
        ("poem", ("-n", "1000000"), 2, "--number"),
        ("poem", ("--beam", "2"), 2, "no such option"),
        ("shakespeare", ("a", "--input", "x.txt"), 2, "choose one"),
        ("shakespeare", ("--input", "x.txt"), 3, "does not exist"),
        ("shakespeare", ("--length", "0"), 2, "--length"),
    ],
)
def test_what_can_not_be_done(generate: Generate, model: str, arguments: tuple[str, ...], code: int, message: str) -> None:
    found, out, err = generate(model, *arguments)
    assert (found, out.strip()) == (code, "")
    assert message in err


def test_in_a_batch_the_others_are_done(generate: Generate) -> None:
    code, out, err = generate("poem", "白日依山盡，", "moon", "黃河入海流，")
    assert code == 4
    assert "text-2: a poem has only Chinese characters, which 'm' isn't" in err
    assert [line[:5] for line in out.splitlines() if line.endswith("。")][::2] == ["白日依山尽", "黄河入海流"]


def test_eval_scores_the_references(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data-dir", str(models), "--format", "json", "--no-ci"]
    assert app.run(["eval", str(models / "shakespeare"), "--dataset", "text-file", *arguments]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    scores = {name: score["value"] for name, score in result["metrics"].items()}
    assert scores["bits_per_char"] == pytest.approx(scores["nats_per_char"] * 1.442695, rel=1e-4)
    assert app.run(["eval", str(models / "poem"), "--dataset", "chinese-poetry", *arguments]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["metrics"]["bits_per_char"]["value"] > 0


def test_forms_and_rhymes_of_any_poems_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "poems.txt").write_text("牀前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。\n牀前明月光，疑是地上霜。\n")
    path = str(tmp_path / "poems.txt")
    assert app.run(["score", "form", "rhyme", "--hyp", path, "--ref", path, "--format", "json", "--no-ci"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert {name: score["value"] for name, score in result["metrics"].items()} == {"form": 50, "rhyme": 100}


def test_a_process_of_its_own_writes_the_same_poem_for_a_seed(
    generate: Generate, models: Path, condgen_env: dict[str, str]
) -> None:
    options = ["--seed", "7", "--form", "7x8"]
    command = [sys.executable, "-m", "condgen_cli", "generate", "-m", str(models / "poem"), *options]
    done = subprocess.run(command, env=condgen_env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == generate("poem", *options)
    assert form_of(done.stdout.replace("\n", "")) is not None
    assert len(done.stdout.splitlines()) == 4


def test_plugin() -> None:
    check_plugin(condgen_generate)


def test_help_imports_nothing_heavy(condgen_env: dict[str, str]) -> None:
    code = (
        "import sys; from condgen_cli.cli.app import run; assert run(['generate', '--help']) == 0;"
        "heavy = {'torch', 'numpy', 'pydantic', 'opencc', 'pypinyin'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=condgen_env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
