"""An httpx transport that connects to allowed addresses only, and only until a deadline.

httpx limits each read; here the whole download has one limit, so that a server that sends a byte now and then, even of
its headers, cannot hold it up. A name is resolved once, its addresses are checked, and the connection goes to a checked
address, whatever the name resolves to later. Every redirect passes through here.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from skymap_api.addresses import Addresses
from skymap_api.text import INVALID_PROXY
from skymap_scanner.errors import InputError
from skymap_scanner.event.download_options import ADDRESSES_VARIABLE

_PORTS = {"http": 80, "https": 443}


class OverdueError(Exception):
    """The time for the whole download is over."""


class RefusedAddressError(Exception):
    """A host, of the URL or of a redirect, has no address that is allowed."""


@dataclass(frozen=True)
class Deadline:
    """When a download must be finished (s, of the monotonic clock)."""

    end: float

    def left(self, limit: float | None = None) -> float:
        """Return the remaining seconds, at most ``limit``; raises OverdueError when there are none."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise OverdueError
        return left if limit is None else min(left, limit)


class Transport(httpx.BaseTransport):
    """Sends httpx's requests, through the proxies that the environment names (``HTTPS_PROXY``, ``NO_PROXY``)."""

    def __init__(self, allowed: Addresses, deadline: Deadline) -> None:
        self._allowed = allowed
        self._deadline = deadline
        self._context = _trusted()
        self._direct = httpcore.ConnectionPool(
            ssl_context=self._context, network_backend=_Backend(allowed, deadline), max_keepalive_connections=0
        )
        self._proxies: dict[str, httpcore.ConnectionPool] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the response; its body is read later."""
        url = request.url
        if url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"a redirect leads to {url.scheme}://, and only http and https are fetched")
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            extensions=request.extensions,
        )
        with _explained():
            answer = self._pool(url).handle_request(asked)
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions)

    def close(self) -> None:
        """Close all connections."""
        for pool in (self._direct, *self._proxies.values()):
            pool.close()

    def _pool(self, url: httpx.URL) -> httpcore.ConnectionPool:
        found = getproxies()
        proxy = found.get(url.scheme) or found.get("all")
        if not proxy or proxy_bypass(url.host):
            return self._direct
        # The proxy resolves the name again and connects to its own result; only the present addresses are checked here.
        addresses = _resolve(url.host, url.port or 0)
        if not all(self._allowed.allow(address) for address in addresses):
            raise _refusal(url.host, addresses)
        if proxy not in self._proxies:
            self._proxies[proxy] = self._proxied(proxy)
        return self._proxies[proxy]

    def _proxied(self, proxy: str) -> httpcore.ConnectionPool:
        try:
            parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            port = parts.port
        except ValueError:  # not shown: it may hold a password
            raise InputError(INVALID_PROXY) from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise InputError(INVALID_PROXY)
        login = None if parts.username is None else (parts.username, parts.password or "")
        return httpcore.HTTPProxy(
            httpcore.URL(scheme=parts.scheme, host=parts.hostname, port=port or _PORTS[parts.scheme], target="/"),
            proxy_auth=login,
            ssl_context=self._context,
            network_backend=_Backend(Addresses(everything=True), self._deadline),
        )


class _Backend(httpcore.NetworkBackend):
    """Connects to allowed addresses only."""

    def __init__(self, allowed: Addresses, deadline: Deadline) -> None:
        self._allowed = allowed
        self._deadline = deadline
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in self._addresses(host, port):
            try:
                left = self._deadline.left(timeout)
                stream = self._plain.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._deadline)
        raise failure or httpcore.ConnectError(f"{host} has no address")

    def _addresses(self, host: str, port: int) -> list[str]:
        if self._allowed.unlimited:
            return [host]
        found = _resolve(host, port)
        allowed = [address for address in found if self._allowed.allow(address)]
        if found and not allowed:
            raise _refusal(host, found)
        if not found:
            raise httpcore.ConnectError(f"the name {host} has no address")
        return allowed


class _Stream(httpcore.NetworkStream):
    """A connection of which every step ends at the deadline at the latest."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return _Stream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Body(httpx.SyncByteStream):
    """The body of a response, with httpx's errors in place of httpcore's."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _explained():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


def _trusted() -> ssl.SSLContext:
    """Return the certificates to trust; raises InputError if those that the environment names cannot be used."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # also ssl.SSLError
        raise InputError(
            f"the certificates or the key log that the environment names cannot be used ({error}): correct "
            "SSL_CERT_FILE, SSL_CERT_DIR and SSLKEYLOGFILE"
        ) from error


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise httpx.TransportError(str(error) or type(error).__name__) from error


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
