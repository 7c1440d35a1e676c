"""Memory networks against slow ones that are written as the paper is, one question, one sentence, one hop at a time."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from condgen_cli.errors import InputError
from condgen_cli.item import Item
from condgen_cli.testing import check_model
from condgen_qa.config import QaConfig
from condgen_qa.model import QaModel
from condgen_qa.text import Question, tokens
from condgen_qa.vocabulary import StoryVocabulary

STORY = ("Mary went to the garden.", "John took the milk.", "Mary went to the garden.", "Sandra is here.")
WORDS = sorted({word for sentence in (*STORY, "where is mary john") for word in tokens(sentence)})
VOCABULARY = StoryVocabulary(WORDS, ["garden", "here", "milk", "garden,milk"])
ITEMS = [
    Item("a", Question(STORY, "Where is Mary?")),
    Item("b", Question(STORY[:1], "John?")),
    Item("c", Question(STORY[:3], "Is the milk here?")),
]


def model(**options: object) -> QaModel:
    torch.manual_seed(3)
    built = QaModel(QaConfig.model_validate({"embedding_size": 4, "memory_size": 5, **options}), VOCABULARY).eval()
    for parameter in built.parameters():  # larger than at the start of training, so that softmax is far from even
        torch.nn.init.normal_(parameter, std=0.8)
    return built


def encoded(net: QaModel, restart: int, text: str, which: int) -> Tensor:
    """Section 4.1."""
    size = net.config.embedding_size
    table = net.embeddings[restart, :, which]
    words = [table[index] for index in VOCABULARY.encode(tokens(text))]
    total = torch.zeros(size)
    if net.config.encoding == "rnn":
        for word in words:
            fresh = (word @ net.input[restart, which] + net.bias[restart, which, 0]).chunk(3)
            old = (total @ net.recurrent[restart, which]).chunk(3)
            reset, update = torch.sigmoid(fresh[0] + old[0]), torch.sigmoid(fresh[1] + old[1])
            total = (1 - update) * torch.tanh(fresh[2] + reset * old[2]) + update * total
        return total
    for j, word in enumerate(words, 1):
        place = j / len(words)
        for k in range(1, size + 1):
            weight = 2 * ((1 - place) - (k / size) * (1 - 2 * place)) if net.config.encoding == "position" else 1.0
            total[k - 1] += weight * word[k - 1]
    return total


def answered(net: QaModel, restart: int, question: Question) -> tuple[Tensor, list[Tensor]]:
    """Logits and each hop's weights, in the story's order (section 2)."""
    config = net.config
    sets = {"adjacent": lambda k: (k, k + 1), "layerwise": lambda k: (1, 2), "none": lambda k: (2 * k + 1, 2 * k + 2)}
    state, weights = encoded(net, restart, question.text, 0), []
    for hop in range(config.hops):
        given, taken = sets[config.tying](hop)
        scores, found = [], torch.zeros_like(state)
        vectors = []
        for place, sentence in enumerate(question.story):
            time = len(question.story) - 1 - place
            key, value = (
                encoded(net, restart, sentence, which)
                + (net.times[restart, time, which] if config.temporal else torch.zeros_like(state))
                for which in (given, taken)
            )
            scores.append(matched(net, restart, state, key))
            vectors.append(value)
        attention = torch.stack(scores).softmax(0)
        for weight, vector in zip(attention, vectors, strict=True):
            found = found + weight * vector
        state = (state @ net.between[restart] if config.tying == "layerwise" else state) + found
        if config.rectified:
            half = round(config.rectified * len(state))
            state = torch.cat([state[:half].clamp(min=0), state[half:]])
        weights.append(attention)
    if config.answer_hidden:
        state = (state @ net.hidden[restart] + net.hidden_bias[restart, 0]).clamp(min=0)
    if config.answer_hidden or config.tying != "adjacent":
        return state @ net.answer[restart], weights
    return torch.stack([state @ net.embeddings[restart, token, -1] for token in VOCABULARY.answer_ids]), weights


def matched(net: QaModel, restart: int, query: Tensor, key: Tensor) -> Tensor:
    if net.config.match == "dot":
        return query @ key
    if net.config.match == "bilinear":
        return query @ (net.match.match_project_weight[restart] @ key)
    if net.config.match == "cosine":
        return net.match.match_log_sharpness[restart].exp() * (query @ key) / (query.norm() * key.norm())
    hidden = net.match.match_project_query_weight[restart] @ query
    hidden = hidden + net.match.match_project_value_weight[restart] @ key + net.match.match_project_value_bias[restart]
    return net.match.match_weigh_weight[restart, 0] @ torch.tanh(hidden)


VARIANTS = [
    *(
        {"tying": tying, "encoding": encoding}
        for tying, encoding in product(("adjacent", "layerwise", "none"), ("bag", "position"))
    ),
    {"encoding": "rnn"},
    {"temporal": False},
    {"hops": 1, "rectified": 0.5},
    {"answer_hidden": 6},
    *({"match": match, "match_size": 3} for match in ("bilinear", "cosine", "additive")),
]


@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "-".join(f"{value}" for value in options.values()))
def test_a_batch_of_restarts_equals_questions_answered_one_by_one(options: dict[str, object]) -> None:
    net = model(hops=options.pop("hops", 2), restarts=2, **options)
    with torch.no_grad():
        read = net(net.collate(ITEMS).stories)
        for restart, (row, item) in product(range(2), enumerate(ITEMS)):
            logits, weights = answered(net, restart, item.condition)
            torch.testing.assert_close(read.logits[restart, row], logits, atol=1e-4, rtol=1e-4)
            for hop, expected in enumerate(weights):
                length = len(item.condition.story)
                torch.testing.assert_close(read.weights[restart, row, hop, :length].flip(0), expected, atol=1e-4, rtol=1e-4)
                assert not read.weights[restart, row, hop, length:].any()


@pytest.mark.parametrize("match", ["dot", "additive"])
def test_without_softmax_weights_are_the_scores(match: str) -> None:
    net = model(restarts=2, hops=1, match=match)
    batch = net.collate(ITEMS).stories
    with torch.no_grad():
        weights, scores = net(batch).weights, net(batch, linear=True).weights
    torch.testing.assert_close(scores[:, 0, 0].softmax(-1), weights[:, 0, 0, :4])  # the one story that fills the batch
    assert not scores[:, 1, 0, 1:].any()


@pytest.mark.parametrize("tying", ["adjacent", "layerwise", "none"])
def test_hops_share_embeddings_as_the_tying_says(tying: str) -> None:
    sizes = {hops: sum(p.numel() for p in model(tying=tying, hops=hops).parameters()) for hops in (1, 2, 3)}
    embedding = len(VOCABULARY) * 4 + 5 * 4
    grown = {"adjacent": embedding, "layerwise": 0, "none": 2 * embedding}[tying]
    assert sizes[2] - sizes[1] == sizes[3] - sizes[2] == grown


def test_gradients_of_a_restart_are_those_it_has_alone() -> None:
    together = model(restarts=2)
    alone = model(restarts=1)
    with torch.no_grad():
        for one, two in zip(alone.parameters(), together.parameters(), strict=True):
            one.copy_(two[1:])
    batch = together.collate(ITEMS).stories
    together(batch).logits.square().mean((1, 2)).sum().backward()
    alone(batch).logits.square().mean((1, 2)).sum().backward()
    for one, two in zip(alone.parameters(), together.parameters(), strict=True):
        assert one.grad is not None
        assert two.grad is not None
        torch.testing.assert_close(one.grad[0], two.grad[1])


def test_the_model_keeps_the_contract() -> None:
    check_model(model(), ITEMS)


def test_a_prediction_tells_probabilities_and_where_each_hop_looked() -> None:
    net = model()
    (first, *_) = net.predict(net.collate(ITEMS))
    told = first.details["answers"]
    assert first.output == told[0]["answer"]
    assert math.isclose(sum(one["probability"] for one in told), 1, abs_tol=1e-4)
    assert [one["probability"] for one in told] == sorted((one["probability"] for one in told), reverse=True)
    assert math.isclose(math.exp(first.score), told[0]["probability"], abs_tol=1e-4)
    drawn = first.attention["attention"]
    assert [(axis.name, axis.kind) for axis in drawn.axes] == [("hop", "hops"), ("sentence", "sentences")]
    assert drawn.axes[1].labels == STORY
    np.testing.assert_allclose(drawn.weights.sum(1), 1, atol=1e-5)
    _, expected = answered(net, 0, ITEMS[0].condition)
    np.testing.assert_allclose(drawn.weights, torch.stack(expected).detach(), atol=1e-4)


def test_only_the_latest_sentences_are_read_and_the_user_is_told() -> None:
    net = model(memory_size=3)
    long = Item("long", Question(("John took the milk.",) * 9997 + STORY[1:], "Where is Mary?"))
    short = Item("short", Question(STORY[1:], "Where is Mary?"))
    given, expected = net.predict(net.collate([long, short]))
    assert given.output == expected.output
    assert given.score == pytest.approx(expected.score, abs=1e-5)
    assert given.attention["attention"].axes[1].labels == STORY[1:]
    assert given.warnings == ("the story has 10,000 sentences: the first 9,997 are left out, the memory holds 3",)
    assert expected.warnings == ()


def test_unknown_words_are_skipped_and_named_with_known_ones() -> None:
    net = model()
    known = Item("known", Question(("Mary went the garden.",), "Where is Mary?"))
    other = Item("other", Question(("Mary QUICKLY went the, garden.",), "Where is Marry, Mary?"))
    expected, given = net.predict(net.collate([known, other]))
    assert given.score == pytest.approx(expected.score, abs=1e-5)
    assert given.warnings == (
        "unknown words in the story are skipped: quickly",
        "unknown words in the question are skipped: marry (known: mary)",
    )


@pytest.mark.parametrize(
    ("question", "message", "hint"),
    [
        (Question((), "Where is Mary?"), "the story is empty", "sentences"),
        (Question(STORY, "Gardens?"), "knows no word of the question 'Gardens?'", "garden"),
        (Question(STORY, "???"), "knows no word", "known words"),
    ],
)
def test_what_cannot_be_answered_is_an_error(question: Question, message: str, hint: str) -> None:
    with pytest.raises(InputError, match=message.replace("?", r"\?")) as caught:
        model().collate([ITEMS[0], Item("x", question)])
    assert hint in str(caught.value.hint)
