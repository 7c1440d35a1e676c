"""The dialogue models: what they read, going on with a dialogue, attention in two levels, replies against blandness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from condgen_chat.blandness import FIRST
from condgen_chat.cache import Entries, make_cache_map
from condgen_chat.config import ChatConfig
from condgen_chat.model import VOCABULARY_FILE, ChatModel, build
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import UsageError
from condgen_cli.generation import AttentionMap, Axis
from condgen_cli.model import Item, Memory
from condgen_cli.nn import CACHE
from condgen_cli.running.decoding import Decoding, decode
from condgen_cli.running.runner import Bundle, Runner
from condgen_cli.testing import check_model

TURNS = ["hello there !", "hi , how are you ?", "I am fine , thanks .", "what do you like ?", "I like films .", "so do I !"]
VOCABULARY = SubwordVocabulary.train(TURNS * 3, 70)

MODELS: dict[str, dict[str, Any]] = {
    "hierarchical": {},
    "hierarchical, turns": {"attention": "turns", "history": 4},
    "hierarchical, words": {"attention": "words", "turns": 2},
    "hierarchical, additive words": {"attention": "words", "match": "additive", "cell": "lstm", "bidirectional": False},
    "hierarchical, cache": {"cache": 200},
    "hierarchical, words and a short cache": {"attention": "words", "turns": 2, "cache": 9},
    "last turn": {"encoder": "last-turn"},
    "last turn, words": {"encoder": "last-turn", "attention": "words"},
    "joined": {"encoder": "joined", "turns": 2, "cell": "lstm"},
    "joined, words": {"encoder": "joined", "attention": "words"},
}
HIERARCHICAL = [name for name in MODELS if name.startswith("hierarchical")]
DIALOGUES = [tuple(TURNS[:count]) for count in (1, 4, 2, 6)]


def make(**options: Any) -> ChatModel:
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "encoder_size": 5, "dialogue_size": 7, "hidden_size": 6, "match_size": 4, "dropout": 0.5}
    return ChatModel(ChatConfig(**{**sizes, **options}), VOCABULARY).eval()


def read(model: ChatModel, *dialogues: tuple[str, ...]) -> Memory:
    with torch.no_grad():
        return model.encode(model.collate([Item("item", turns) for turns in dialogues]))


def first_logits(model: ChatModel, memory: Memory) -> torch.Tensor:
    with torch.no_grad():
        step = model.step(torch.full((len(memory),), model.vocabulary.bos), model.start(memory), memory)
        return model.step(torch.full((len(memory),), 7), step.state, memory).logits


def runner(model: ChatModel, **decoding: Any) -> Runner:
    return Runner(model, Bundle("model", "chat", "chat", {}, decoding, {}), torch.device("cpu"))


@pytest.mark.parametrize("name", MODELS)
def test_it_keeps_the_contract_of_models(name: str) -> None:
    check_model(make(**MODELS[name]), [Item(str(number), turns) for number, turns in enumerate([*DIALOGUES, ("",)])])


@pytest.mark.parametrize("name", MODELS)
def test_a_reply_does_not_depend_on_the_rest_of_its_batch(name: str) -> None:
    model = make(**MODELS[name])
    together = decode(model, read(model, *DIALOGUES), Decoding(beam=3, max_length=6))
    for dialogue, (found, *_) in zip(DIALOGUES, together, strict=True):
        ((alone, *_),) = decode(model, read(model, dialogue), Decoding(beam=3, max_length=6))
        assert alone.ids == found.ids
        assert alone.score == pytest.approx(found.score, abs=1e-4)


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_going_on_with_a_dialogue_equals_reading_it_anew(name: str) -> None:
    model = make(**MODELS[name])
    memory = read(model, tuple(TURNS[:1]), tuple(TURNS[3:4]))
    for count, new in ((2, TURNS[1:2]), (4, TURNS[2:4])):
        batch = model.collate([Item("item", tuple(new))] * 2)
        with torch.no_grad():
            memory = model.extend(memory, batch)
        whole = [(*TURNS[:count],), (*TURNS[3:4], *TURNS[1:count])]
        anew = read(model, *whole)
        torch.testing.assert_close(first_logits(model, memory), first_logits(model, anew))
        assert [axes[0].labels for axes in memory.axes] == [axes[0].labels for axes in anew.axes]


def test_a_memory_stays_bounded_and_goes_back_further_than_what_it_keeps() -> None:
    model = make(attention="turns", history=3)
    memory, other = read(model, ("films",)), read(model, ("thanks",))
    for place in range(8):
        batch = model.collate([Item("item", (TURNS[place % 6],))])
        with torch.no_grad():
            memory, other = model.extend(memory, batch), model.extend(other, batch)
    assert memory.values.shape[1] == 3
    assert len(memory.axes[0][0]) == 3
    assert not torch.equal(memory.vector, other.vector)


def test_the_cache_holds_where_each_token_was_written() -> None:
    model = make(attention="words", cache=30)
    remembered = Entries(*(read(model, *DIALOGUES).auxiliary[name] for name in CACHE))
    for row, dialogue in enumerate(DIALOGUES):
        tokens, keys = [], []
        for place, turn in enumerate(dialogue):
            targets = [*model.vocabulary.encode(turn), model.vocabulary.eos]
            inputs = torch.tensor([[model.vocabulary.bos, *targets[:-1]]])
            with torch.no_grad():
                keys.append(model.decoder(read(model, dialogue[:place]), inputs).features)
            tokens += targets
        real = remembered.mask[row]
        assert remembered.tokens[row, real].tolist() == tokens[-30:]
        torch.testing.assert_close(remembered.keys[row, real], torch.cat(keys)[-30:])


def test_what_has_been_said_is_likelier_with_the_cache() -> None:
    model = make(cache=30)
    assert model.decoder.cache is not None
    with torch.no_grad():
        model.decoder.cache.gate.bias.fill_(3.0)
    memory = read(model, ("films films films",))
    film = model.vocabulary.encode("films")[0]
    forgotten = model.forget(memory)
    chances = [first_logits(model, one).softmax(1)[0, film] for one in (memory, forgotten)]
    assert chances[0] > 2 * chances[1]


@pytest.mark.parametrize("force", [None, "how are you ?"])
def test_what_the_cache_recalls_is_a_map(force: str | None) -> None:
    model = make(attention="words", cache=12)
    assert model.decoder.cache is not None
    with torch.no_grad():
        model.decoder.cache.gate.bias.fill_(3.0)
        model.decoder.cache.sharpness.fill_(-9.0)  # all alike
    item = Item("item", tuple(TURNS[:3]))
    generation = runner(model, max_length=5)(item, force=force)
    cache = generation.attention["cache"]
    end = model.vocabulary.token(model.vocabulary.eos)
    words = [word for turn in TURNS[:3] for word in (*(piece.text for piece in model.vocabulary.pieces(turn)), end)]
    assert list(cache.axes[1].labels) == words[-12:]
    np.testing.assert_allclose(cache.weights.sum(1), generation.extras["cache"], atol=1e-5)
    np.testing.assert_allclose(cache.weights[0], cache.weights[0, :1].repeat(12), rtol=1e-2)


def test_words_that_the_cache_hardly_recalls_are_left_out() -> None:
    steps = Axis("token", "tokens", ("a", "b"))
    shares = np.array([[0.9, 0.001, 0.02], [0.9, 0.002, 0.0]], np.float32)
    (cache,) = make_cache_map(shares, steps, ["x", "y"]).values()
    assert cache.axes[1].labels == ("y",)
    np.testing.assert_array_equal(cache.weights, shares[:, 2:])
    assert make_cache_map(shares[:, 1:2], steps, ["x"]) == {}


def test_a_cache_needs_two_levels() -> None:
    with pytest.raises(UsageError, match="a cache needs"):
        make(encoder="last-turn", cache=10)


def test_only_a_model_with_two_levels_goes_on() -> None:
    model = make(encoder="last-turn")
    assert not model.continues
    with pytest.raises(UsageError, match="no state to continue from"):
        model.extend(read(model, ("hi",)), model.collate([Item("item", ("hello",))]))


def test_the_two_levels_equal_a_loop_over_turns_and_words() -> None:
    model = make()
    memory = read(model, *DIALOGUES)
    rnn = model.dialogue_rnn
    assert rnn is not None
    for row, turns in enumerate(DIALOGUES):
        state = torch.zeros(1, 1, 7)
        with torch.no_grad():
            for turn in turns:
                tokens = torch.tensor([[*VOCABULARY.encode(turn), VOCABULARY.eos]])
                _, code = model.turn_rnn(model.decoder.embed(tokens))
                _, state = rnn(code.transpose(0, 1).reshape(1, 1, -1), state)
        torch.testing.assert_close(memory.vector[row], state[0, 0])


@pytest.mark.parametrize(
    ("options", "reads"),
    [
        ({}, 6),
        ({"history": 4}, 4),
        ({"encoder": "last-turn"}, 1),
        ({"encoder": "joined", "turns": 3}, 3),
        ({"encoder": "last-turn", "attention": "words"}, 1),
    ],
)
def test_how_far_back_a_model_looks(options: dict[str, Any], reads: int) -> None:
    model = make(**options)
    here = first_logits(model, read(model, tuple(TURNS)))
    for place in range(6):
        changed = [*TURNS]
        changed[place] = "films !"
        same = torch.equal(here, first_logits(model, read(model, tuple(changed))))
        assert same == (place < 6 - reads)


def test_several_rows_of_a_dialogue_are_what_they_would_be_alone() -> None:
    """Training reads a dialogue once for all its replies."""
    for options in MODELS.values():
        model = make(**{**options, "history": 6})
        ids = [[VOCABULARY.encode(turn) for turn in turns] for turns in DIALOGUES]
        with torch.no_grad():
            memory = model.encode(model.batch(ids, [range(1, len(turns) + 1) for turns in DIALOGUES]))
        alone = read(model, *(turns[:count] for turns in DIALOGUES for count in range(1, len(turns) + 1)))
        torch.testing.assert_close(first_logits(model, memory), first_logits(model, alone))


def test_a_word_gets_the_weight_of_its_turn_times_its_own() -> None:
    model = make(attention="words", turns=3)
    memory = read(model, tuple(TURNS[:3]))
    attention = model.decoder.attention
    assert attention is not None
    assert memory.keys is not None
    assert memory.mask is not None
    query = torch.randn(1, 6)
    with torch.no_grad():
        context, weights = attention(query, memory.values, memory.keys, memory.mask)
    length = memory.values.shape[1] // 3
    size = memory.keys.shape[2] // 2
    expected = torch.zeros(10)
    turn_scores = torch.stack([memory.keys[0, turn * length, size:] @ query[0] for turn in range(3)]).softmax(0)
    for turn in range(3):
        words = range(turn * length, turn * length + int(memory.mask[0, turn * length : (turn + 1) * length].sum()))
        scores = torch.stack([memory.keys[0, word, :size] @ query[0] for word in words]).softmax(0)
        expected = expected + turn_scores[turn] * (scores @ memory.values[0, words.start : words.stop])
        assert float(weights[0, words.start : words.stop].sum()) == pytest.approx(float(turn_scores[turn]), abs=1e-5)
    torch.testing.assert_close(context[0], expected)


def test_attention_is_shown_over_turns_and_words() -> None:
    words = runner(make(attention="words", turns=2), method="greedy", max_length=4)(Item("item", tuple(TURNS[:3])))
    assert words.attention["turns"].axes[1].labels == ("hi , how are you ?", "I am fine , thanks .")
    shown = words.attention["attention"]
    assert shown.axes[1].labels[-1] == VOCABULARY.token(VOCABULARY.eos)
    np.testing.assert_allclose(words.attention["turns"].weights.sum(1), 1, atol=1e-5)
    first = shown.axes[1].labels.index(VOCABULARY.token(VOCABULARY.eos)) + 1
    np.testing.assert_allclose(words.attention["turns"].weights[:, 0], shown.weights[:, :first].sum(1), atol=1e-5)
    turns: AttentionMap = runner(make(attention="turns"), method="greedy", max_length=4)(
        Item("item", (*TURNS[:2], "x" * 200))
    ).attention["attention"]
    assert turns.axes[1].labels[:2] == tuple(TURNS[:2])
    assert len(str(turns.axes[1].labels[2])) == 80
    assert not runner(make(), method="greedy", max_length=4)(Item("item", ("hi",))).attention


def test_the_scorer_against_blandness_takes_off_what_the_model_says_without_a_context() -> None:
    for options in MODELS.values():
        model = make(**options)
        memory = read(model, *DIALOGUES[:2])
        blank = model.forget(memory)
        scorer = model.scorers()["mmi"]
        own, state = model.start(blank, 2), scorer.start(memory, 2)
        for place in range(FIRST + 2):
            token = torch.randint(4, len(VOCABULARY), (4,), generator=torch.Generator().manual_seed(place))
            with torch.no_grad():
                step = model.step(token, own, blank)
                scores, state = scorer.score(token, state, memory)
            own = step.state
            expected = -step.logits.log_softmax(1) if place < FIRST else torch.zeros(4, len(VOCABULARY))
            torch.testing.assert_close(scores, expected)
        torch.testing.assert_close(first_logits(model, blank)[0], first_logits(model, blank)[1])


def test_long_and_odd_turns() -> None:
    model = make(max_tokens=20)
    talk = runner(model, method="greedy", max_length=4)
    long = talk(Item("item", ("hello " * 10_000,)))
    assert long.warnings == ("only the last 20 tokens of the turn are read",)
    assert long.output == talk(Item("item", ("hello " * 20,))).output
    odd = talk(Item("item", ("hello 🙂 Ж",)))
    assert odd.unread == ("🙂", "Ж")
    assert not odd.warnings
    assert talk(Item("item", "hello")).output == talk(Item("item", ("hello",))).output


def test_what_contradicts_itself(tmp_path: Path) -> None:
    VOCABULARY.save(tmp_path / VOCABULARY_FILE)
    files = {VOCABULARY_FILE: tmp_path / VOCABULARY_FILE}
    with pytest.raises(UsageError, match="hierarchical"):
        build({"encoder": "last-turn", "attention": "turns"}, files)
    with pytest.raises(UsageError, match="unknown key"):
        build({"attention": "none", "layers": 2}, files)
