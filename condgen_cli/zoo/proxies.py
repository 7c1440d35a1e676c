"""Proxies as environment variables name them: how they are understood, and how messages name them."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from condgen_cli.errors import NetworkError

__all__ = ["Proxy", "proxy_for", "understand_proxies"]

_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


class Proxy(NamedTuple):
    """A proxy: its host, its address without user and password, and where that is set."""

    host: str
    address: str
    place: str

    def __str__(self) -> str:
        return f"the proxy {self.address} ({self.place})"


def understand_proxies() -> None:
    """Complete the environment variables of proxies, for this process, as curl understands them.

    An address without a scheme is one of HTTP, and ``ALL_PROXY`` stands for the variables that are not set. The variables are
    changed, since all transports read them, at every redirect.
    """
    for name in list(os.environ):
        value = os.environ[name].strip()
        if name.lower() in _VARIABLES and value and "://" not in value:
            os.environ[name] = f"http://{value}"
    general = next((os.environ[name] for name in ("all_proxy", "ALL_PROXY") if os.environ.get(name)), "")
    if general.startswith("http://"):
        for name in ("http_proxy", "https_proxy"):
            if name not in os.environ and name.upper() not in os.environ:
                os.environ[name] = general


def proxy_for(url: str) -> Proxy | None:
    """The proxy that a URL of HTTP is read through, if there is one.

    Raises:
        NetworkError: if its address can't be understood, or it is of another kind than HTTP.
    """
    parts = urlsplit(url)
    value = getproxies().get(parts.scheme.lower())
    if not value or not parts.hostname or proxy_bypass(parts.hostname):
        return None
    names = (f"{parts.scheme.lower()}_proxy", f"{parts.scheme.upper()}_PROXY")
    place = next((name for name in names if os.environ.get(name)), "the system's settings")
    try:
        found = urlsplit(value)
        host, port = found.hostname, found.port
    except ValueError:
        host = port = None
    if not host:
        raise NetworkError(f"{place} is not the address of a proxy", f"{place}=http://HOST:PORT")
    if found.scheme != "http":
        raise NetworkError(f"{place} names a proxy of {found.scheme}, which condgen can't use", f"{place}=http://HOST:PORT")
    return Proxy(host, f"{host}:{port}" if port else host, place)
