"""The output tokens of a transformers tokenizer, with one more id for begin, padding and the unknown token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from condgen_cli.data.subwords import BLANK
from condgen_cli.data.text import SPECIALS

__all__ = ["HubVocabulary"]


class HubVocabulary:
    """Tokens of a decoder.

    Models of transformers use the same id for several purposes (Whisper pads with its end token, BART begins with it), and
    don't forbid padding or the unknown token in their outputs. So begin, padding and unknown are one further id here, after the
    model's own, which is never written.

    Args:
        tokenizer: a tokenizer of transformers.
        size: number of the model's own ids, that is of its logits.
        eos: id of the end token.
    """

    def __init__(self, tokenizer: Any, size: int, eos: int) -> None:
        self.tokenizer = tokenizer
        self.eos = eos
        self.pad = self.bos = self.unk = size
        self._byte_level = "Ġ" in "".join(map(str, tokenizer.convert_ids_to_tokens(list(range(min(size, 2000))))))

    def __len__(self) -> int:
        return self.pad + 1

    def token(self, index: int) -> str:
        """The token as it is shown: ``▁`` before the beginning of a word, as in condgen's own subwords."""
        if index >= self.pad:
            return SPECIALS[1]
        if index == self.eos:
            return SPECIALS[2]
        written = str(self.tokenizer.convert_ids_to_tokens(index))
        if index in self.tokenizer.all_special_ids or BLANK in written:
            return written
        if written.startswith("##"):
            return written[2:]
        if not self._byte_level:
            return written
        return str(self.tokenizer.decode([index])).replace(" ", BLANK, 1)

    def texts(self, ids: Sequence[int]) -> list[str]:
        """The tokens of an output as they are shown. Where bytes of one character are several tokens, the last one shows it."""
        texts, waiting = [], list[int]()
        for index in ids:
            text = self.token(index)
            if self._byte_level and "\N{REPLACEMENT CHARACTER}" in text and len(waiting) < 4:
                waiting.append(index)
                whole = str(self.tokenizer.decode(waiting))
                text = "" if "\N{REPLACEMENT CHARACTER}" in whole else whole.replace(" ", BLANK, 1)
            if text:
                waiting = []
            texts.append(text)
        return texts

    def encode(self, text: str) -> list[int]:
        """Ids of an output text, without special tokens."""
        return [int(index) for index in self.tokenizer(text_target=text, add_special_tokens=False)["input_ids"]]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without special tokens."""
        real = [index for index in ids if index < self.pad]
        return str(self.tokenizer.decode(real, skip_special_tokens=True)).strip()
