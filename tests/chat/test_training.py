"""Training the dialogue models: objective, stretches, and a run on generated dialogues that only a memory can win."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from condgen_chat.training import ChatExperiment
from condgen_cli.data.store import open_dataset
from condgen_cli.metrics.evaluation import evaluate
from condgen_cli.metrics.suite import build_suite
from condgen_cli.registry.plugins import manager
from condgen_cli.running.runner import load
from condgen_cli.training import build_experiment, parse_recipe
from tests.chat.conftest import RECIPE


def experiment(folder: Path, *overrides: str) -> ChatExperiment:
    built = build_experiment(parse_recipe(RECIPE, "colours.toml", overrides), folder, folder / "run")
    assert isinstance(built, ChatExperiment)
    return built


@pytest.mark.parametrize("encoder", ["hierarchical", "last-turn", "joined"])
def test_the_loss_is_the_mean_over_the_tokens_of_all_replies(colours: Path, encoder: str) -> None:
    built = experiment(colours, f"model.encoder={encoder}", "data.window=4", "data.overlap=2", "model.attention=words")
    built.objective.eval()
    stretches = [stretch for turns in [("a b", "b", "a red car", "b", "a")] * 2 for stretch in built._stretches(turns)]
    assert [(len(stretch.turns), stretch.first) for stretch in stretches] == [(4, 1), (3, 2)] * 2
    with torch.no_grad():
        loss, stats = built.objective(built.batch(stretches))
    nats, tokens = 0.0, 0
    vocabulary = built.model.vocabulary
    for stretch in stretches:
        for place in range(stretch.first, len(stretch.turns)):
            with torch.no_grad():
                memory = built.model.encode(built.model.batch([stretch.turns[:place]], [[place]]))
                ids = [*stretch.turns[place], vocabulary.eos]
                logits = built.model(memory, torch.tensor([[vocabulary.bos, *ids[:-1]]]))
            nats += float(F.cross_entropy(logits[0], torch.tensor(ids), reduction="sum"))
            tokens += len(ids)
    assert stats["tokens"] == tokens
    assert float(loss) == pytest.approx(nats / tokens, abs=1e-4)


def test_each_turn_but_the_first_is_written_once(colours: Path) -> None:
    built = experiment(colours, "data.window=4", "data.overlap=1")
    for count in range(2, 15):
        turns = [f"{number} red" for number in range(count)]
        stretches = list(built._stretches(turns))
        written = [turn for stretch in stretches for turn in stretch.turns[stretch.first :]]
        assert written == [built.model.vocabulary.encode(turn) for turn in turns[1:]]
        assert all(stretch.first >= 1 and len(stretch.turns) <= 4 for stretch in stretches)


def test_an_epoch_is_a_function_of_its_number(colours: Path) -> None:
    built = experiment(colours)
    first, again, second = (list(built.batches(epoch)) for epoch in (0, 0, 1))
    assert len(first) == len(built.batches(0)) == 10
    assert all(torch.equal(a.dialogues.tokens, b.dialogues.tokens) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a.dialogues.tokens, b.dialogues.tokens) for a, b in zip(first, second, strict=True))


def test_replies_without_context_are_learnt_in_training_only(colours: Path) -> None:
    built = experiment(colours, "objective.context_dropout=0.5")
    batch = built.batch(built.stretches[:8])
    losses = []
    for training in (True, True, False, False):
        built.objective.train(training)
        losses.append(float(built.objective(batch)[0].detach()))
    assert losses[0] != losses[1]
    assert losses[2] == losses[3]


def test_candidates_stand_for_the_vocabulary_in_training_only(colours: Path) -> None:
    built = experiment(colours, "objective.candidates=2", "objective.context_dropout=0", "model.dropout=0")
    whole = experiment(colours, "objective.candidates=100000", "objective.context_dropout=0", "model.dropout=0")
    whole.model.load_state_dict(built.model.state_dict())
    batch = built.batch(built.stretches[:8])
    sampled, every = float(built.objective(batch)[0].detach()), float(whole.objective(batch)[0].detach())
    built.objective.eval()
    loss = float(built.objective(batch)[0].detach())
    assert every == pytest.approx(loss, abs=1e-5)
    assert sampled != pytest.approx(loss, abs=1e-5)
    assert sampled == pytest.approx(loss, abs=0.5)


def test_a_memory_pays_and_the_run_is_loaded_and_scored(colours: Path, trained: Callable[[str], Path]) -> None:
    perplexities = {}
    suite = build_suite(("perplexity", "distinct1"), manager().metrics)
    for encoder in ("hierarchical", "last-turn"):
        runner = load(trained(encoder))
        items = list(open_dataset("dialogues", "dev", colours, {}))
        done = evaluate(runner, items, suite)
        perplexities[encoder] = float(suite.score(done.statistics.sum(0), len(items))["perplexity"])
        built = experiment(colours, f"model.encoder={encoder}", "model.attention=words")
        built.model.load_state_dict(runner.model.state_dict())
        built.objective.eval()
        assert built.evaluate()["perplexity"] == pytest.approx(perplexities[encoder], rel=1e-3)
        asked = [item for item in items if item.condition[-1] == "which one"]
        right = [runner(item).output == item.references[0] for item in asked]
        assert (sum(right) > 0.6 * len(asked)) == (encoder == "hierarchical")
    assert perplexities["hierarchical"] < perplexities["last-turn"]
