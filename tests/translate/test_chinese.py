"""Chinese as a model was trained on it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.item import Item
from condgen_translate.chinese import normalise_chinese, restore_original
from condgen_translate.model import TranslateConfig, TranslateModel

CHINESE = ["我有两只猫。", "你好吗？", "我在学习机器学习。", "Tom买了iPhone 15。", "这是1988年的书，很有趣！"] * 2
SOURCE = SubwordVocabulary.train(CHINESE, 80)
TARGET = SubwordVocabulary.train(["I have two cats.", "How are you?"] * 2, 40)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("機器學習很有趣。", "机器学习很有趣。"),
        ("頭髮", "头发"),
        ("發展", "发展"),
        ("Ｔｏｍ有１２本书", "Tom有12本书"),
        ("你好吗?", "你好吗？"),
        ("对,是的.", "对，是的。"),
        ("价格是3.50元", "价格是3.50元"),
        ("打开README.md", "打开README.md"),
        ("用.NET写的", "用.NET写的"),
        ("下午3:45见!", "下午3:45见！"),
        ("等等...", "等等..."),
        ("Hello, world.", "Hello, world."),
        ("", ""),
    ],
)
def test_what_is_written_in_another_way(written: str, read: str) -> None:
    assert normalise_chinese(written) == read


@given(st.text(st.sampled_from("机器學習龍髮。，？AbＺｚ０９ 09,.?!:")))
def test_plain_text_stays_plain_and_as_long(text: str) -> None:
    once = normalise_chinese(text)
    assert normalise_chinese(once) == once
    assert len(once) == len(text)


@given(st.text(st.sampled_from("機器學習很有趣頭髮貓。？?TomＴ１ \u3000\t\u00e9e\u0301")))
def test_labels_have_the_characters_that_were_written(text: str) -> None:
    read = normalise_chinese(text)
    pieces = SOURCE.pieces(read)
    shown = restore_original(pieces, read, text)
    assert [piece.id for piece in shown] == [piece.id for piece in pieces]
    assert [len(piece.text) for piece in shown] == [len(piece.text) for piece in pieces]
    if "\u0301" not in text:
        assert "".join(piece.text for piece in shown).replace("▁", "") == "".join(text.split())


def test_where_lengths_differ_pieces_stay_as_they_are() -> None:
    pieces = SOURCE.pieces("我有两只猫。")
    assert restore_original(pieces, "我有两只猫。", "我有二三只貓。") == pieces


def test_a_model_reads_plain_chinese_and_shows_what_was_written() -> None:
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_size": 6, "match_size": 5}
    model, literal = (
        TranslateModel(TranslateConfig(**sizes, plain_chinese=wanted), SOURCE, TARGET).eval() for wanted in (True, False)
    )
    here, there = model.collate([Item("1", "我有兩隻貓。")]), model.collate([Item("1", "我有两只猫。")])
    assert torch.equal(here.tokens, there.tokens)
    assert "".join(here.labels[0]) == "我有兩隻貓。<eos>"
    assert model.unread(Item("1", "我有兩隻貓。")) == ()
    assert literal.unread(Item("1", "我有兩隻貓。")) == ("兩", "隻", "貓")
    assert model.unread(Item("1", "我有龜。")) == ("龜",)


def test_what_can_be_read_once_it_is_plain_is_not_doubted() -> None:
    sizes = {"embedding_size": 8, "hidden_size": 6, "match_size": 5}
    model, literal = (
        TranslateModel(TranslateConfig(**sizes, plain_chinese=wanted), SOURCE, TARGET).eval() for wanted in (True, False)
    )
    item = Item("1", "１９８８")
    assert model.doubt(item) == ""
    assert literal.doubt(item) == "a guess: the model can read 0 of 4 characters"
