"""The cross-entropy that keeps no logits, against PyTorch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from condgen_cli.nn import linear_cross_entropy


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
