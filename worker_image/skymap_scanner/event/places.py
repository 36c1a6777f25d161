"""Where an event's download may lead: allowed addresses only.

A name is resolved once, its addresses are checked, and the connection goes to a checked address, whatever the name
resolves to later. Every redirect passes through here.
"""

from __future__ import annotations

import socket

from skymap_api.addresses import Addresses
from skymap_scanner.event.download_options import ADDRESSES_VARIABLE


class RefusedAddressError(Exception):
    """A host, of the URL or of a redirect, has no address that is allowed."""


class AllowedPlaces:
    """The places (`skymap_scanner.bounded_http.Places`) that have one of the ``allowed`` addresses."""

    def __init__(self, allowed: Addresses) -> None:
        self._allowed = allowed

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the allowed addresses of a host; raises RefusedAddressError if it has others only."""
        if self._allowed.unlimited:
            return [host]
        found = _resolve(host, port)
        allowed = [address for address in found if self._allowed.allow(address)]
        if found and not allowed:
            raise _refusal(host, found)
        return allowed

    def check_proxied(self, host: str, port: int) -> None:
        """Raise RefusedAddressError if the host has an address that is not allowed.

        The proxy resolves the name again and connects to its own result; only the present addresses are checked here.
        """
        addresses = _resolve(host, port)
        if not all(self._allowed.allow(address) for address in addresses):
            raise _refusal(host, addresses)


def _resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, in any notation (``127.1``, ``0x7f000001``); empty if unknown."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


def _refusal(host: str, addresses: list[str]) -> RefusedAddressError:
    where = host if host in addresses else f"{host} ({', '.join(addresses[:4])})"
    return RefusedAddressError(
        f"events may not be fetched from {where}: an administrator allows other addresses in {ADDRESSES_VARIABLE} "
        "(SKYMAP_OPERATOR_EVENT_ADDRESSES of the operator, settings.eventAddresses of its chart)"
    )
