from __future__ import annotations

import json
from pathlib import Path

import pytest

from condgen_cli.cli.app import run
from condgen_cli.registry.plugins import manager

pytestmark = pytest.mark.usefixtures("elsewhere")

RECIPE = """
name = "small"
task = "{task}"
[model]
architecture = "{architecture}"
[data]
dataset = "none"
[training]
metric = "loss"
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def name() -> str:
    """A recipe of a plugin."""
    return min(manager().recipes)


def test_recipes_are_listed_shown_and_copied(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "ls", "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["recipes"]
    assert {recipe["name"] for recipe in listed} == set(manager().recipes)
    assert run(["recipe", "show", name]) == 0
    shown = capsys.readouterr().out
    assert run(["recipe", "copy", name, "mine.toml"]) == 0
    assert capsys.readouterr().out == "mine.toml\n"
    assert (tmp_path / "mine.toml").read_text().rstrip() == shown.rstrip()

    assert run(["recipe", "copy", name, "mine.toml"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_every_recipe_of_a_plugin_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    for name, spec in manager().recipes.items():
        assert run(["recipe", "show", name, "--format", "json"]) == 0, capsys.readouterr().err
        resolved = json.loads(capsys.readouterr().out)
        assert resolved["task"] == spec.task
        assert {stage["model"]["architecture"] for stage in resolved.get("stages", [resolved])} <= manager().models.keys()


def test_a_copy_with_overrides_shows_what_applies(capsys: pytest.CaptureFixture[str]) -> None:
    Path("small.toml").write_text(RECIPE.format(task="a", architecture="b"))
    assert run(["recipe", "show", "small.toml", "training.epochs=7"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["epochs"] == 7


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing-like-it"], 3, "no recipe named 'nothing-like-it'"),
        (["missing.toml"], 3, "no recipe missing.toml"),
        (["small.toml", "epochs"], 2, "'epochs' is not of the form key.path=value"),
        (["small.toml", "training.epochs=none"], 2, "training.epochs: input should be a valid integer"),
        (["small.toml"], 3, "no architecture named 'unheard-of'"),
        (["small.toml", "model.architecture=caption"], 2, "architecture caption is for the task caption"),
        (["small.toml", "--resume"], 3, "no run to resume in runs/small"),
        (["small.toml", "-o", "small.toml"], 2, "small.toml is not a directory"),
    ],
)
def test_faults(arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("small.toml").write_text(RECIPE.format(task="none", architecture="unheard-of"))
    assert run(["train", *arguments]) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert not Path("runs").exists()


SENTENCES = """
name = "pairs"
task = "translate"
[model]
architecture = "translate"
embedding_size = 8
hidden_size = 8
match_size = 8
[data]
dataset = "parallel"
options = { source = "{split}.de", target = "{split}.en" }
vocabulary_size = 40
[training]
epochs = 1
batch_size = 8
metric = "bleu"
"""


def test_what_fails_before_the_first_step_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    Path("pairs.toml").write_text(SENTENCES.replace("batch_size = 8", "batch_size = 64\nwarmup = 200"))
    Path("data").mkdir()
    for split in ("train", "dev"):
        Path(f"data/{split}.de").write_text("eins zwei\nzwei drei\n" * 4)
        Path(f"data/{split}.en").write_text("one two\ntwo three\n" * 4)
    command = ["train", "pairs.toml", "--data-dir", "data", "--device", "cpu"]
    faults = [
        (["training.metric=wer"], 2, "no dev metric named 'wer'"),
        (["model.match=os:system"], 2, "'os:system' is code that no plugin registers"),
        (["training.lr_multipliers.encoder=0"], 2, "no parameter starts with 'encoder'"),
        (["init=runs/none"], 3, "runs/none is not the folder of a training run"),
        (["--set", "source=none.de"], 2, "none.de"),
        (["--set", "sourse=x"], 2, "data set parallel has no option 'sourse'"),
        (["--set", "x"], 2, "--set 'x' is not KEY=VALUE"),
        (["-o", "data"], 2, "data is an input"),
        (["training.lr=1e20", "training.warmup=0"], 1, "the training has diverged"),
    ]
    for arguments, code, message in faults:
        assert run([*command, *arguments]) == code, arguments
        printed = capsys.readouterr()
        assert message in printed.err
        assert "unexpected" not in printed.err
        assert not list(Path().glob("runs/*"))
    assert run(command) == 0
    err = capsys.readouterr().err
    assert "training on 8 pairs: 1 batch of at most 64 an epoch, 1 step in all" in err
    assert "warm-up of 200 steps is more than half" in err
    Path("data/dev.de").write_text("")
    Path("data/dev.en").write_text("")
    assert run([*command, "-o", "other"]) == 2
    assert "the split dev of parallel has no items" in capsys.readouterr().err


def test_a_run_that_goes_on_remembers_where_its_data_lie(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("pairs.toml").write_text(SENTENCES)
    Path("data").mkdir()
    for split in ("train", "dev"):
        Path(f"data/{split}.de").write_text("eins zwei\nzwei drei\n" * 4)
        Path(f"data/{split}.en").write_text("one two\ntwo three\n" * 4)
    assert run(["train", "pairs.toml", "--data-dir", "data"]) == 0, capsys.readouterr().err
    assert run(["train", "runs/pairs", "--resume", "training.epochs=2"]) == 0, capsys.readouterr().err
    assert "after epoch 2" in capsys.readouterr().out

    Path("data").rename("moved")
    assert run(["train", "runs/pairs", "--resume", "training.epochs=3"]) == 3
    assert str(tmp_path / "data") in capsys.readouterr().err
    assert run(["train", "runs/pairs", "--resume", "training.epochs=3", "--data-dir", "moved"]) == 0
    assert run(["train", "runs/pairs", "--resume", "training.epochs=4"]) == 0


def test_a_recipe_is_checked_before_it_is_trained(capsys: pytest.CaptureFixture[str]) -> None:
    stages = '[[stages]]\nname = "first"\n[[stages]]\nname = "second"\n[stages.training]\nbatch_size = 4\nepochs = 3\n'
    Path("pairs.toml").write_text(SENTENCES + stages)
    Path("data").mkdir()
    for split, count in (("train", 8), ("dev", 3)):
        Path(f"data/{split}.de").write_text("eins zwei\n" * count)
        Path(f"data/{split}.en").write_text("one two\n" * count)
    command = ["recipe", "check", "pairs.toml", "--data-dir", "data"]
    assert run([*command, "--format", "json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["stages"]
    assert (first["name"], first["train"], first["dev"], first["batches"], first["steps"]) == ("first", 8, 3, 1, 1)
    assert (second["name"], second["batches"], second["steps"], second["exact"]) == ("second", 2, 6, True)
    assert first["memory"] == 16 * first["parameters"] > 0
    assert run(command) == 0
    assert "8 / 3" in capsys.readouterr().out
    for arguments, code, message in (
        (["--data-dir", "nowhere"], 3, "nowhere"),
        (["stages.2.model.dropuot=0.1"], 2, "stage second: recipe: model.dropuot: unknown key"),
        (["stages.2.model.hidden_size=9"], 2, "stage second: recipe: init: "),
        (["stages.2.training.metric=wer"], 2, "stage second: training.metric: no dev metric named 'wer'"),
        (["stages.2.training.lr_multipliers.encoder=0"], 2, "no parameter starts with 'encoder'"),
        (["stages.2.data.dataset=paralel"], 3, "no data set named 'paralel'"),
        (["model.hidden_size=1000000000000"], 2, "stage first: "),
    ):
        assert run([*command, *arguments]) == code, arguments
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["data", "pairs.toml"]
