"""Log-probabilities of references under a model, by teacher forcing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from condgen_cli.errors import UsageError
from condgen_cli.model import Memory, Model, SequenceModel

__all__ = ["reference_log_probs"]


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
