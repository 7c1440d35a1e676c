"""Readers of dialogues, what they clean and leave out, the filter, the probe."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import string
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_chat.data import chitchat, dialogues, self_dialogue
from condgen_chat.filter import digest, is_listed, mask_listed
from condgen_chat.metrics import greets
from condgen_chat.probe import context_probe
from condgen_chat.task import read
from condgen_chat.turns import Message, merge_turns, parse_dialogue, remove_private
from condgen_cli.errors import CondgenError, InputError, IntegrityError, NotFoundError, UsageError
from condgen_cli.item import Item

texts = st.text(st.sampled_from(string.ascii_letters + " \t🙂é"), max_size=12)


def write(path: Path, *documents: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), encoding="utf-8")
    return path


def every(root: Path, **options: str) -> list[Item]:
    return [item for split in ("train", "dev", "test") for item in self_dialogue(root, split, **options)]


def test_an_item_is_what_was_said_and_the_reply(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", ["Hi!", "Hello.", "How are\n you?"], {"turns": ["x", "y"]})
    items = dialogues(tmp_path, "train")
    assert [(item.id, item.condition, item.references) for item in items] == [
        ("train/1/1", ("Hi!",), ("Hello.",)),
        ("train/1/2", ("Hi!", "Hello."), ("How are you?",)),
        ("train/2/1", ("x",), ("y",)),
    ]
    assert (items[1].source, items[1].text) == ("Hello.", "Hello.")


def test_what_a_speaker_wrote_in_a_row_is_one_turn(tmp_path: Path) -> None:
    written = [[0, ["hey", "you"]], [1, ["hi"]], [1, ["what's up", " "]], [0, [""]], [1, ["well?"]], [0, ["ok"]]]
    write(tmp_path / "chitchat" / "chitchat_dataset.jsonl", {"id": "a", "turns": written})
    items = [item for split in ("train", "dev", "test") for item in chitchat(tmp_path, split)]
    assert [*items[-1].condition, *items[-1].references] == ["hey you", "hi what's up well?", "ok"]


@given(st.lists(st.tuples(st.sampled_from("ab"), texts), max_size=8))
def test_turns_alternate_and_keep_every_word(messages: list[tuple[str, str]]) -> None:
    turns = merge_turns([Message(*message) for message in messages])
    assert all(turn == " ".join(turn.split()) and turn for turn in turns)
    assert " ".join(turns).split() == [word for _, text in messages for word in text.split()]
    speakers = [speaker for speaker, text in messages if text.strip()]
    changes = sum(here != there for here, there in pairwise(speakers))
    assert len(turns) == (changes + 1 if speakers else 0)


@given(st.lists(texts.filter(str.strip), max_size=6))
def test_the_forms_of_a_dialogue_are_read_alike(turns: list[str]) -> None:
    forms: list[Any] = [
        turns,
        {"dialogue": turns},
        [{"text": turn} for turn in turns],
        [{"role": "ab"[place % 2], "content": turn} for place, turn in enumerate(turns)],
        {"messages": [[place % 2, [turn]] for place, turn in enumerate(turns)]},
    ]
    assert all(
        merge_turns(parse_dialogue(json.loads(json.dumps(form)))) == [" ".join(turn.split()) for turn in turns]
        for form in forms
    )


@pytest.mark.parametrize("document", [3, "text", {}, {"turns": 3}, [3], [["a", 3]], [{"speaker": "a"}], [[0, ["a", 1]]]])
def test_what_is_no_dialogue(document: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", ["a", "b"], document)
    with pytest.raises(InputError, match=r"train\.jsonl:2: "):
        dialogues(tmp_path, "train")
    path.write_text('["a", "b"]\n\n["a"\n')
    with pytest.raises(InputError, match=r"train\.jsonl:3: not JSON"):
        dialogues(tmp_path, "train")


def test_splits_divide_the_dialogues_and_alike_ones_come_once(tmp_path: Path) -> None:
    documents = [{"turns": [f"turn {number}", "yes", "no"]} for number in range(600)]
    write(tmp_path / "self_dialogue.jsonl", *documents, {"turns": ["TURN  5", "Yes", "no"]})
    found = {split: {item.condition[0] for item in self_dialogue(tmp_path, split)} for split in ("train", "dev", "test")}
    assert sum(map(len, found.values())) == len(set().union(*found.values())) == 600
    assert 3 <= len(found["dev"]) <= 30
    assert 3 <= len(found["test"]) <= 30


def test_the_items_of_a_dialogue_are_bounded(tmp_path: Path) -> None:
    write(tmp_path / "self_dialogue" / "self_dialogue.jsonl", {"turns": [str(number) for number in range(100)]})
    for count in range(1, 20):
        places = [len(item.condition) for item in every(tmp_path, replies=str(count))]
        assert len(set(places)) == count
        assert places[-1] == 99
        assert count == 1 or places[0] == 1
    assert len(every(tmp_path, replies="0")) == 99
    with pytest.raises(UsageError, match="replies"):
        every(tmp_path, replies="few")


def test_files_may_be_packed_and_must_be_whole(tmp_path: Path) -> None:
    content = write(tmp_path / "x.jsonl", ["a", "b"]).read_bytes()
    (tmp_path / "train.jsonl.xz").write_bytes(lzma.compress(content))
    (tmp_path / "dev.jsonl.gz").write_bytes(gzip.compress(content))
    assert [len(dialogues(tmp_path, split)) for split in ("train", "dev")] == [1, 1]
    (tmp_path / "train.jsonl.xz").write_bytes(lzma.compress(content)[:-9])
    with pytest.raises(IntegrityError, match="damaged"):
        dialogues(tmp_path, "train")
    with pytest.raises(NotFoundError, match=r"test\.jsonl"):
        dialogues(tmp_path, "test")
    with pytest.raises(NotFoundError, match="self_dialogue"):
        self_dialogue(tmp_path, "train")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see http://a.example/b?c and www.b.example", "see … and …"),
        ("mail me: jo.do+x@example.org!", "mail me: …!"),
        ("call 555-123 4567 or +1 (555) 123-4567 now", "call … or … now"),
        ("in 1984, 12 of 1,000 had 3.14 at 10:30", "in 1984, 12 of 1,000 had 3.14 at 10:30"),
    ],
)
def test_addresses_and_long_numbers_are_removed(text: str, expected: str) -> None:
    assert remove_private(text) == expected


def test_a_dialogue_ends_before_a_listed_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from condgen_chat import filter as module

    monkeypatch.setattr(module, "_digests", lambda: frozenset({digest("Gemein")}))
    module._is_listed_word.cache_clear()
    try:
        write(tmp_path / "train.jsonl", ["a", "b", "c", "how GEMEIN!", "e"], ["gemein", "b", "c"], ["gemeinsam", "b"])
        assert [item.condition for item in dialogues(tmp_path, "train")] == [("a",), ("a", "b"), ("gemeinsam",)]
        assert len(dialogues(tmp_path, "train", filter="no")) == 4 + 2 + 1
        assert mask_listed("So gemein, gemeinsam.") == "So ******, gemeinsam."
    finally:
        module._is_listed_word.cache_clear()


def test_the_list_stops_abuse_and_nothing_ordinary() -> None:
    assert is_listed("what the FUCK?")
    assert mask_listed("bullshit!") == "********!"
    assert not is_listed("Dick Van Dyke assessed Scunthorpe's class of cocktails; the bass hit him.")


def test_what_the_command_reads() -> None:
    assert [item.condition for item in read(" hi there ")] == [("hi there",)]
    assert [item.condition for item in read("")] == [("",)]
    assert [item.condition for item in read('["a", "b", "c"]')] == [("a", "b", "c")]
    for text in ('["a"', "[]", "[1]", '{"text": "a"}', "[" * 100_000):
        with pytest.raises(InputError):
            list(read(text))


def test_the_probe_is_always_the_same_200_dialogues() -> None:
    items = list(context_probe(Path(), "test"))
    assert items == list(context_probe(Path(), "test"))
    assert len({item.condition for item in items}) == len({item.id for item in items}) == 200
    kinds = [item.meta["probe"] for item in items]
    assert [kinds.count(kind) for kind in ("greeting", "first", "topic")] == [100, 50, 50]
    for item in items:
        if item.meta["probe"] == "greeting":
            assert all(map(greets, item.condition))
            assert not greets(item.references[0])
        else:
            assert set(item.meta["words"]) & set(item.references[0].lower().replace(".", "").split())


PUBLISHED = Path(os.environ.get("CONDGEN_TEST_DATA", "nowhere")).parent
"""What lies beside the folder that the variable names."""


@pytest.mark.skipif(not (PUBLISHED / "self_dialogue").is_dir(), reason="no folder self_dialogue beside CONDGEN_TEST_DATA")
def test_the_published_data() -> None:
    for name, reader in (("self_dialogue", self_dialogue), ("chitchat", chitchat)):
        items = reader(PUBLISHED / name, "dev")
        assert len(items) > 400
        assert all(item.condition and item.references[0] for item in items)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        (item,) = read(text)
    except CondgenError:
        return
    assert all(isinstance(turn, str) for turn in item.condition)
