"""Training the memory networks: questions as tensors, the objective, and whole runs on stories with one fact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from condgen_cli.running.runner import load
from condgen_cli.training import build_experiment, parse_recipe, train
from condgen_qa.data import stories
from condgen_qa.objective import Objective
from condgen_qa.training import QaExperiment

PLACES = ("garden", "kitchen", "office", "hallway")
PEOPLE = ("Mary", "John", "Daniel", "Sandra")

RECIPE = """
name = "toy"
task = "qa"
seed = 3

[model]
architecture = "qa"
embedding_size = 12
hops = 1
memory_size = 6
restarts = 3

[data]
dataset = "stories"

[training]
epochs = 16
batch_size = 20
lr = 0.04
schedule = "linear"
evaluate_every = 40
metric = "loss"
mode = "min"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where is somebody who went to one place; another sentence may speak of somebody else."""
    root = tmp_path_factory.mktemp("stories")
    rng = np.random.default_rng(0)
    for split, count in (("train", 240), ("dev", 40), ("test", 40)):
        lines = []
        for _ in range(count):
            people = rng.choice(PEOPLE, 3, replace=False)
            places = rng.choice(PLACES, 3)
            lines += [f"{n} {who} went to the {where}.\n" for n, (who, where) in enumerate(zip(people, places, strict=True), 1)]
            asked = int(rng.integers(3))
            lines.append(f"4 Where is {people[asked]}?\t{places[asked]}\t{asked + 1}\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root


def experiment(folder: Path, *overrides: str) -> QaExperiment:
    built = build_experiment(parse_recipe(RECIPE, "toy.toml", overrides), folder, folder / "run")
    assert isinstance(built, QaExperiment)
    return built


def test_batches_are_the_questions_as_the_model_collates_them(folder: Path) -> None:
    own = experiment(folder)
    rows = np.array([5, 17, 40])
    batch = own.train.batch(rows)
    items = list(stories(folder, "train"))
    chosen = [items[row] for row in rows]
    expected = own.model.collate(chosen).stories
    torch.testing.assert_close(own.model(batch.stories).logits, own.model(expected).logits)
    assert [own.model.vocabulary.answers[answer] for answer in batch.answers] == [item.references[0] for item in chosen]


def test_an_epoch_is_a_function_of_the_seed_and_its_number(folder: Path) -> None:
    own, same, other = experiment(folder), experiment(folder), experiment(folder, "seed=4")
    first, again = (torch.cat([b.stories.times.flatten() for b in one.batches(2)]) for one in (own, same))
    assert torch.equal(first, again)
    answers = [torch.cat([b.answers for b in one.batches(2)]) for one in (own, same, other)]
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])
    assert len(answers[0]) == 240


def test_time_noise_leaves_gaps_between_sentences_in_their_order(folder: Path) -> None:
    own = experiment(folder, "model.memory_size=50")
    own.train.stories = np.repeat(own.train.stories, 10, 1)[:, :30]
    own.train.lengths[:] = 30
    times = own.train.batch(np.arange(240), 0.1, np.random.default_rng(0)).stories.times.numpy()
    gaps = np.diff(times, axis=1)[times[:, 1:] < 29]  # the last one is the oldest that has a vector
    assert set(gaps) == {1, 2}
    assert np.mean(gaps == 2) == pytest.approx(0.1, abs=0.03)
    assert (own.train.batch(np.arange(9)).stories.times.numpy() == np.arange(30)).all()


def test_the_loss_is_the_sum_of_the_restarts_own(folder: Path) -> None:
    own = experiment(folder)
    batch = own.train.batch(np.arange(20))
    objective = Objective(own.model, linear_start=0.0, memory=0.5)
    loss, stats = objective(batch)
    each = torch.stack([F.cross_entropy(logits, batch.answers) for logits in own.model(batch.stories).logits]).detach()
    torch.testing.assert_close(loss.detach(), each.sum())
    assert stats["tokens"] == 20
    torch.testing.assert_close(objective.training_loss, each)
    assert objective.best == int(each.argmin())


def test_each_restarts_gradients_are_clipped_on_their_own(folder: Path) -> None:
    free, clipped = (experiment(folder, *more) for more in ((), ("objective.clip=0.01",)))
    for one in (free, clipped):
        one.objective(next(iter(one.batches(0))))[0].backward()
    for before, after in zip(free.model.parameters(), clipped.model.parameters(), strict=True):
        assert before.grad is not None
        assert after.grad is not None
        for long, short in zip(before.grad, after.grad, strict=True):
            assert long.norm() > 0.01
            torch.testing.assert_close(short, long * 0.01 / long.norm())


def test_the_linear_start_lasts_for_its_share_of_the_training(folder: Path) -> None:
    own = experiment(folder)
    batch = own.train.batch(np.arange(20))
    objective = Objective(own.model, linear_start=0.25, memory=0.5)
    softmax, scores = (
        torch.stack([F.cross_entropy(logits, batch.answers) for logits in own.model(batch.stories, linear).logits]).sum()
        for linear in (False, True)
    )
    for progress, expected in ((0.0, scores), (0.24, scores), (0.25, softmax), (1.0, softmax)):
        objective.set_progress(progress)
        torch.testing.assert_close(objective(batch)[0], expected)


def test_the_dev_split_is_answered_as_an_exported_model_answers_in_the_linear_start_too(folder: Path) -> None:
    own, linear = experiment(folder), experiment(folder, "objective.linear_start=0.5")
    linear.model.load_state_dict(own.model.state_dict())
    with torch.no_grad():
        assert linear.evaluate() == own.evaluate()


@pytest.mark.parametrize("overrides", [(), ("objective.linear_start=0.2", "model.encoding=rnn", "model.tying=layerwise")])
def test_one_fact_is_learnt_and_the_best_restart_exported(folder: Path, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    recipe = parse_recipe(RECIPE, "toy.toml", overrides)
    own = build_experiment(recipe, folder, tmp_path)
    assert isinstance(own, QaExperiment)
    summary = train(recipe, own, tmp_path, device="cpu")
    assert summary.dev["error"] <= 2.5
    runner = load(tmp_path, device="cpu")
    items = stories(folder, "test")
    results = list(runner.stream(items))
    right = [result.generations[0].output == item.references[0] for result, item in zip(results, items, strict=True)]
    assert np.mean(right) >= 0.95
    assert runner.model.config.restarts == 1


def test_a_resumed_run_goes_on_with_the_same_bits(folder: Path, tmp_path: Path) -> None:
    settings = ("objective.linear_start=0.2", "training.evaluate_every=12", "training.epochs=4")
    recipe = parse_recipe(RECIPE, "toy.toml", settings)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(recipe, build_experiment(recipe, folder, whole), whole, device="cpu")
    broken = build_experiment(recipe, folder, halves)
    first, broken.batches = broken.batches, lambda epoch: first(epoch) if epoch < 2 else 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        train(recipe, broken, halves, device="cpu")
    train(recipe, build_experiment(recipe, folder, halves), halves, resume=True, device="cpu")
    assert (whole / "model.safetensors").read_bytes() == (halves / "model.safetensors").read_bytes()
