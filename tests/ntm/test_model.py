"""The models by their contract, what is told of their outputs, and training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import condgen_ntm
from condgen_cli.data.store import open_dataset
from condgen_cli.errors import InputError, UsageError
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.render.tape import Tape
from condgen_cli.running.inspection import trace
from condgen_cli.running.runner import load
from condgen_cli.testing import check_model, check_plugin
from condgen_cli.training import Recipe, build_experiment, parse_recipe, parse_stages, train
from condgen_ntm.bit_tasks import TASKS
from condgen_ntm.data import as_item
from condgen_ntm.metrics import BitErrors
from condgen_ntm.model import NtmModel, build
from condgen_ntm.sequences import priority_sort


def model(task: str = "copy", **changes: Any) -> NtmModel:
    torch.manual_seed(0)
    return build({"task": task, "hidden_size": 8, "slots": 10, "slot_size": 5, **changes}, {}).eval()


def items(task: str, *sizes: int) -> list[Item]:
    (name,) = list(TASKS[task].sizes)[:1]
    extra = dict.fromkeys(list(TASKS[task].sizes)[1:], 2)
    rng = np.random.default_rng(0)
    return [as_item(TASKS[task], TASKS[task].draw(rng, 1, **{name: size, **extra}), 0, f"item-{size}") for size in sizes]


def test_the_plugin_keeps_the_contract() -> None:
    module: ModuleType = condgen_ntm
    check_plugin(module)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("changes", [{}, {"controller": "feedforward", "read_heads": 2}, {"kind": "lstm", "layers": 2}])
def test_a_batch_gives_what_its_sequences_give_alone(task: str, changes: dict[str, Any]) -> None:
    made = model(task, **changes)
    batch = items(task, 6, 8, 7)
    check_model(made, batch)
    with torch.inference_mode():
        together = made.predict(made.collate(batch))
        alone = [made.predict(made.collate([item]))[0] for item in batch]
    for one, other, item in zip(together, alone, batch, strict=True):
        assert one.output == other.output
        assert len(one.tokens) == len(item.references[0].split())
        np.testing.assert_allclose(one.details["probabilities"], other.details["probabilities"], atol=1e-5)
        assert one.attention.keys() == other.attention.keys()
        for name in one.attention:
            np.testing.assert_allclose(one.attention[name].weights, other.attention[name].weights, atol=1e-5)


def test_attention_runs_over_all_steps_and_slots_and_its_memory_is_told() -> None:
    made = model(read_heads=2)
    (item,) = items("copy", 3)
    with torch.inference_mode():
        (generation,) = made.predict(made.collate([item]))
    read, write = generation.attention["read"], generation.attention["write"]
    assert [axis.kind for axis in read.axes] == ["tokens", "heads", "slots"]
    assert [axis.kind for axis in write.axes] == ["tokens", "slots"]
    assert write.weights.shape == (7, 10)
    np.testing.assert_allclose(write.weights.sum(1), 1, atol=1e-5)
    vectors = item.text.split() if item.text else []
    assert list(write.steps.labels) == [*vectors, "|", *(f">{token}" for token in generation.tokens)]
    tape = made.condition(item)
    assert isinstance(tape, Tape)
    assert tape.contents.shape == (7, 10, 5)
    assert tape.add.shape == (7, 1, 5)


def test_n_grams_answer_while_they_read() -> None:
    made = model("n-grams")
    (item,) = items("n-grams", 8)
    with torch.inference_mode():
        (generation,) = made.predict(made.collate([item]))
    labels = generation.attention["read"].steps.labels
    assert labels[:4] == tuple((item.text or "").split()[:4])
    assert labels[4] == f"{(item.text or '').split()[4]}>{generation.tokens[0]}"


def test_priorities_stand_beside_their_vectors() -> None:
    made = model("priority-sort")
    vectors = np.array([[[1, 0] * 4, [0, 1] * 4, [1, 1] * 4]], np.uint8)
    item = as_item(TASKS["priority-sort"], priority_sort(vectors, np.array([[-1.0, 0.25, 1.0]])), 0, "x")
    with torch.inference_mode():
        (generation,) = made.predict(made.collate([item]))
    assert generation.attention["read"].steps.labels[:4] == ("10101010 0", "01010101 6", "11111111 9", "|")


def test_more_than_the_memory_holds_is_warned_of_and_another_task_refused() -> None:
    made = model()
    with torch.inference_mode():
        (generation,) = made.predict(made.collate(items("copy", 11)))
    assert generation.warnings == ("11 vectors to remember are more than the memory's 10 slots",)
    with pytest.raises(InputError, match="the model is for copy, not for n-grams"):
        made.collate(items("n-grams", 8))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"addressing": "simple"}, "initial_memory must be learned"),
        ({"shifts": 5}, "slots must be more than twice as many"),
        ({"task": "chess"}, "task: input should be 'copy'"),
        ({"colour": 1}, "colour: unknown key"),
    ],
)
def test_impossible_options(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        model(**changes)


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        *((task, {"initial_memory": "learned"}) for task in TASKS),
        ("copy", {}),
        ("copy", {"controller": "feedforward", "read_heads": 2}),
        ("copy", {"addressing": "simple", "initial_memory": "learned"}),
        ("copy", {"kind": "lstm"}),
    ],
)
def test_operations_are_counted(task: str, changes: dict[str, Any]) -> None:
    made = model(task, **changes)
    required = [parameter.requires_grad for parameter in made.parameters()]
    traced = trace(made)
    assert traced is not None
    assert traced.cost.encode > 0
    assert [parameter.requires_grad for parameter in made.parameters()] == required


def test_bit_errors() -> None:
    item = Item("a", None, ("10 01",), meta={"optimal_bits": 3.0})
    generation = Generation("11 01", details={"probabilities": [[0.75, 0.75], [0.5, 0.5]]})
    metric = BitErrors()
    statistics = metric.statistics([item, Item("b", None, ("10 01",))], [generation, generation])
    scores = metric.score(statistics.sum(0), 2)
    # 0.5 counts as a 0: one more wrong bit
    assert scores["bit_errors"] == 2
    assert scores["bits_per_sequence"] == pytest.approx(-np.log2(0.75) + 2 + 1 + 1)
    assert scores["optimal_bits_per_sequence"] == 3
    without = metric.score(statistics[1:].sum(0), 1)["optimal_bits_per_sequence"]
    assert np.isnan(without)


def recipe(*overrides: str) -> Recipe:
    text = """
        name = "tiny"
        task = "ntm"
        seed = 1
        [model]
        architecture = "ntm"
        hidden_size = 32
        slots = 8
        slot_size = 8
        [data]
        dataset = "ntm-copy"
        batches = 100
        sizes = [{ length = [1, 2] }]
        options = { lengths = "1-2", count = "20" }
        [training]
        epochs = 3
        batch_size = 16
        optimizer = "rmsprop"
        lr = 3e-3
        momentum = 0.9
        clip = 10.0
        metric = "bits_per_sequence"
        mode = "min"
    """
    return parse_recipe(text, "tiny.toml", overrides)


def test_training_learns_to_copy_and_its_run_can_be_loaded(tmp_path: Path) -> None:
    chosen = recipe()
    experiment = build_experiment(chosen, None, tmp_path)
    experiment.objective.eval()
    with torch.no_grad():
        before = experiment.evaluate()["bit_errors"]
    summary = train(chosen, experiment, tmp_path / "run", device="cpu")
    assert summary.dev["bit_errors"] < 0.6 * before
    runner = load(tmp_path / "run", "cpu")
    results = list(runner.stream(open_dataset("ntm-copy", "dev", None, {"lengths": "1-2", "count": "20"})))
    statistics = BitErrors().statistics(
        [result.item for result in results if result.item], [result.generations[0] for result in results]
    )
    assert statistics[:, 0].mean() == pytest.approx(summary.dev["bit_errors"])


def test_batches_are_a_function_of_seed_and_epoch(tmp_path: Path) -> None:
    experiment, again = (build_experiment(recipe("training.batch_size=2"), None, tmp_path) for _ in range(2))
    first, second, other = list(experiment.batches(0)), list(again.batches(0)), list(experiment.batches(1))
    assert len(first) == len(experiment.batches(0)) == 100
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, second, strict=True))
    assert any(a[0].shape != b[0].shape or not torch.equal(a[0], b[0]) for a, b in zip(first, other, strict=True))
    assert {len(inputs) for inputs, _ in first} == {3, 5}


def test_of_several_ranges_one_is_drawn_for_each_batch(tmp_path: Path) -> None:
    experiment = build_experiment(recipe("data.sizes=[{length=[1, 2]}, {length=[7, 7]}]"), None, tmp_path)
    lengths = Counter((len(inputs) - 1) // 2 for inputs, _ in experiment.batches(0))
    assert set(lengths) == {1, 2, 7}
    assert 30 < lengths[7] < 70  # of 100


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.dataset=ntm-chess", "data.dataset: 'ntm-chess' has no random sequences"),
        ("data.sizes=[{repeats=[1, 2]}]", "data.sizes.repeats: can't be"),
        ("data.sizes=[{length=[3, 2]}]", "data.sizes.length: can't be"),
        ("objective.smoothing=1", "objective.smoothing: unknown key"),
    ],
)
def test_recipes_that_make_no_sense(override: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        build_experiment(recipe(override), None, tmp_path)


@pytest.mark.parametrize("name", [f"{task}{suffix}" for task in TASKS for suffix in ("", "-lstm")])
def test_the_recipes_that_come_with_it_can_be_read(name: str) -> None:
    file = Path(condgen_ntm.__file__).parent / "recipes" / f"{name}.toml"
    for stage in parse_stages(file.read_text(), file.name).stages:
        read = stage.recipe
        made = build({**read.model.options, "task": read.data.dataset.removeprefix("ntm-")}, {})
        assert made.task.name == name.removesuffix("-lstm")
