"""Connections to checked addresses: the hosts of a Pulsar that a scan names may have allowed addresses only.

A name is resolved once, its addresses are checked, and the connection goes to a checked one, whatever the name resolves
to later. The certificate must still be that of the name.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from skymap_api.addresses import Addresses
from skymap_api.pulsar_admin import PulsarAdminError, PulsarUnavailable

#: Longest time for the resolution of a name (s).
RESOLVE_TIMEOUT = 10.0

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class PinnedUrl:
    """A URL whose host is an address, and what shows the server its name: a header, and the name for TLS."""

    url: str
    host: str
    server_name: str


async def pinned_url(url: str, allowed: Addresses) -> PinnedUrl:
    """Resolve the host of an http or https URL; see `allowed_address`. Raises PulsarAdminError also if it has none."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise PulsarAdminError(f"{url}: not a URL ({error})") from error
    if parts.scheme not in _PORTS or not name:
        raise PulsarAdminError(f"{url}: not an http or https URL")
    address = await allowed_address(name, port or _PORTS[parts.scheme], allowed)
    literal = f"[{address}]" if ":" in address else address
    netloc = literal if port is None else f"{literal}:{port}"
    return PinnedUrl(SplitResult(parts.scheme, netloc, parts.path, parts.query, "").geturl(), parts.netloc, name)


async def allowed_address(host: str, port: int, allowed: Addresses) -> str:
    """Return an address of the host that is allowed.

    Raises PulsarAdminError if it has none, PulsarUnavailable if the name cannot be resolved at the moment.
    """
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT):
            places = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise PulsarUnavailable(f"the name {host} cannot be resolved ({str(error) or type(error).__name__})") from error
    found = list(dict.fromkeys(str(place[0]) for *_, place in places))
    for address in found:
        if allowed.allow(address):
            return address
    where = host if host in found else f"{host} ({', '.join(found[:4])})"
    raise PulsarAdminError(
        f"the operator may not connect to {where}: the administrator allows other addresses (addresses of the entry in "
        "settings.allowedPulsars of the chart)"
    )
