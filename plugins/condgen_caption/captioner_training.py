"""What training models of photos and of clips has in common: a pretrained encoder, which has a file of its own."""

from __future__ import annotations

from collections.abc import Mapping

from condgen_caption.model import VOCABULARY_FILE, Captioner
from condgen_cli.errors import UsageError
from condgen_cli.training import Experiment
from condgen_cli.training.export import SavedVocabulary

__all__ = ["APART", "CaptionerExperiment"]

APART = ("classes.",)
"""Weights that the encoder's package has and only some models use."""


class CaptionerExperiment(Experiment):
    """Trains a model that captions with a pretrained encoder."""

    dev_batch_size = 50

    model: Captioner

    def check_initial(self) -> None:
        """Make sure that there are weights for the encoder.

        Raises:
            UsageError: if the recipe names no initial model.
        """
        if not self.initial:
            raise UsageError("recipe: init: missing; the encoder's weights come from it", "init = 'efficientnet-lite2'")

    def vocabularies(self) -> Mapping[str, SavedVocabulary]:
        return {VOCABULARY_FILE: self.model.vocabulary}

    def weight_files(self) -> Mapping[str, str]:
        """The weights of the encoder, and of its classifier, have files of their own, which models share."""
        classes = {} if self.model.classes is None else {"classes.safetensors": "classes."}
        return {"encoder.safetensors": "encoder.", **classes}
