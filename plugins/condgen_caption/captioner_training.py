"""What training models of photos and of clips has in common: a pretrained encoder, which has a file of its own."""

from __future__ import annotations

from collections.abc import Mapping

from condgen_caption.model import VOCABULARY_FILE, Captioner
from condgen_cli.errors import UsageError
from condgen_cli.training import Experiment
from condgen_cli.training.export import SavedVocabulary

__all__ = ["CaptionerExperiment"]


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
        """The encoder's weights have their own file, which models share."""
        return {"encoder.safetensors": "encoder."}
