"""HTTP proxies from environment variables."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from condgen_cli.errors import NetworkError

__all__ = ["Proxy", "proxy_for"]


class Proxy(NamedTuple):
    """An HTTP proxy.

    Args:
        url: URL of the proxy, with user and password if there are any.
        host: host name of the proxy.
        address: host and port, for messages.
        place: name of the environment variable, or "the system's settings".
    """

    url: str
    host: str
    address: str
    place: str

    def __str__(self) -> str:
        return f"the proxy {self.address} ({self.place})"


def proxy_for(url: str) -> Proxy | None:
    """The proxy for an HTTP URL; None if there is none. As in curl, an address without a scheme is an HTTP proxy.

    Raises:
        NetworkError: if the proxy's address is invalid, or it isn't an HTTP proxy.
    """
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    names = [f"{parts.scheme.lower()}_proxy"]
    value = proxies.get(parts.scheme.lower(), "").strip()
    # a proxy for all protocols is often of a kind that only other programs support
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
        raise NetworkError(f"{place} names a {found.scheme} proxy, which condgen can't use", f"{place}=http://HOST:PORT")
    return Proxy(value, host, f"{host}:{port}" if port else host, place)
