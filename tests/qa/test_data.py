"""Readers of stories with questions."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condgen_cli.data.store import open_dataset
from condgen_cli.errors import InputError, NotFoundError, UsageError
from condgen_qa.data import babi, parse, stories
from condgen_qa.text import Question, sentences, tokens

TEXT = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Daniel took the Milk.
5 What does Daniel carry?\tMilk,Apple\t4 1
1 Sandra is here.
2 Is Sandra here?\tyes\t1
"""


def write(root: Path, folder: str, task: int, part: str, count: int = 10) -> None:
    path = root / folder / f"qa{task}_name-of-{task}_{part}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"1 {folder} {task} {part} {n}.\n2 Who {n}? \tanswer{n}\t1\n" for n in range(count)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("en", "en-10k"):
        for task in range(1, 21):
            if (folder, task) != ("en-10k", 3):
                write(tmp_path, folder, task, "train", 20)
            write(tmp_path, folder, task, "test", 3)
    return tmp_path


def test_questions_come_with_their_story_answer_and_facts() -> None:
    first, second = parse(TEXT, "x.txt", "x", "group")
    assert [item.condition for item in first] == [
        Question(("Mary moved to the bathroom.", "John went to the hallway."), "Where is Mary?"),
        Question(
            ("Mary moved to the bathroom.", "John went to the hallway.", "Daniel took the Milk."), "What does Daniel carry?"
        ),
    ]
    assert [item.references for item in first] == [("bathroom",), ("milk,apple",)]
    assert [item.meta for item in first] == [{"facts": (0,), "sentences": 2}, {"facts": (0, 2), "sentences": 3}]
    assert [item.id for item in (*first, *second)] == ["x-3", "x-5", "x-7"]
    assert second[0].condition.story == ("Sandra is here.",)
    assert second[0].group == "group"


WORDS = st.lists(st.sampled_from(["Mary", "is", "in", "the-room", "don't", "7", "Ä"]), min_size=1, max_size=4).map(" ".join)
STORIES = st.lists(st.lists(st.tuples(WORDS, st.none() | WORDS, st.randoms()), min_size=1, max_size=6), max_size=3)


@settings(max_examples=50)
@given(STORIES)
def test_what_is_written_in_the_format_is_read_back(told: list[list[tuple[str, str | None, object]]]) -> None:
    lines, expected = [], []
    for story in told:
        seen: list[tuple[int, str]] = []
        for number, (text, answer, random) in enumerate(story, 1):
            if answer is None:
                lines.append(f"{number} {text}.")
                seen.append((number, f"{text}."))
                continue
            facts = sorted(random.sample(range(len(seen)), random.randint(0, len(seen))))  # type: ignore[attr-defined]
            lines.append(f"{number} {text}? \t{answer}\t{' '.join(str(seen[fact][0]) for fact in facts)}")
            expected.append((tuple(sentence for _, sentence in seen), f"{text}?", answer.lower(), tuple(facts)))
    found = [item for story in parse("\n".join(lines), "x", "x") for item in story]
    assert [(*item.condition, item.references[0], item.meta["facts"]) for item in found] == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Mary is here.", "expected a number"),
        ("2", "expected a number"),
        ("2 ...", "expected a number"),
        ("2 Who?\tyes\t1\t1", "expected a number"),
        ("2 Who?\t", "has no answer"),
        ("2 Who?\tyes\t2", "line numbers of sentences before"),
        ("2 Who?\tyes\tone", "line numbers of sentences before"),
    ],
)
def test_a_wrong_line_is_named(line: str, message: str) -> None:
    with pytest.raises(InputError, match=f"x.txt:2: .*{message}"):
        list(parse(f"1 Mary is here.\n{line}\n", "x.txt", "x"))


def test_dev_is_the_last_tenth_of_the_stories(root: Path) -> None:
    train, dev, test = (babi(root, split, task="4") for split in ("train", "dev", "test"))
    assert [item.condition.text for item in train] == [f"Who {n}?" for n in range(18)]
    assert [item.condition.text for item in dev] == ["Who 18?", "Who 19?"]
    assert [item.condition.story for item in test] == [(f"en 4 test {n}.",) for n in range(3)]
    assert {item.group for item in (*train, *dev, *test)} == {"4 name-of-4"}
    assert len({item.id for item in (*train, *dev, *test)}) == 23


def test_tasks_are_chosen_by_number(root: Path) -> None:
    assert [item.group.split()[0] for item in babi(root, "test")][::3] == [str(task) for task in range(1, 21)]
    assert [item.group.split()[0] for item in babi(root, "test", task="18-20, 2")][::3] == ["2", "18", "19", "20"]
    for wrong in ("21", "0", "two", "3-", "-"):
        with pytest.raises(UsageError, match="task"):
            babi(root, "test", task=wrong)


def test_the_missing_file_of_10k_is_replaced_with_one_warning(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = [*babi(root, "train", size="10k"), *babi(root, "dev", size="10k")]
    assert next(item for item in train if item.group.startswith("3 ")).condition.story == ("en 3 train 0.",)
    assert next(item for item in train if item.group.startswith("2 ")).condition.story == ("en-10k 2 train 0.",)
    assert capsys.readouterr().err.count("10k training file of task 3") == 1


def test_an_archive_is_read_as_its_folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    packed = tmp_path_factory.mktemp("packed")
    with tarfile.open(packed / "tasks_1-20_v1-2.tar.gz", "w:gz") as archive:
        archive.add(root / "en", "tasks_1-20_v1-2/en")
    found = open_dataset("babi", "test", packed, {"task": "1,10"})
    assert [(item.id, item.condition) for item in found] == [(i.id, i.condition) for i in babi(root, "test", "1,10")]


def test_what_is_missing_is_told(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(NotFoundError, match="no folder en"):
        babi(tmp_path_factory.mktemp("empty"), "test")
    (root / "en" / "qa7_name-of-7_test.txt").unlink()
    with pytest.raises(NotFoundError, match="test file of task 7"):
        babi(root, "test")
    assert babi(root, "train", task="7")


def test_own_stories(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(TEXT)
    assert [item.references[0] for item in stories(tmp_path, "train")] == ["bathroom", "milk,apple", "yes"]
    assert len(stories(tmp_path, "test", file="train.txt")) == 3
    with pytest.raises(UsageError, match="split test alone"):
        stories(tmp_path, "dev", file="train.txt")
    with pytest.raises(NotFoundError, match=r"dev\.txt"):
        stories(tmp_path, "dev")


@given(st.text())
def test_any_text_falls_into_sentences_with_words(text: str) -> None:
    found = sentences(text)
    assert all(tokens(sentence) for sentence in found)
    assert [word for sentence in found for word in tokens(sentence)] == tokens(text)


def test_sentences_end_at_marks_before_blanks_and_at_lines() -> None:
    text = "Mary is at no. 3.5 street. Where is she?!\nA line without an end\n\n... \nJohn's here"
    assert sentences(text) == ["Mary is at no.", "3.5 street.", "Where is she?!", "A line without an end", "John's here"]
    assert tokens("John's  QUICK-step, 3 times…") == ["john's", "quick-step", "3", "times"]
