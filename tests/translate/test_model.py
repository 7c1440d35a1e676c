"""The translation models: what the decoder sees of the source, sharing, unknown words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import UsageError
from condgen_cli.model import Item, Memory
from condgen_cli.running.decoding import Decoding, Hypothesis, decode
from condgen_cli.testing import check_model
from condgen_translate.model import SOURCE_FILE, TARGET_FILE, TranslateConfig, TranslateModel, build

GERMAN = ["ein Hund läuft .", "zwei Hunde laufen .", "ein Mann schläft .", "zwei Männer schlafen ."] * 2
ENGLISH = ["a dog runs .", "two dogs run .", "a man sleeps .", "two men sleep ."] * 2
SOURCE, TARGET = SubwordVocabulary.train(GERMAN, 60), SubwordVocabulary.train(ENGLISH, 50)
JOINT = SubwordVocabulary.train([*GERMAN, *ENGLISH], 80)

KINDS: dict[str, dict[str, Any]] = {
    "fixed": {"kind": "fixed"},
    "context": {"kind": "context", "cell": "gru"},
    "attention": {},
    "attention after the step": {"attend": "after", "match": "bilinear", "encoder_layers": 2},
    "input feeding": {"attend": "after", "input_feeding": True, "cell": "gru", "query_hidden": 5},
    "one direction": {"bidirectional": False, "match": "cosine"},
    "shared, fixed": {"kind": "fixed", "share_rnn": True, "bidirectional": False, "share_embeddings": True},
    "shared, context": {"kind": "context", "share_rnn": True, "bidirectional": False, "cell": "gru"},
    "shared, attention": {"share_rnn": True, "bidirectional": False, "share_embeddings": True},
}


def make(**options: Any) -> TranslateModel:
    torch.manual_seed(0)
    config = TranslateConfig(**{"embedding_size": 8, "hidden_size": 6, "match_size": 5, "dropout": 0.5, **options})
    return TranslateModel(config, *((JOINT, JOINT) if config.share_embeddings else (SOURCE, TARGET))).eval()


def read(model: TranslateModel, *sentences: str) -> Memory:
    with torch.no_grad():
        return model.encode(model.collate([Item(text, text) for text in sentences]))


@pytest.mark.parametrize("kind", ["fixed", "attention after the step"])
def test_follows_the_contract(kind: str) -> None:
    check_model(make(**KINDS[kind]), [Item(text, text, (ENGLISH[0],)) for text in (GERMAN[0], "zwei  Hunde schlafen .", "ein")])


@pytest.mark.parametrize("kind", KINDS)
def test_the_forward_pass_equals_repeated_steps(kind: str) -> None:
    model = make(**KINDS[kind])
    memory = read(model, "ein Hund läuft .", "zwei Männer")
    inputs = torch.randint(4, len(model.vocabulary), (2, 5))
    with torch.no_grad():
        logits = model(memory, inputs)
        state = model.start(memory)
        for position in range(5):
            step = model.step(inputs[:, position], state, memory)
            state = step.state
            torch.testing.assert_close(logits[:, position], step.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_translation_does_not_depend_on_the_rest_of_its_batch(kind: str) -> None:
    model = make(**KINDS[kind])
    sentences = ["zwei Hunde laufen . ein Mann schläft .", "ein Hund", ""]
    together = decode(model, read(model, *sentences), Decoding(beam=3, max_length=6))
    for sentence, (found, *_) in zip(sentences, together, strict=True):
        ((alone, *_),) = decode(model, read(model, sentence), Decoding(beam=3, max_length=6))
        assert alone.ids == found.ids
        assert alone.score == pytest.approx(found.score, abs=1e-4)


def test_what_the_decoder_sees_of_the_source() -> None:
    """With one state, another memory changes the next step where it is read at every step, and only there."""
    changed = {}
    for kind in ("fixed", "context", "attention"):
        model = make(kind=kind)
        here, there = read(model, "ein Hund läuft ."), read(model, "zwei Männer schlafen .")
        state, token = model.start(here), torch.tensor([5])
        with torch.no_grad():
            changed[kind] = not torch.equal(model.step(token, state, here).logits, model.step(token, state, there).logits)
    assert changed == {"fixed": False, "context": True, "attention": True}


def test_attention_lies_on_the_source_tokens_and_nowhere_else() -> None:
    model = make()
    memory = read(model, "ein Hund läuft .", "zwei")
    assert memory.mask is not None
    with torch.no_grad():
        weights = model.step(torch.tensor([1, 1]), model.start(memory), memory).attention["attention"]
    for row, axes in enumerate(memory.axes):
        (axis,) = axes
        assert axis.labels[-1] == "<eos>"
        assert "".join(axis.labels[:-1]).replace("▁", "") == ("einHundläuft.", "zwei")[row]
        assert int(memory.mask[row].sum()) == len(axis)
        assert float(weights[row, : len(axis)].sum()) == pytest.approx(1.0)
        assert not weights[row, len(axis) :].any()


@pytest.mark.parametrize("kind", ["fixed", "context", "attention"])
def test_a_shared_layer_is_one_set_of_parameters(kind: str) -> None:
    options: dict[str, Any] = {"kind": kind, "bidirectional": False}
    shared, separate = make(share_rnn=True, **options), make(**options)
    count = {model: sum(parameter.numel() for parameter in model.parameters()) for model in (shared, separate)}
    assert separate.encoder is not None
    assert count[separate] - count[shared] == sum(parameter.numel() for parameter in separate.encoder.parameters())
    shared.encode(shared.collate([Item("1", "ein Hund")])).values.sum().backward()
    assert shared.decoder.rnn.weight_hh_l0.grad is not None


def test_impossible_sharing_is_refused() -> None:
    with pytest.raises(UsageError, match="one vocabulary"):
        TranslateModel(TranslateConfig(share_embeddings=True), SOURCE, TARGET)
    with pytest.raises(UsageError, match="one direction"):
        build({"share_rnn": True}, {})


def test_a_model_is_built_from_its_files(tmp_path: Path) -> None:
    SOURCE.save(tmp_path / SOURCE_FILE)
    TARGET.save(tmp_path / TARGET_FILE)
    files = {name: tmp_path / name for name in (SOURCE_FILE, TARGET_FILE)}
    model = build({"hidden_size": 6, "embedding_size": 8}, files)
    assert model.source.encode("ein Hund") == SOURCE.encode("ein Hund")
    assert model.vocabulary.tokens == TARGET.tokens


def written(model: TranslateModel, ids: list[int], weights: list[list[float]], source: str) -> str:
    attention = {"attention": np.array(weights, np.float32)}
    return model.write(Hypothesis(ids, np.zeros(len(ids), np.float32), 0.0, attention), Item("1", source))


def test_unknown_words_are_copied_from_the_unknown_word_attended_to() -> None:
    model = make()
    source = "ein Ж und Ω"
    places = [piece.text.strip("▁") for piece in SOURCE.pieces(source)]
    looks = np.full((3, len(places) + 1), 0.01)
    looks[1, places.index("Ω")] = 0.3
    looks[1, 0] = 0.6
    first, last = TARGET.encode("a"), TARGET.encode("dog")
    ids = [*first, TARGET.unk, *last]
    rows = [looks[0]] * len(first) + [looks[1]] + [looks[2]] * len(last)
    assert "Ω" in written(model, ids, [row.tolist() for row in rows], source)
    looks[1, places.index("Ж")] = 0.4
    rows[len(first)] = looks[1]
    assert "Ж" in written(model, ids, [row.tolist() for row in rows], source)


def test_what_the_vocabulary_lacks_is_unread() -> None:
    assert make().unread(Item("1", "ein Ж und ein Hund Ω .")) == ("Ж", "Ω")
    assert make().unread(Item("1", "ein Hund läuft .")) == ()
