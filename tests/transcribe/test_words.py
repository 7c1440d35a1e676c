"""The bigram model of words against counts by hand, and its look-ahead against sums over whole words."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import IntegrityError, UsageError
from condgen_cli.model import Memory, select_state
from condgen_transcribe.words import DISCOUNT, LETTER, UNKNOWN, Lexicon, WordModel, WordScorer

TEXTS = ["A CAT SAT", "A CAT SAT", "A CATTLE SAT", "THE CAT", "THE CAT ATE", "THE MAT ATE A CAT", "ONCE"]
MEMORY = Memory(torch.zeros(1, 1, 1))


@pytest.fixture(scope="module")
def scorer() -> WordScorer:
    model, lexicon = WordModel.count(TEXTS, 1, 1)
    return WordScorer(model, lexicon, SubwordVocabulary.train(TEXTS * 3, 40))


@pytest.fixture(scope="module")
def vocabulary() -> SubwordVocabulary:
    return SubwordVocabulary.train(TEXTS * 3, 40)


def p(word: str, history: str) -> float:
    """Interpolated Kneser-Ney, word for word from the texts."""
    pairs = Counter(pair for text in TEXTS for pair in zip(["<s>", *text.split()], [*text.split(), "</s>"], strict=True))
    company = Counter(second for _, second in pairs)
    alone = company[word] / sum(company.values())
    followers = {second: count for (first, second), count in pairs.items() if first == history}
    total = sum(followers.values())
    if not total:
        return alone
    share = max(followers.get(word, 0) - DISCOUNT, 0) / total
    return share + DISCOUNT * len(followers) / total * alone


def scores(scorer: WordScorer, tokens: list[int]) -> list[float]:
    """Of each of the tokens after those before it."""
    state, found = scorer.start(MEMORY), []
    for before, token in zip([scorer.bos, *tokens], tokens, strict=False):
        score, state = scorer.score(torch.tensor([before]), state, MEMORY)
        found.append(float(score[0, token]))
    return found


def spelled(vocabulary: SubwordVocabulary, text: str) -> list[int]:
    """The text letter by letter."""
    return [vocabulary.tokens.index(letter) for letter in "▁" + text.replace(" ", "▁")] + [vocabulary.eos]


@pytest.mark.parametrize("text", ["A CAT SAT", "THE MAT", "CATTLE ATE ONCE", "A"])
def test_a_text_costs_what_its_words_cost_however_it_is_cut(
    scorer: WordScorer, vocabulary: SubwordVocabulary, text: str
) -> None:
    words = ["<s>", *text.split(), "</s>"]
    expected = sum(math.log(p(word, history)) for history, word in pairwise(words))
    cut = [*vocabulary.encode(text), vocabulary.eos]
    assert len(cut) < len(spelled(vocabulary, text)) or text == "A"
    for tokens in (cut, spelled(vocabulary, text)):
        assert sum(scores(scorer, tokens)) == pytest.approx(expected, abs=0.03 * len(words))  # shares have steps of 1/20


@pytest.mark.parametrize("beginning", ["▁", "▁A▁", "▁A▁C", "▁A▁CAT", "▁THE▁CAT▁AT", "▁NONE▁"])
def test_what_may_follow_adds_up_to_one(scorer: WordScorer, vocabulary: SubwordVocabulary, beginning: str) -> None:
    state, before = scorer.start(MEMORY), scorer.bos
    for letter in beginning:
        _, state = scorer.score(torch.tensor([before]), state, MEMORY)
        before = vocabulary.tokens.index(letter)
    score, _ = scorer.score(torch.tensor([before]), state, MEMORY)
    letters = [number for number, token in enumerate(vocabulary.tokens) if len(token) == 1] + [vocabulary.eos]
    known = sum(math.exp(float(score[0, number])) for number in letters)
    # letters that no word goes on with have their fee beside that
    assert 1 - 1e-3 <= known <= 1 + len(letters) * math.exp(UNKNOWN + LETTER) + math.exp(UNKNOWN) + 1e-3


def test_words_in_no_lexicon_cost_a_fee_once_and_each_letter(scorer: WordScorer, vocabulary: SubwordVocabulary) -> None:
    found = scores(scorer, spelled(vocabulary, "A CHAT MAT"))
    inside, outside = found[:4], found[4:]
    assert inside[3] > math.log(p("CAT", "A") + p("CATTLE", "A")) - 0.2  # ▁C: so far it may be a cat
    assert outside[0] == pytest.approx(UNKNOWN + LETTER)
    assert outside[1:3] == pytest.approx([LETTER] * 2)
    # what follows knows nothing of a word before
    assert outside[3] + outside[4] == pytest.approx(math.log(p("MAT", "?")), abs=0.01)


def test_an_unfinished_word_is_in_no_lexicon(scorer: WordScorer, vocabulary: SubwordVocabulary) -> None:
    *_, ended = scores(scorer, spelled(vocabulary, "A CATT"))
    assert ended == pytest.approx(UNKNOWN + math.log(p("</s>", "?")), abs=0.01)


def test_rows_keep_their_own_histories(scorer: WordScorer, vocabulary: SubwordVocabulary) -> None:
    cat, mat = (spelled(vocabulary, text) for text in ("A CAT A", "A MAT A"))
    state = select_state(scorer.start(MEMORY), torch.tensor([0, 0]))
    tokens = torch.tensor([[scorer.bos] * 2, *zip(cat[:-1], mat[:-1], strict=True)])
    for token in tokens:
        score, state = scorer.score(token, state, MEMORY)
        state = select_state(state, torch.tensor([1, 0]))
        score, state = score.flip(0), select_state(state, torch.tensor([1, 0]))
    alone = [scores(scorer, text)[-1] for text in (cat, mat)]
    assert score.flip(0)[:, vocabulary.eos].tolist() == pytest.approx(alone)


def test_rare_words_and_pairs_are_left_out() -> None:
    model, lexicon = WordModel.count(TEXTS, 2, 2)
    assert lexicon.words == ["A", "ATE", "CAT", "SAT", "THE"]
    number = {word: place for place, word in enumerate(lexicon.words)}
    first = model.first.tolist()
    seconds = model.successors().tolist()
    kept = {(h, w) for h in range(len(lexicon) + 1) for w in seconds[first[h] : first[h + 1]]}
    edge = len(lexicon)
    pairs = {("<s>", "A"), ("<s>", "THE"), ("A", "CAT"), ("CAT", "SAT"), ("SAT", "</s>"), ("THE", "CAT"), ("CAT", "</s>")}
    assert kept == {(number.get(h, edge), number.get(w, edge)) for h, w in pairs}
    assert float(model.unigram.exp().sum()) == pytest.approx(1)


def test_the_lexicon_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.json"
    Lexicon(["B", "A", "É", "A"]).save(path)
    assert Lexicon.load(path).words == ["A", "B", "É"]


@pytest.mark.parametrize("text", ["", "[]", '{"words": 3}', '{"words": ["B", "A"]}', '{"words": ["A", "A"]}', '{"words": [1]}'])
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lexicon.json"
    path.write_text(text)
    with pytest.raises(IntegrityError, match="not a lexicon"):
        Lexicon.load(path)


def test_no_words_or_too_many_are_refused() -> None:
    with pytest.raises(UsageError, match="no word"):
        WordModel.count(["A B"], 2, 1)
    with pytest.raises(UsageError, match="too large"):
        Lexicon(map(str, range(2**16)))


@settings(max_examples=25)
@given(st.lists(st.lists(st.sampled_from(["A", "AB", "ABA", "B", "BB"]), min_size=1, max_size=5).map(" ".join), min_size=1))
def test_every_history_leaves_a_distribution(texts: list[str]) -> None:
    model, lexicon = WordModel.count(texts, 1, 1)
    scorer = WordScorer(model, lexicon, SubwordVocabulary.train(["AB BA"] * 2, 8))
    history = torch.arange(len(lexicon) + 2)
    whole = scorer._mass(history, torch.zeros_like(history), torch.full_like(history, len(lexicon) + 1))
    torch.testing.assert_close(whole, torch.ones_like(whole))
    every = torch.stack(
        [scorer._mass(history, *(torch.full_like(history, w + i) for i in (0, 1))) for w in range(len(lexicon) + 1)]
    )
    assert (every > 0).all()


def test_no_history_leaves_nothing_for_other_words() -> None:
    """Though its one successor is as good as sure, and rounded up."""
    texts = ["NEW YORK"] * 400 + ["OLD YORK"] * 2
    model, lexicon = WordModel.count(texts, 1, 1)
    model.share[model.first[0] : model.first[1]] = 0  # NEW is followed by YORK for sure
    vocabulary = SubwordVocabulary.train(texts, 20)
    scorer = WordScorer(model, lexicon, vocabulary)
    assert lexicon.words[0] == "NEW"
    found = scores(scorer, [*vocabulary.encode("NEW OLD YORK"), vocabulary.eos])
    assert all(math.isfinite(score) for score in found)
    assert sum(found) == pytest.approx(math.log(1e-3), abs=8)
