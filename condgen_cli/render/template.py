"""Pages from templates: what goes into them can end no element and no script."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources

__all__ = ["fill_page", "script_json"]


def fill_page(package: str, file: str, values: Mapping[str, str]) -> str:
    """A template of a package with each ``{{name}}`` in it replaced by the value of that name, as it is.

    Args:
        values: texts that are escaped already, by ``html.escape`` or ``script_json``.
    """
    template = resources.files(package).joinpath(file).read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def script_json(data: object) -> str:
    """JSON for a script element, which no text in it can end."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
