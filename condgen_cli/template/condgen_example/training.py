"""Training of the model: its data, a batch, the loss. Epochs, scores and files are handled by the core."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from condgen_cli.training import Experiment, Objective, check
from condgen_cli.training.batches import teacher_forcing
from condgen_example.model import Speller, SpellerConfig


class CrossEntropy(Objective):
    """Cross-entropy of each letter, in nats."""

    def __init__(self, model: Speller) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Any]]:
        words, inputs, targets, lengths = batch
        logits = self.model(self.model.encode(words), inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=self.model.vocabulary.pad)
        return loss, {"tokens": int(lengths.sum())}


class SpellerExperiment(Experiment):
    """Trains on batches of words of similar length."""

    unit = "words"

    def prepare(self) -> None:
        self.words, self.dev = self.read("train"), self.read("dev")
        self.sizes = np.array([len(item.condition) for item in self.words])
        self.model = Speller(check(SpellerConfig, self.recipe.model.options, "model"))
        self.initial.load_into(self.model)
        self.objective = CrossEntropy(self.model)

    def batch(self, part: Any, rng: np.random.Generator) -> tuple[Tensor, ...]:
        items, letters = [self.words[index] for index in part], self.model.vocabulary
        outputs = [letters.encode(item.references[0]) for item in items]
        return (self.model.collate(items), *teacher_forcing(outputs, letters.bos, letters.eos, letters.pad))
