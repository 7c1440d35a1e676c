"""Pages from templates, with values that are safe in HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources

__all__ = ["fill_page", "script_json"]


def fill_page(package: str, file: str, values: Mapping[str, str]) -> str:
    """Replace each ``{{name}}`` in a package's template by the value of that name.

    Args:
        package: name of the package.
        file: file name of the template.
        values: texts by name, already escaped by ``html.escape`` or ``script_json``.
    """
    template = resources.files(package).joinpath(file).read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def script_json(data: object) -> str:
    """JSON that is safe in a script element: no text in it can end the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
