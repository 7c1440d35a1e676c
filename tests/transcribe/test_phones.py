"""The judge of sounds against CTC's own loss, and its lexicon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import IntegrityError
from condgen_cli.model import Memory, select_state
from condgen_transcribe.phones import PhoneScorer
from condgen_transcribe.pronunciation import PHONES, LetterToSound, number_phones
from condgen_transcribe.words import Lexicon

SAID = {
    "A": "AX",
    "CAT": "K AE T",
    "CATS": "K AE T S",
    "CHAT": "CH AE T",
    "CITE": "S AY T",
    "SEE": "S IY",
    "THE": "DH AX",
    "THEN": "DH EH N",
    "THIN": "TH IH N",
}
TEXTS = ["A CAT", "THE CATS", "THEN SEE", "CITE THE CHAT", "THIN CHAT"]
POSITIONS = 30


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return Lexicon(SAID).with_sounds(LetterToSound({word: [tuple(said.split())] for word, said in SAID.items()}))


@pytest.fixture(scope="module")
def vocabulary() -> SubwordVocabulary:
    return SubwordVocabulary.train(TEXTS * 2, 30)


@pytest.fixture(scope="module")
def scorer(lexicon: Lexicon, vocabulary: SubwordVocabulary) -> PhoneScorer:
    return PhoneScorer(lexicon, torch.full((len(SAID),), 1 / len(SAID)), vocabulary)


def make_memory(rows: int = 1, seed: int = 1) -> Memory:
    log_probs = (3 * torch.randn(rows, POSITIONS, 1 + len(PHONES), generator=torch.Generator().manual_seed(seed))).log_softmax(
        -1
    )
    return Memory(torch.zeros(rows, POSITIONS, 1), auxiliary={"phones": log_probs})


def likelihood(memory: Memory, said: str, row: int = 0) -> float:
    """log p(phones), summed over all paths by torch's own CTC."""
    labels = torch.tensor([number_phones(said.split())])
    log_probs = memory.auxiliary["phones"][row].unsqueeze(1).double()
    lengths = torch.tensor([len(log_probs)]), torch.tensor([labels.shape[1]])
    return -float(F.ctc_loss(log_probs, labels, *lengths, reduction="sum"))


def scores(scorer: PhoneScorer, memory: Memory, tokens: Sequence[int]) -> list[Tensor]:
    """All scores after each of the tokens."""
    state, found = scorer.start(memory), []
    for token in (scorer.bos, *tokens):
        score, state = scorer.score(torch.tensor([token]), state, memory)
        found.append(score[0])
    return found


def total(scorer: PhoneScorer, memory: Memory, tokens: Sequence[int]) -> float:
    followed = zip(scores(scorer, memory, tokens), [*tokens, scorer.eos], strict=True)
    return sum(float(score[token]) for score, token in followed)


def cuts(vocabulary: SubwordVocabulary, text: str) -> list[list[int]]:
    """As the vocabulary cuts the text, and letter by letter."""
    letters = [vocabulary.tokens.index(letter) for letter in "▁" + text.replace(" ", "▁")]
    return [vocabulary.encode(text), letters]


@pytest.mark.parametrize("text", [*TEXTS, "A", "CATS CATS CAT"])
def test_a_text_scores_as_its_phones_do_however_it_is_cut(
    scorer: PhoneScorer, vocabulary: SubwordVocabulary, text: str
) -> None:
    memory = make_memory()
    expected = likelihood(memory, " ".join(SAID[word] for word in text.split()))
    whole, letters = cuts(vocabulary, text)
    assert len(whole) < len(letters)
    for tokens in (whole, letters):
        assert total(scorer, memory, tokens) == pytest.approx(expected, abs=1e-3)


def test_beginnings_count_what_is_sure_of_them(scorer: PhoneScorer, vocabulary: SubwordVocabulary) -> None:
    memory = make_memory()
    index = vocabulary.tokens.index
    # ▁C may be K, CH or S: as whichever is heard best
    score, after = scores(scorer, memory, [index("▁"), index("C")])[1:]
    assert float(score[index("C")]) == 0.0
    goes_on = float(after[index("I")])
    empty = PrefixOf(memory)
    assert goes_on == pytest.approx(max(empty(said) for said in ("K", "CH", "S")), abs=1e-4)
    # the T of TH is silent, but what follows isn't
    assert float(scores(scorer, memory, [index("▁"), index("T")])[-1][index("H")]) == pytest.approx(
        max(empty(said) for said in ("DH", "TH")), abs=1e-4
    )


class PrefixOf:
    """log p(everything that begins with some phones): what begins so and ends at some position, and anything after."""

    def __init__(self, memory: Memory) -> None:
        self.log_probs = memory.auxiliary["phones"][0].double()

    def __call__(self, said: str) -> float:
        (phone,) = number_phones([said])
        before = 0.0
        found = []
        for at_position in self.log_probs:
            found.append(before + float(at_position[phone]))
            before += float(at_position[0])
        return float(torch.tensor(found, dtype=torch.double).logsumexp(0))


def test_a_word_in_no_lexicon_is_said_letter_by_letter(scorer: PhoneScorer, vocabulary: SubwordVocabulary) -> None:
    memory = make_memory()
    letters = cuts(vocabulary, "TAN")[1]
    assert "TAN" not in SAID
    assert total(scorer, memory, letters) == pytest.approx(likelihood(memory, "T AE N"), abs=1e-3)


def test_letters_alone_are_never_silent(scorer: PhoneScorer, vocabulary: SubwordVocabulary) -> None:
    """Or else words of silent letters would cost nothing."""
    memory = make_memory()
    few, many = (total(scorer, memory, cuts(vocabulary, text)[1]) for text in ("TAA", "TAA" + 12 * "A"))
    assert few == pytest.approx(likelihood(memory, "T AE AE"), abs=1e-3)
    assert many == pytest.approx(likelihood(memory, "T" + 14 * " AE"), abs=1e-3)


@settings(max_examples=20)
@given(words=st.lists(st.sampled_from(sorted(SAID)), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_rows_of_several_inputs_change_places(
    scorer: PhoneScorer, vocabulary: SubwordVocabulary, words: list[str], seed: int
) -> None:
    memory = make_memory(rows=2, seed=seed)
    other = cuts(vocabulary, "THIN CATS")[1]
    tokens = cuts(vocabulary, " ".join(words))[1]
    other = (other * len(tokens))[: len(tokens)]
    state, found = scorer.start(memory, 2), 0.0
    place = 0  # of the hypothesis that is followed, among the first input's rows
    read = torch.full((4,), scorer.bos)
    for mine, its in zip([*tokens, scorer.eos], [*other, scorer.eos], strict=True):
        score, state = scorer.score(read, state, memory)
        found += float(score[place, mine])
        state = select_state(state, torch.tensor([1, 0, 3, 2]))
        place = 1 - place
        read = torch.tensor([mine if row == place else its for row in range(4)])
    assert found == pytest.approx(likelihood(memory, " ".join(SAID[word] for word in words)), abs=1e-3)


def test_too_many_phones_are_impossible(scorer: PhoneScorer, vocabulary: SubwordVocabulary) -> None:
    memory = make_memory()
    assert total(scorer, memory, cuts(vocabulary, "CATS " * 8 + "CATS")[0]) < -1e20
    assert math.isfinite(total(scorer, memory, cuts(vocabulary, "CATS " * 8 + "CATS")[0]))


def test_lexicon_comes_back_with_its_sounds(lexicon: Lexicon, tmp_path: Path) -> None:
    lexicon.save(tmp_path / "lexicon.json")
    again = Lexicon.load(tmp_path / "lexicon.json")
    assert again.words == sorted(SAID)
    assert again.sounds == lexicon.sounds
    assert [" ".join(phone for sound in said for phone in sound) for said in again.sounds] == [
        SAID[word] for word in again.words
    ]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ('{"words": "A", "sounds": ["AX"], "said": "1"}', "is not a lexicon"),
        ('{"words": "A", "sounds": ["AX"], "said": 1}', "is not a lexicon"),
        ('{"words": "A", "said": "0"}', "is not a lexicon"),
        ('{"words": "A", "sounds": ["AX"], "said": "00"}', "each letter of its words needs its phones"),
        ('{"words": "A B", "sounds": ["AX"], "said": "0"}', "each letter of its words needs its phones"),
        ('{"words": "A", "sounds": ["QX"], "said": "0"}', "each letter of its words needs its phones"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, document: str, reason: str) -> None:
    (tmp_path / "lexicon.json").write_text(document, encoding="utf-8")
    with pytest.raises(IntegrityError, match=reason):
        Lexicon.load(tmp_path / "lexicon.json")
