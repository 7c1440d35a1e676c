"""Checking untrusted names: paths in the store, and URLs."""

from __future__ import annotations

import re
from pathlib import Path

from condgen_cli.errors import IntegrityError

__all__ = ["PROTOCOLS", "check_contained", "protocol_of", "safe_path", "safe_url"]

PROTOCOLS = frozenset({"file", "http", "https", "hf"})
"""Protocols that condgen can open."""
NAMEABLE = PROTOCOLS | {"s3", "gs", "gcs", "az", "abfs", "ftp", "sftp"}
"""Protocols that are valid in a manifest: other programs may read it too, and the first URL that condgen can open is used."""

# a single letter before the colon is a Windows drive
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')
_LONGEST_PART = 200  # file systems allow 255 bytes; partial files and locks have suffixes


def safe_path(name: str) -> str:
    """Return ``name`` if it is a relative path that stays below its folder on every platform.

    Raises:
        ValueError: for an absolute path, a drive letter, a backslash, ``..``, empty parts, control characters, reserved names.
    """
    if match := _FORBIDDEN.search(name):
        raise ValueError(f"{name!r} contains {match.group()!r}, which is not allowed in a file name")
    for part in name.split("/"):
        if part in ("", ".", ".."):
            raise ValueError(f"{name!r} is not a plain relative path")
        if part[-1] in ". " or _DEVICE.fullmatch(part):
            raise ValueError(f"{name!r} is not a file name on every system")
        if len(_encode(part)) > _LONGEST_PART:
            raise ValueError(f"{name[:40]!r}… is too long")
    return name


def _encode(part: str) -> bytes:
    try:
        return part.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{part!r} is not valid Unicode") from None


def protocol_of(url: str) -> str:
    """The protocol of a URL in lower case; empty for a path."""
    match = _SCHEME.match(url)
    return match.group(1).lower() if match else ""


def safe_url(url: str) -> str:
    """Return ``url`` if it is an absolute URL with a protocol in ``NAMEABLE``, or a relative path that ``safe_path`` accepts.

    Raises:
        ValueError: otherwise.
    """
    protocol = protocol_of(url)
    if not protocol:
        return safe_path(url)
    if protocol not in NAMEABLE:
        raise ValueError(f"{protocol}:// is not one of the protocols {', '.join(sorted(NAMEABLE))}")
    if "::" in url or any(ord(character) <= 32 for character in url):
        raise ValueError(f"{url!r} is not a plain URL")
    return url


def check_contained(path: Path, root: Path) -> Path:
    """Return ``path`` if it is below ``root`` after following all links; the root itself may be a link.

    Raises:
        IntegrityError: if a link leads out of the root.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise IntegrityError(f"{path} is a link that leads out of {root}", "remove the link")
    return path
