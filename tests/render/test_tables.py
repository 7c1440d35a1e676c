"""Tables in a pipe and on a terminal."""

from __future__ import annotations

import subprocess
import sys

from rich.cells import cell_len
from rich.text import Text

from condgen_cli.render.tables import table

COLUMNS = ["model", "BLEU-4", "n"]
ROWS = [["sat", 23.456, 1000], ["日本語モデル", "17.0 ± 0.8", None], ["x", "-", 5]]


def test_plain_table_aligns_wide_characters_and_numbers() -> None:
    lines = table(COLUMNS, ROWS, title="results", color=False, width=80).splitlines()
    assert lines == [
        "results",
        "model             BLEU-4     n",
        "------------  ----------  ----",
        "sat                23.46  1000",
        "日本語モデル  17.0 ± 0.8",
        "x                      -     5",
    ]


def test_plain_table_is_never_cut() -> None:
    text = table(["path"], [["x" * 300]], color=False, width=20)
    assert "x" * 300 in text


def test_drawn_table_keeps_to_the_width_and_loses_nothing() -> None:
    text = table(["name", "help"], [["a", "word " * 30], ["[bold]markup[/]", "wide 日本語"]], title="T", color=True, width=40)
    plain = Text.from_ansi(text).plain
    assert max(map(cell_len, plain.splitlines())) <= 40
    assert plain.count("word") == 30
    assert "[bold]markup[/]" in plain


def test_line_breaks_in_cells_do_not_break_the_table() -> None:
    assert table(["a", "b"], [["x\ny", 1]], color=False, width=80).splitlines()[-1] == "x y  1"


def test_an_empty_table_has_its_head() -> None:
    assert table(["a", "b"], [], color=False, width=80).splitlines() == ["a  b", "-  -"]


def test_tables_import_nothing_heavy() -> None:
    code = "import sys, condgen_cli.render.tables; print([m for m in ('numpy', 'PIL', 'torch', 'rich') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
