"""Contract checks for the tests of plugin authors: of a plugin, a model, a match function.

Each check raises AssertionError with a one-line message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from condgen_cli.cli.doctor import plugin_problems
from condgen_cli.registry.entry_points import EntryPoint

if TYPE_CHECKING:
    from condgen_cli.model import Item

__all__ = ["check_match_function", "check_model", "check_plugin"]


def check_plugin(module: ModuleType) -> None:
    """Check that the plugin loads, its hooks return specs, all references can be imported and called, its files can be read,
    and its import is cheap."""
    problems = plugin_problems(EntryPoint("plugin", module.__name__, "plugin", ""))
    assert not problems, "; ".join(f"{one.message} ({one.location})" if one.location else one.message for one in problems)


def check_model(model: Any, items: Sequence[Item]) -> None:
    """Check that the model fulfils the contract of ``SequenceModel`` or ``Predictor``, on at least two items.

    For a ``SequenceModel``: shapes are right; attention is a distribution over real positions; the axes match the number of
    positions; all state is in the state (repeating a step gives equal results); rows of state and memory can be selected and
    repeated; ``forward`` equals repeated ``step``; ``targets`` are ids of the vocabulary. For a ``Predictor``: each item has a
    generation, the same alone as in a batch. For both: ``example`` is an item, and ``length`` an integer; if inputs have
    parts, a copy without hidden ones is the input, and the model reads one whose parts are all hidden.
    """
    import torch

    from condgen_cli.model import Predictor, SequenceModel

    assert len(items) >= 2, "give it at least two items"
    assert isinstance(model, SequenceModel | Predictor), (
        f"class {type(model).__name__} is derived neither from SequenceModel nor from Predictor, of condgen_cli.model"
    )
    model.eval()
    with torch.inference_mode():
        _check_descriptions(model, items)
        for item in items:
            _check_parts(model, item)
        if isinstance(model, Predictor):
            _check_predictions(model, items)
            return
        _check_texts(model, items)
        memory = model.encode(model.collate(items))
        _check_memory(memory, len(items))
        targets = torch.randint(len(model.vocabulary), (2 * len(items), 4), generator=torch.Generator().manual_seed(0))
        _check_steps(model, memory, targets)
        _check_selection(model, memory, targets[:, 0])


def check_match_function(build: Callable[[int, int, int], Any]) -> None:
    """Check that scores have shape (batch, queries, positions) and that gradients reach all parameters."""
    import torch

    match = build(6, 6, 5)
    values, query = torch.randn(2, 3, 6), torch.randn(2, 4, 6)
    scores = match(query, match.keys(values))
    assert scores.shape == (2, 4, 3), f"scores have shape {tuple(scores.shape)}, not (batch, queries, positions) = (2, 4, 3)"
    alone = match(query[:1], match.keys(values[:1]))
    assert torch.allclose(alone, scores[:1], atol=1e-5), "an input's scores depend on the rest of the batch"
    parameters = list(match.parameters())
    if parameters:
        scores.square().sum().backward()
        assert all(p.grad is not None for p in parameters), "some parameters get no gradient"


def _check_descriptions(model: Any, items: Sequence[Item]) -> None:
    from condgen_cli.model import Item

    example = model.example()
    assert example is None or isinstance(example, Item), f"example() gives a {type(example).__name__}, not an Item"
    for item in items:
        model.condition(item)
        length = 0 if model.length is None else model.length(item)
        assert isinstance(length, int), f"length gives a {type(length).__name__} for item {item.id}, not an int"


def _check_parts(model: Any, item: Item) -> None:
    import numpy as np
    import torch

    from condgen_cli.model import Predictor

    axes = model.parts(item)
    if not axes:
        return
    count = int(np.prod([len(axis) for axis in axes]))
    copies = model.occlude(item, np.stack([np.zeros(count, bool), np.ones(count, bool)]))
    assert len(copies) == 2, f"occlude gives {len(copies)} items for 2 rows"
    batch = model.collate(copies)
    if isinstance(model, Predictor):
        (own,) = model.predict(model.collate([item]))
        found = model.score(batch, [own.tokens] * 2)
        assert [len(row) for row in found] == [len(own.tokens)] * 2, "score needs a log-probability for each token"
        assert np.allclose(found[0], own.log_probs, atol=1e-4), "score differs from predict where nothing is hidden"
    else:
        own, found = model.encode(model.collate([item])).values[0], model.encode(batch).values[0]
        assert torch.allclose(found[: len(own)], own, atol=1e-4), "the memory differs where nothing is hidden"


def _check_predictions(model: Any, items: Sequence[Item]) -> None:
    from condgen_cli.generation import Generation

    together = list(model.predict(model.collate(items)))
    assert len(together) == len(items), f"{len(items)} items, but predict gives {len(together)} generations"
    for item, found in zip(items, together, strict=True):
        assert isinstance(found, Generation), f"predict gives a {type(found).__name__}, not a Generation"
        (alone,) = model.predict(model.collate([item]))
        assert alone.output == found.output, f"the output of item {item.id} depends on the rest of the batch"


def _check_texts(model: Any, items: Sequence[Item]) -> None:
    """The methods of a sequence model that need no forward pass."""
    assert model.vocabulary is not None, "it has no vocabulary: see condgen_cli.model.Vocabulary"
    for item in items:
        unread, doubt = model.unread(item), model.doubt(item)
        assert not isinstance(unread, str), "unread gives a str, not a tuple of them"
        assert isinstance(doubt, str), f"doubt gives a {type(doubt).__name__}, not a str"
        for reference in item.references:
            beyond = [index for index in model.targets(reference) if not 0 <= index < len(model.vocabulary)]
            assert not beyond, f"targets of {reference!r} have ids beyond the vocabulary: {beyond}"


def _check_memory(memory: Any, count: int) -> None:
    rows, positions, _ = memory.values.shape
    assert rows == count, f"{count} items, but values have {rows} rows"
    if memory.vector is not None:
        assert len(memory.vector) == rows, f"{rows} rows, but the vector has {len(memory.vector)}"
    if memory.mask is not None:
        assert memory.mask.shape == (rows, positions), "mask must be (batch, positions)"
    if memory.axes:
        for row, axes in enumerate(memory.axes):
            real = positions if memory.mask is None else int(memory.mask[row].sum())
            cells = 1
            for axis in axes:
                cells *= len(axis)
            assert cells == real, f"row {row}: axes have {cells} cells, the memory {real} real positions"


def _check_steps(model: Any, memory: Any, targets: Any) -> None:
    import torch

    rows, length = targets.shape
    state, logits = model.start(memory, 2), []
    for t in range(length):
        step = model.step(targets[:, t], state, memory)
        assert step.logits.shape == (rows, len(model.vocabulary)), "logits must be (rows, vocabulary)"
        again = model.step(targets[:, t], state, memory)
        assert torch.equal(step.logits, again.logits), "repeating a step changes its result: keep all state in the state"
        for name, weights in step.attention.items():
            _check_attention(name, weights, memory, rows)
        state = step.state
        logits.append(step.logits)
    parallel = model.forward(memory, targets)
    assert torch.allclose(parallel, torch.stack(logits, 1), atol=1e-4), "forward differs from repeated step"


def _check_attention(name: str, weights: Any, memory: Any, rows: int) -> None:
    import torch

    assert weights.shape[0] == rows, f"{name}: {weights.shape[0]} rows, not {rows}"
    assert weights.shape[-1] == memory.values.shape[1], f"{name}: {weights.shape[-1]} positions, not {memory.values.shape[1]}"
    total = weights.sum(-1)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-4), f"{name}: weights don't sum to 1"
    if memory.mask is not None:
        padding = ~memory.mask.repeat_interleave(rows // len(memory), 0)
        if weights.dim() == 3:
            padding = padding.unsqueeze(1).expand_as(weights)
        assert not weights[padding].any(), f"{name}: attends to padding"


def _check_selection(model: Any, memory: Any, token: Any) -> None:
    """Check that reversing the inputs reverses the outputs."""
    import torch

    from condgen_cli.model import repeat_state, select_state

    count = len(memory)
    back = torch.arange(count).flip(0)
    first = model.step(token[:count], model.start(memory), memory)
    chosen = model.step(token[:count][back], select_state(model.start(memory), back), memory.select(back))
    assert torch.allclose(chosen.logits, first.logits[back], atol=1e-4), "rows of memory or state can't be selected"
    twice = repeat_state(model.start(memory), 2)
    expected = model.step(token, model.start(memory, 2), memory)
    assert torch.allclose(model.step(token, twice, memory).logits, expected.logits, atol=1e-4), (
        "start(memory, 2) is not start(memory) with each row twice in a row"
    )
