"""The network addresses to which a scan may make others connect.

Whoever creates a scan chooses the URL of its event, and may choose its Pulsar. But the process that connects may reach
more than that person: other pods, the API server, the cloud's metadata. So an administrator restricts the addresses.
The rules apply to addresses, not to names: the owner of a name can change what it resolves to at any time.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

ANY, PUBLIC = "any", "public"

#: IANA's global unicast addresses (RFC 4291, 2.4).
_GLOBAL_UNICAST = IPv6Network("2000::/3")
#: IPv4 addresses behind a translator (RFC 6052).
_TRANSLATED = IPv6Network("64:ff9b::/96")
#: Addresses that count as global by IANA's registries, in one of Python's versions at least, and lead into a cloud's
#: inside or nowhere: Azure's host, protocol assignments (192.0.0.192 is Oracle's metadata), old 6to4 relays (RFC 7526),
#: and documentation (RFC 9637).
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text) for text in ("168.63.129.16", "192.0.0.0/24", "192.88.99.0/24", "3fff::/20")
)

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Addresses:
    """The addresses that are allowed: all ``public`` ones, those of ``networks``, but none of ``excluded``."""

    public: bool = False
    networks: tuple[Network, ...] = ()
    excluded: tuple[Network, ...] = ()
    everything: bool = False

    @classmethod
    def parse(cls, text: str) -> Addresses:
        """Read words such as ``public 10.1.0.0/16 !10.1.2.0/24``: ``any``, ``public``, a network, not a network.

        An empty text allows every address. Raises ValueError if a word is not one of these.
        """
        words = (text.strip() or ANY).replace(",", " ").split()
        named = [word for word in words if word not in (ANY, PUBLIC)]
        return cls(
            public=PUBLIC in words,
            networks=tuple(_network(word) for word in named if not word.startswith("!")),
            excluded=tuple(_network(word) for word in named if word.startswith("!")),
            everything=ANY in words,
        )

    @property
    def unlimited(self) -> bool:
        """Whether every address is allowed."""
        return self.everything and not self.excluded

    def allow(self, address: str) -> bool:
        """Return whether connections to an address are allowed, also where it embeds another (``::ffff:10.0.0.1``)."""
        return all(self._allows(one) for one in _meanings(ipaddress.ip_address(address)))

    def _allows(self, address: IPv4Address | IPv6Address) -> bool:
        if any(address in network for network in self.excluded):
            return False
        if self.everything or any(address in network for network in self.networks):
            return True
        return self.public and _is_public(address)


def _network(word: str) -> Network:
    try:
        return ipaddress.ip_network(word.removeprefix("!"))
    except ValueError:
        raise ValueError(
            f"{word!r} is none of {ANY}, {PUBLIC}, a network such as 10.1.0.0/16, or !10.1.0.0/16"
        ) from None


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address belongs to the public Internet (IANA's registries of special-purpose addresses)."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _meanings(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """Yield the addresses to check: the IPv4 addresses that an IPv6 address contains, or the address itself."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _TRANSLATED:
        yield IPv4Address(address.packed[-4:])
    elif address.sixtofour is not None:
        yield from (address, address.sixtofour)
    elif address.teredo is not None:
        yield from (address, *address.teredo)
    else:
        yield address
