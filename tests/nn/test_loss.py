"""The cross-entropy that keeps no logits, against PyTorch's; and that of a sample, against the whole."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from condgen_cli.nn import CandidateSampler, linear_cross_entropy, sampled_cross_entropy


@pytest.mark.parametrize("rows", [1, 300])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_pytorchs_with_its_gradient(rows: int, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(rows)
    features, weight, bias = (torch.randn(*size, generator=generator) for size in ((rows, 6), (11, 6), (11,)))
    targets = torch.randint(11, (rows,), generator=generator)
    inputs = [part.requires_grad_() for part in (features, weight, bias)]
    expected = F.cross_entropy(F.linear(features, weight, bias), targets, label_smoothing=smoothing)
    found = linear_cross_entropy(features, weight, bias, targets, smoothing)
    torch.testing.assert_close(found, expected)
    # through a further factor, as a loss that is one of several has
    torch.testing.assert_close(torch.autograd.grad(3 * found, inputs), torch.autograd.grad(3 * expected, inputs))


def test_large_logits_do_not_overflow() -> None:
    features, weight = torch.tensor([[100.0]]), torch.tensor([[10.0], [-10.0]])
    assert linear_cross_entropy(features, weight, torch.zeros(2), torch.tensor([1])).item() == pytest.approx(2000)


def test_candidates_are_the_targets_and_some_others() -> None:
    counts = torch.tensor([6.0, 3.0, 1.0, 0.0, 0.0])
    targets = torch.tensor([1, 0, 1])
    candidates = CandidateSampler(counts, 2)(targets)
    tokens = candidates.tokens.tolist()
    assert tokens == sorted({0, 1, *tokens})
    assert 2 <= len(tokens) <= 4
    torch.testing.assert_close(candidates.tokens[candidates.places[targets]], targets)
    # missed by three targets, and then by two draws of five
    expected = torch.tensor([1 - (1 - share) ** 3 * 0.6 for share in (0.6, 0.3, 0.1, 0.0, 0.0)])
    torch.testing.assert_close(candidates.offsets.exp(), expected[candidates.tokens])


def test_with_all_tokens_drawn_the_sample_is_the_whole() -> None:
    features, weight, bias = torch.randn(20, 6), torch.randn(11, 6), torch.randn(11)
    targets = torch.randint(11, (20,))
    inputs = [part.requires_grad_() for part in (features, weight, bias)]
    candidates = CandidateSampler(torch.rand(11), 11)(targets)
    found, expected = sampled_cross_entropy(*inputs, targets, candidates), linear_cross_entropy(*inputs, targets)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs))


def test_sums_over_samples_are_right_on_average() -> None:
    generator = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(40, 6, generator=generator), torch.randn(40, generator=generator)
    feature = torch.randn(1, 6, generator=generator)
    counts = torch.rand(40, generator=generator) ** 4
    own, sampler = torch.tensor([7]), CandidateSampler(counts, 8)
    whole = (linear_cross_entropy(feature, weight, bias, own) + weight[7] @ feature[0] + bias[7]).exp()
    sums = []
    torch.manual_seed(2)
    for _ in range(4000):
        others = torch.multinomial(counts, 30, replacement=True)
        candidates = sampler(torch.cat([own, others]))
        loss = sampled_cross_entropy(feature, weight, bias, own, candidates)
        sums.append((loss + weight[7] @ feature[0] + bias[7]).exp())
    assert torch.stack(sums).mean().item() == pytest.approx(whole.item(), rel=0.02)
