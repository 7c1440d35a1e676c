"""The speech model: shapes, padding, and the contract of every sequence model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from condgen_cli.data.audio import Sound
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import UsageError
from condgen_cli.item import Item
from condgen_cli.running.decoding import Decoding, decode
from condgen_cli.testing import check_model
from condgen_transcribe.model import RATE, VOCABULARY_FILE, TranscribeConfig, TranscribeModel, build

SMALL = {"channels": 3, "listener_size": 6, "embedding_size": 5, "hidden_size": 7, "match_size": 4, "bins": 20}
KINDS: dict[str, dict[str, object]] = {
    "convolutions": {},
    "pyramid": {"convolutions": 0, "layers": 3, "pyramid": 2},
    "content only": {"location": False, "layers": 1},
    "dot products": {"match": "dot", "hidden_size": 12},
    "no ctc": {"ctc": False},
    "fine": {"convolutions": 3, "halvings": 1},
}


def make(**options: object) -> TranscribeModel:
    torch.manual_seed(0)
    vocabulary = SubwordVocabulary.train(["ABLE BAKER", "CHARLIE DOG"], 8)
    return TranscribeModel(TranscribeConfig.model_validate({**SMALL, **options}), vocabulary).eval()


def sounds(*lengths: int) -> list[Item]:
    generator = np.random.default_rng(0)
    return [
        Item(str(length), Sound(generator.normal(0, 0.1, length).astype(np.float32), RATE), meta={"start": 2.0})
        for length in lengths
    ]


@pytest.mark.parametrize("kind", ["convolutions", "content only"])
def test_follows_the_contract(kind: str) -> None:
    check_model(make(**KINDS[kind]), sounds(2000, 9000, 5001))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_batch_gives_what_its_utterances_give_alone(kind: str) -> None:
    model, items = make(**KINDS[kind]), sounds(9000, 16000, 3000)
    together = model.encode(model.collate(items))
    assert together.mask is not None
    for row, item in enumerate(items):
        alone = model.encode(model.collate([item]))
        positions = alone.values.shape[1]
        assert together.mask[row].tolist() == [place < positions for place in range(together.values.shape[1])]
        torch.testing.assert_close(together.values[row, :positions], alone.values[0])
        torch.testing.assert_close(together.vector[row], alone.vector[0])
        decoding = Decoding(beam=3, max_length=6, weights={"ctc": 0.5} if model.ctc else {})
        assert decode(model, together, decoding)[row][0].ids == decode(model, alone, decoding)[0][0].ids


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_teacher_forcing_equals_repeated_steps(kind: str) -> None:
    model = make(**KINDS[kind])
    memory = model.encode(model.collate(sounds(8000, 12000)))
    tokens = torch.randint(4, len(model.vocabulary), (2, 5))
    state, stepped = model.start(memory), []
    for position in range(5):
        step = model.step(tokens[:, position], state, memory)
        state = step.state
        stepped.append(step.logits)
    torch.testing.assert_close(model.forward(memory, tokens), torch.stack(stepped, 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("options", "frames"), [({}, 4), ({"convolutions": 1}, 2), ({"convolutions": 0, "pyramid": 2}, 4)])
def test_positions_are_labelled_with_seconds(options: dict[str, object], frames: int) -> None:
    model = make(**options)
    memory = model.encode(model.collate(sounds(16000)))
    (axis,) = memory.axes[0]
    assert axis.kind == "time"
    assert len(axis) == memory.values.shape[1] == -(-98 // frames)
    assert axis.labels[:2] == pytest.approx((2.0, 2.0 + frames * 0.01))


def test_sound_too_short_for_a_frame_is_still_an_utterance() -> None:
    model = make()
    memory = model.encode(model.collate(sounds(100)))
    assert memory.values.shape[1] == 1
    assert memory.values.isfinite().all()


def test_ctc_log_probabilities_are_certain_blanks_where_padded() -> None:
    model = make()
    heard = model.encode(model.collate(sounds(16000, 4000))).auxiliary["ctc"]
    torch.testing.assert_close(heard.exp().sum(-1), torch.ones(heard.shape[:2]))
    assert heard[1, -1].argmax() == 0
    assert heard[1, -1, 0] == 0


def test_it_is_built_from_its_files(tmp_path: Path) -> None:
    model = make()
    model.vocabulary.save(tmp_path / VOCABULARY_FILE)
    files = {VOCABULARY_FILE: tmp_path / VOCABULARY_FILE}
    again = build(model.config.model_dump(), files)
    again.load_state_dict(model.state_dict())
    with pytest.raises(UsageError, match="speech model: layer: unknown key"):
        build({"layer": 3}, files)
