"""Match functions against figures worked out by hand and against loops."""

from __future__ import annotations

import contextvars
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from condgen_cli import settings
from condgen_cli.errors import NotFoundError, PluginError, UsageError
from condgen_cli.nn import (
    AdditiveMatch,
    Attention,
    BilinearMatch,
    CosineMatch,
    DotMatch,
    LocationAttention,
    MatchFunction,
    ScaledDotMatch,
    match_function,
)

QUERY = torch.tensor([[[1.0, 2.0]]])
VALUES = torch.tensor([[[3.0, 4.0], [0.0, 1.0], [-2.0, 1.0]]])


def scores(match: MatchFunction) -> list[float]:
    with torch.no_grad():
        return match(QUERY, match.keys(VALUES))[0, 0].tolist()


def test_dot() -> None:
    assert scores(DotMatch(2, 2, 0)) == [11.0, 2.0, 0.0]


def test_scaled_dot() -> None:
    assert scores(ScaledDotMatch(2, 2, 0)) == pytest.approx([11 / math.sqrt(2), math.sqrt(2), 0.0])


def test_cosine() -> None:
    match = CosineMatch(2, 2, 0)
    with torch.no_grad():
        match.log_sharpness.fill_(math.log(3.0))
    assert scores(match) == pytest.approx([3 * 11 / (5 * math.sqrt(5)), 3 * 2 / math.sqrt(5), 0.0], abs=1e-6)


def test_bilinear() -> None:
    match = BilinearMatch(2, 2, 0)
    with torch.no_grad():
        match.project.weight.copy_(torch.tensor([[1.0, 0.0], [2.0, 1.0]]))
    # Wz with W transposed as hᵀWz has it: z = (1, 2) meets (h1, 2·h1 + h2)
    assert scores(match) == [3.0 + 2 * 10.0, 2 * 1.0, -2.0 + 2 * -3.0]


def test_additive() -> None:
    match = AdditiveMatch(2, 2, 2)
    with torch.no_grad():
        match.project_query.weight.copy_(torch.tensor([[0.5, 0.0], [0.0, 0.25]]))
        match.project_value.weight.copy_(torch.tensor([[0.1, 0.0], [0.0, 0.2]]))
        match.project_value.bias.copy_(torch.tensor([0.0, -0.5]))
        match.weigh.weight.copy_(torch.tensor([[1.0, -2.0]]))
    expected = [math.tanh(0.5 + 0.1 * a) - 2 * math.tanh(0.2 * b) for a, b in VALUES[0].tolist()]
    assert scores(match) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", [DotMatch, ScaledDotMatch, CosineMatch, BilinearMatch, AdditiveMatch])
@pytest.mark.parametrize("hidden", [0, 6])
def test_attention_reads_grouped_masked_rows_as_a_loop_does(kind: type[MatchFunction], hidden: int) -> None:
    torch.manual_seed(0)
    batch, per_item, positions, size = 3, 2, 5, 6
    attention = Attention(kind(size, size, 4), size, hidden)
    values = torch.randn(batch, positions, size)
    query = torch.randn(batch * per_item, size)
    lengths = [5, 2, 3]
    mask = torch.arange(positions) < torch.tensor(lengths).unsqueeze(1)
    context, weights = attention(query, values, attention.keys(values), mask)
    for row in range(batch * per_item):
        item = row // per_item
        real = values[item : item + 1, : lengths[item]]
        alone, shares = attention(query[row : row + 1], real, attention.keys(real))
        torch.testing.assert_close(context[row], alone[0])
        torch.testing.assert_close(weights[row, : lengths[item]], shares[0])
        assert weights[row, lengths[item] :].eq(0).all()


def test_located_attention_is_chorowskis() -> None:
    torch.manual_seed(0)
    attention = LocationAttention(AdditiveMatch(3, 4, 5), 3, 0, key_size=5, filters=2, reach=1)
    values, query, previous = torch.randn(2, 6, 4), torch.randn(4, 3), torch.rand(4, 6)
    _, weights = attention(query, values, attention.keys(values), previous=previous)
    match, filters = attention.match, attention.filters.weight[:, 0]
    for row in range(4):
        scores = []
        for position in range(6):
            near = [previous[row, p] if 0 <= p < 6 else torch.tensor(0.0) for p in range(position - 1, position + 2)]
            found = attention.locate.weight @ (filters @ torch.stack(near))
            hidden = match.project_query(query[row]) + match.project_value(values[row // 2, position]) + found
            scores.append(match.weigh(hidden.tanh()))
        torch.testing.assert_close(weights[row], torch.cat(scores).softmax(0))


def test_a_row_without_real_positions_reads_zeros_and_has_finite_gradients() -> None:
    attention = Attention(AdditiveMatch(4, 4, 4), 4)
    values = torch.randn(1, 3, 4, requires_grad=True)
    context, weights = attention(torch.randn(1, 4), values, attention.keys(values), torch.zeros(1, 3, dtype=torch.bool))
    assert context.eq(0).all()
    assert weights.eq(0).all()
    context.sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in attention.parameters())


def test_dot_products_need_one_size() -> None:
    with pytest.raises(UsageError, match="3 and 4"):
        DotMatch(3, 4, 0)


@pytest.mark.parametrize("name", ["cosine", "dot", "scaled-dot", "bilinear", "additive"])
def test_by_name(name: str) -> None:
    match = match_function(name, 4, 4, 3)
    assert match(torch.randn(2, 1, 4), match.keys(torch.randn(2, 7, 4))).shape == (2, 1, 7)


class Own(DotMatch):
    pass


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "own_match", sys.modules[__name__])


def trusting(name: str) -> MatchFunction:
    """Builds the match function as under --trust-code."""

    def build() -> MatchFunction:
        settings.use(replace(settings.current(), trusts_code=True))
        return match_function(name, 4, 4, 0)

    return contextvars.copy_context().run(build)


@pytest.mark.usefixtures("own")
def test_a_users_own_by_reference_where_the_user_trusts_it() -> None:
    assert isinstance(trusting("own_match:Own"), Own)
    with pytest.raises(UsageError, match="is not a match function"):
        trusting("own_match:VALUES")
    with pytest.raises(UsageError, match="is not a match function"):
        trusting("os:system")
    with pytest.raises(PluginError, match="cannot import no_such_module"):
        trusting("no_such_module:Match")


@pytest.mark.parametrize("name", ["own_match:Own", "antigravity:webbrowser", "os:system", ":", "no_such_module:Match"])
@pytest.mark.usefixtures("own")
def test_code_that_a_file_names_is_not_imported(name: str) -> None:
    with pytest.raises(UsageError, match="not run") as caught:
        match_function(name, 4, 4, 0)
    assert "--trust-code" in (caught.value.hint or "")
    assert "antigravity" not in sys.modules


def test_code_that_a_run_names_is_not_imported(tmp_path: Path) -> None:
    from condgen_cli.running.runner import load
    from condgen_cli.zoo.sources import bundled_source

    zoo = bundled_source()
    entry = next(entry for entry in zoo.manifest.entries if entry.id == "nmt-de-en")
    for file in entry.files:
        (tmp_path / file.path).symlink_to(zoo.places(file)[0].resolve())
    architecture = {"name": entry.architecture.name, "config": {**entry.architecture.config, "match": "antigravity:webbrowser"}}
    files = [file.path for file in entry.files]
    description = {"task": entry.task, "architecture": architecture, "files": files}
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(UsageError, match="not run"):
        load(tmp_path, "cpu", backend="torch")
    assert "antigravity" not in sys.modules


def test_unknown_names() -> None:
    with pytest.raises(NotFoundError) as caught:
        match_function("bilinar", 4, 4, 0)
    assert "bilinear" in (caught.value.hint or "")
