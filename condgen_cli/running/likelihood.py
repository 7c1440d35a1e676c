"""References under a model: their log-probabilities by teacher forcing, and what the model attends to when it is made to write
them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from condgen_cli.errors import UsageError
from condgen_cli.generation import Generation
from condgen_cli.model import Memory, Model, SequenceModel
from condgen_cli.running.attention_maps import make_generation, row_positions
from condgen_cli.running.decoding import force

__all__ = ["force_references", "reference_log_probs"]


@torch.inference_mode()
def reference_log_probs(
    model: Model, memory: Memory, references: Sequence[Sequence[str]]
) -> list[tuple[NDArray[np.float32], ...]]:
    """Log-probabilities of references, computed in one ``forward``.

    Args:
        model: a ``SequenceModel``.
        memory: the encoded inputs.
        references: references of each input.
    Returns:
        for each input and reference, log-probabilities in nats (T,) of the tokens of ``SequenceModel.targets``.
    Raises:
        UsageError: if the model is no ``SequenceModel``.
    """
    if not isinstance(model, SequenceModel):
        raise UsageError("the model gives no probabilities of texts")
    vocabulary, device = model.vocabulary, memory.values.device
    width = max(map(len, references), default=0)
    targets = [[model.targets(text) for text in texts] for texts in references]
    longest = max(map(len, chain.from_iterable(targets)), default=0)
    if not width or not longest:
        return [tuple(np.zeros(0, np.float32) for _ in texts) for texts in references]
    ids = torch.full((len(memory), width, longest), vocabulary.pad)
    for row, texts in enumerate(targets):
        for column, sequence in enumerate(texts):
            ids[row, column, : len(sequence)] = torch.tensor(sequence)
    ids = ids.flatten(0, 1).to(device)
    begin = torch.full((len(ids), 1), vocabulary.bos, device=device)
    logits = model.forward(memory, torch.cat([begin, ids[:, :-1]], 1)).float()
    chosen = logits.gather(2, ids.unsqueeze(2)).squeeze(2) - logits.logsumexp(2)
    rows = chosen.view(len(memory), width, longest).cpu().numpy()
    return [
        tuple(rows[row, column, : len(sequence)] for column, sequence in enumerate(texts)) for row, texts in enumerate(targets)
    ]


def force_references(model: SequenceModel, memory: Memory, references: Sequence[Sequence[str]]) -> list[tuple[Generation, ...]]:
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
