"""Links between the repository's pages: each leads to a file that is there, and to a heading of it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page
    for folder in (ROOT, *(ROOT / name for name in ("docs", "docs/comparisons", "zoo/cards", "benchmarks", "examples")))
    for page in folder.glob("*.md")
)
LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
"""A link or an image, whose text may hold an image."""


def prose(page: Path) -> str:
    """A page without its code, in which brackets and parentheses are no links."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^ {4,}\S.*$", "", text, flags=re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ +(.*?) *$", prose(page), flags=re.MULTILINE)
    plain = (re.sub(r"\]\([^)]*\)", "", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere within the repository."""
    found = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `heading`, here\n[a](page.md) [b](#a-heading-here) [c](https://example.org/)\n"
        "[d](nowhere.md) ![e](none.png) [f](#elsewhere)\n```\n[g](code.md)\n```\n",
        encoding="utf-8",
    )
    assert broken(page) == ["nowhere.md", "none.png", "#elsewhere"]


def test_results_lead_to_every_card_and_comparison() -> None:
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    pages = [*(ROOT / "zoo" / "cards").glob("*.md"), *(ROOT / "docs" / "comparisons").glob("*.md")]
    linked = {(ROOT / "docs" / link).resolve() for link in LINK.findall(results)}
    assert [page.name for page in pages if page not in linked] == []
