"""References under a model: their log-probabilities by teacher forcing, and what the model attends to when it is made to write
them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from condgen_cli.arrays import arrays_of
from condgen_cli.contract import Contract, Memory, SequenceContract
from condgen_cli.errors import UsageError
from condgen_cli.generation import Generation
from condgen_cli.running.attention_maps import make_generation, row_positions
from condgen_cli.running.decoding import force

__all__ = ["force_references", "reference_log_probs"]


def reference_log_probs(
    model: Contract, memory: Memory, references: Sequence[Sequence[str]]
) -> list[tuple[NDArray[np.float32], ...]]:
    """Log-probabilities of references, computed in one ``forward``.

    Args:
        model: a ``SequenceContract``.
        memory: the encoded inputs.
        references: references of each input.
    Returns:
        for each input and reference, log-probabilities in nats (T,) of the tokens of ``SequenceContract.targets``.
    Raises:
        UsageError: if the model is no ``SequenceContract``.
    """
    if not isinstance(model, SequenceContract):
        raise UsageError("the model gives no probabilities of texts")
    width = max(map(len, references), default=0)
    targets = [[model.targets(text) for text in texts] for texts in references]
    longest = max(map(len, chain.from_iterable(targets)), default=0)
    if not width or not longest:
        return [tuple(np.zeros(0, np.float32) for _ in texts) for texts in references]
    ids = np.full((len(memory), width, longest), model.vocabulary.pad)
    for row, texts in enumerate(targets):
        for column, sequence in enumerate(texts):
            ids[row, column, : len(sequence)] = sequence
    ops = arrays_of(memory.values)
    wanted = ops.integers(ids.reshape(-1, longest).tolist())
    with ops.inference():
        begin = ops.filled((len(wanted), 1), model.vocabulary.bos)
        logits = ops.to_float(model.forward(memory, ops.concatenate([begin, wanted[:, :-1]], 1)))
        chosen = ops.gather(logits, wanted[:, :, None])[:, :, 0] - ops.log_sum_exp(logits)
        rows = ops.to_numpy(chosen).reshape(len(memory), width, longest)
    return [
        tuple(rows[row, column, : len(sequence)] for column, sequence in enumerate(texts)) for row, texts in enumerate(targets)
    ]


def force_references(
    model: SequenceContract, memory: Memory, references: Sequence[Sequence[str]]
) -> list[tuple[Generation, ...]]:
    """Forced decoding of references: the attention of the model when it is made to write what people wrote.

    Args:
        model: the model.
        memory: the encoded inputs.
        references: references of each input.
    Returns:
        for each input and reference, a generation whose output is the reference; words that the model doesn't know are
        unknown tokens.
    """
    width = max(map(len, references), default=0)
    if not width:
        return [()] * len(references)
    # as many rows for each input: those with fewer references are filled up with empty outputs
    ids = [
        model.targets(text) or [model.vocabulary.eos] for texts in references for text in (*texts, *[""] * (width - len(texts)))
    ]
    forced = force(model, memory, ids)
    found = []
    for row, (texts, positions) in enumerate(zip(references, row_positions(memory), strict=True)):
        rows = zip(forced[row * width : (row + 1) * width], texts, strict=False)
        found.append(tuple(make_generation(one, text, model.vocabulary, positions, None) for one, text in rows))
    return found
