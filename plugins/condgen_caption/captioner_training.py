"""What training models of photos and of clips has in common: a pretrained encoder, which has a file of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from condgen_caption.model import VOCABULARY_FILE, Captioner
from condgen_cli.data.text import WordVocabulary
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

    def make_vocabulary(self, captions: Sequence[str], min_count: int) -> WordVocabulary:
        """The initial model's vocabulary, with the captions' words that occur ``min_count`` times added to its end."""
        known = self._initial_vocabulary()
        if known is None:
            return WordVocabulary.build(captions, min_count)
        frequent = WordVocabulary.build(captions, min_count, known.tokenizer)
        old = set(known.tokens)
        words = [*known.tokens[known.unk + 1 :], *(word for word in frequent.tokens if word not in old)]
        return WordVocabulary(words, known.tokenizer)

    def load_initial(self, optional: tuple[str, ...], drop: tuple[str, ...] = ()) -> None:
        """Load the initial weights into the model; words that the initial vocabulary lacks keep their random vectors.

        Args:
            optional: prefixes of weights that the initial model may lack.
            drop: prefixes of weights that the model has no use for.
        Raises:
            UsageError, IntegrityError: as ``InitialModel.load_into``.
        """
        own, known = self.model.state_dict(), self._initial_vocabulary()
        weights = {name: tensor for name, tensor in self.initial.weights().items() if not (drop and name.startswith(drop))}
        if known is not None:
            for name in ("decoder.embedding.weight", "decoder.bias"):
                rows = own[name].clone()
                if name in weights and weights[name].shape == rows[: len(known)].shape:  # else load_into reports the mismatch
                    rows[: len(known)] = weights[name]
                    weights[name] = rows
        self.initial.load_into(self.model, optional=optional, weights=weights)

    def _initial_vocabulary(self) -> WordVocabulary | None:
        files = self.initial.files
        return WordVocabulary.load(files[VOCABULARY_FILE]) if VOCABULARY_FILE in files else None

    def vocabularies(self) -> Mapping[str, SavedVocabulary]:
        return {VOCABULARY_FILE: self.model.vocabulary}

    def weight_files(self) -> Mapping[str, str]:
        """The encoder's weights have their own file, which models share."""
        return {"encoder.safetensors": "encoder."}
