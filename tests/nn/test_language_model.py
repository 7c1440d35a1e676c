"""The recurrent language model: whole texts, pieces of them with the state carried on, single steps as a judge."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from condgen_cli.model import Memory, select_state
from condgen_cli.nn import LanguageModel, LanguageModelScorer

WORDS = 11


def make(layers: int = 2) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(WORDS, 5, 6, layers, dropout=0.5).eval()


@torch.no_grad()
def test_the_state_carries_on() -> None:
    model, tokens = make(), torch.randint(WORDS, (3, 7))
    whole, final = model(tokens)
    first, state = model(tokens[:, :4])
    second, last = model(tokens[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(last, final)


@torch.no_grad()
def test_it_judges_step_by_step_as_it_reads_whole_texts() -> None:
    model, tokens = make(), torch.randint(WORDS, (4, 6))
    scorer, memory = LanguageModelScorer(model), Memory(torch.zeros(2, 1, 1))
    expected = model.logits(model(tokens)[0]).log_softmax(-1)
    state, order = scorer.start(memory, 2), torch.tensor([2, 0, 3, 1])
    for step in range(6):
        scores, state = scorer.score(tokens[:, step], state, memory)
        torch.testing.assert_close(scores, expected[:, step])
        # rows change places, as those of a beam do
        state, tokens, expected = select_state(state, order), tokens[order], expected[order]


def test_its_loss_is_the_cross_entropy_of_its_logits() -> None:
    model, tokens = make(1), torch.randint(WORDS, (2, 5))
    features = model(tokens)[0].flatten(0, 1)
    targets = torch.randint(WORDS, (10,))
    torch.testing.assert_close(model.cross_entropy(features, targets), F.cross_entropy(model.logits(features), targets))
    model.cross_entropy(features, targets).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
