"""Dropout by bytes."""

from __future__ import annotations

import torch

from condgen_cli.nn import Dropout


def test_it_drops_a_share_and_keeps_the_mean() -> None:
    inputs = torch.ones(1000, 99, requires_grad=True)
    torch.manual_seed(0)
    outputs = Dropout(0.25)(inputs)
    kept = outputs != 0
    assert abs(1 - kept.float().mean().item() - 0.25) < 0.005
    assert kept.any(0).all()
    torch.testing.assert_close(outputs[kept], torch.full((int(kept.sum()),), 1 / 0.75))
    (gradient,) = torch.autograd.grad(outputs.sum(), inputs)
    torch.testing.assert_close(gradient, outputs.detach())


def test_it_draws_anew_each_time_and_repeats_with_its_seed() -> None:
    dropout, inputs = Dropout(0.5), torch.ones(50, 7)
    torch.manual_seed(1)
    first, second = dropout(inputs), dropout(inputs)
    torch.manual_seed(1)
    assert torch.equal(dropout(inputs), first)
    assert not torch.equal(first, second)


def test_nothing_is_dropped_in_use_or_with_probability_zero() -> None:
    inputs = torch.randn(4, 5)
    assert torch.equal(Dropout(0.5).eval()(inputs), inputs)
    assert torch.equal(Dropout(0.0)(inputs), inputs)
