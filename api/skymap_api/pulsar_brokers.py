"""The brokers of one admin interface, and which redirects between them are followed.

A broker answers 307 to a request about a topic that another broker owns. It keeps the path and the query, replaces host
and port, and sets the parameter ``authoritative`` (`PulsarWebResource.validateTopicOwnershipAsync`). So a client takes
just these from the answer, and only where they lead to another broker of the same service: a host that the admin URL
lists, or one below it, such as a pod's of a headless Service, on the same port. Otherwise a server that a tenant has
named could aim our method, and our token, at any address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urljoin, urlsplit

#: scheme, hosts, and path of an admin URL.
_URL = re.compile(r"(https?)://([^/?#@\s\x00-\x1f]+)((?:/[^?#\s]*)?)", re.IGNORECASE)

_PORTS = {"http": 80, "https": 443}

#: Most hosts in an admin URL.
MAX_HOSTS = 16

_AUTHORITATIVE = "authoritative"
_AUTHORITATIVE_VALUES = {(_AUTHORITATIVE, "true"), (_AUTHORITATIVE, "false")}


class RedirectError(Exception):
    """A redirect leads elsewhere than to a broker of the service; the message has our own words only."""


@dataclass(frozen=True, slots=True)
class Brokers:
    """The admin interface at ``scheme://HOST:PORT,HOST:PORT/path``; ``hosts``: names in lower case, with ports."""

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    path: str

    @classmethod
    def parse(cls, url: str) -> Brokers:
        """Parse an admin URL: ``http://HOST:8080``, with further brokers after commas. Raises ValueError."""
        found = _URL.fullmatch(url)
        if found is None:
            raise ValueError("write http://HOST:8080 or https://HOST:8443, further brokers after commas")
        scheme, listed, path = found[1].lower(), found[2].split(","), found[3].rstrip("/")
        if len(listed) > MAX_HOSTS:
            raise ValueError(f"it lists {len(listed)} brokers, and {MAX_HOSTS} are the most")
        return cls(scheme, tuple(_host(urlsplit(f"{scheme}://{one}")) for one in listed), path)

    def urls(self) -> Iterator[str]:
        """Yield the URL of each listed broker."""
        for host, port in self.hosts:
            yield f"{self.scheme}://{_bracketed(host)}:{port}{self.path}"

    def redirected(self, url: str, location: str) -> str:
        """Return where a request to ``url`` goes on, after a redirect to ``location``. Raises RedirectError."""
        ours = urlsplit(url)
        try:
            target = urlsplit(urljoin(url, location))
            host, port = _host(target)
        except ValueError:
            raise RedirectError("to an invalid address") from None
        if target.scheme != self.scheme:
            raise RedirectError("to another scheme")
        if not self._includes(host, port):
            raise RedirectError("to a host or port that is not one of its brokers")
        if unquote(target.path) != unquote(ours.path):
            raise RedirectError("to another path")
        query = [(name, value) for name, value in parse_qsl(ours.query, True) if name != _AUTHORITATIVE]
        query += [pair for pair in parse_qsl(target.query) if pair in _AUTHORITATIVE_VALUES][:1]
        return ours._replace(netloc=f"{_bracketed(host)}:{port}", query=urlencode(query)).geturl()

    def _includes(self, host: str, port: int) -> bool:
        """Return whether a host is listed, or a name below a listed one; an address has nothing below it."""
        return any(
            port == number and (host == name or (host.endswith(f".{name}") and "." in name and not _is_address(name)))
            for name, number in self.hosts
        )


def _host(parts: SplitResult) -> tuple[str, int]:
    """Return host and port of a URL; raises ValueError if it has none, or credentials."""
    host, port = parts.hostname, parts.port
    if not host or parts.username is not None or parts.password is not None:
        raise ValueError("a host is missing, or has credentials")
    return host.rstrip("."), port or _PORTS.get(parts.scheme, 0)


def _is_address(host: str) -> bool:
    """Return whether a host is an IP address, in any notation that a system may read (``127.1``)."""
    return ":" in host or host.rpartition(".")[2].isdecimal()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
