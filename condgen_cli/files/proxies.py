"""Proxies as environment variables name them: how they are understood, and how messages name them."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from condgen_cli.errors import NetworkError

__all__ = ["Proxy", "proxy_for"]


class Proxy(NamedTuple):
    """A proxy of HTTP.

    Args:
        url: of the proxy, with user and password if it has some.
        host: its host alone.
        address: host and port, as messages name it.
        place: where it is set.
    """

    url: str
    host: str
    address: str
    place: str

    def __str__(self) -> str:
        return f"the proxy {self.address} ({self.place})"


def proxy_for(url: str) -> Proxy | None:
    """The proxy that a URL of HTTP is read through, if there is one; an address without a scheme is one of HTTP, as for curl.

    Raises:
        NetworkError: if its address can't be understood, or it is of another kind than HTTP.
    """
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    names = [f"{parts.scheme.lower()}_proxy"]
    value = proxies.get(parts.scheme.lower(), "").strip()
    # one for everything is often of a kind that other programs alone know
    if not value and "://" not in (general := proxies.get("all", "").strip()).removeprefix("http://"):
        names, value = ["all_proxy"], general
    if not value:
        return None
    both = [*names, *map(str.upper, names)]
    place = next((name for name in both if os.environ.get(name)), "the system's settings")
    value = value if "://" in value else f"http://{value}"
    try:
        found = urlsplit(value)
        host, port = found.hostname, found.port
    except ValueError:
        host = port = None
    if not host:
        raise NetworkError(f"{place} is not the address of a proxy", f"{place}=http://HOST:PORT")
    if found.scheme != "http":
        raise NetworkError(f"{place} names a proxy of {found.scheme}, which condgen can't use", f"{place}=http://HOST:PORT")
    return Proxy(value, host, f"{host}:{port}" if port else host, place)
