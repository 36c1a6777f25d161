"""An httpx transport that ends every exchange at a deadline, and asks where a connection may lead.

httpx limits each read; here all exchanges of a transport together have one limit, so that a server that sends a byte
now and then, even of its headers, cannot hold them up. httpcore limits the headers to 100 KiB. The body is the reader's
part: raw, into a `skymap_api.http_body.Body`.

The event's download, the requests to Pulsar's admin interface and notices use it.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from skymap_api.text import INVALID_PROXY
from skymap_scanner.errors import InputError

_PORTS = {"http": 80, "https": 443}


class OverdueError(Exception):
    """The time for the exchanges is over."""


@dataclass(frozen=True)
class Deadline:
    """When all exchanges must be finished (s, of the monotonic clock)."""

    end: float

    def left(self, limit: float | None = None) -> float:
        """Return the remaining seconds, at most ``limit``; raises OverdueError when there are none."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise OverdueError
        return left if limit is None else min(left, limit)


class Places(Protocol):
    """Where connections may lead. Its own errors pass through httpx."""

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host to try, in order; raises if none is allowed."""

    def check_proxied(self, host: str, port: int) -> None:
        """Raise if a proxy, which resolves the host itself, may not be asked to connect to it."""


class Anywhere:
    """Connections may lead anywhere."""

    def addresses(self, host: str, port: int) -> list[str]:  # noqa: ARG002 - as the protocol says
        """Return the host itself, which the system resolves."""
        return [host]

    def check_proxied(self, host: str, port: int) -> None:
        """Allow every host."""


class Transport(httpx.BaseTransport):
    """Sends httpx's requests, through the proxies that the environment names (``HTTPS_PROXY``, ``NO_PROXY``).

    ``places``: where connections may lead, default anywhere. ``context``: what TLS trusts, default what the
    environment names. ``direct``: past all proxies. Raises OverdueError after the deadline, and InputError if the
    environment names a proxy or certificates that cannot be used.
    """

    def __init__(
        self,
        deadline: Deadline,
        places: Places | None = None,
        context: ssl.SSLContext | None = None,
        *,
        direct: bool = False,
    ) -> None:
        self._direct_only = direct
        self._places = places or Anywhere()
        self._deadline = deadline
        self._context = context or trusted()
        self._direct = httpcore.ConnectionPool(
            ssl_context=self._context,
            network_backend=_Backend(self._places, deadline),
            max_keepalive_connections=0,
        )
        self._proxies: dict[str, httpcore.ConnectionPool] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the response; its body is read later."""
        url = request.url
        if url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"{url.scheme}:// leads elsewhere: only http and https are fetched")
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
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
        found = {} if self._direct_only else getproxies()
        proxy = found.get(url.scheme) or found.get("all")
        if not proxy or proxy_bypass(url.host):
            return self._direct
        self._places.check_proxied(url.host, url.port or 0)
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
            network_backend=_Backend(Anywhere(), self._deadline),
        )


class _Backend(httpcore.NetworkBackend):
    """Connects to the addresses that ``places`` names."""

    def __init__(self, places: Places, deadline: Deadline) -> None:
        self._places = places
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
        for address in self._places.addresses(host, port):
            try:
                left = self._deadline.left(timeout)
                stream = self._plain.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._deadline)
        raise failure or httpcore.ConnectError(f"the name {host} has no address")


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


def trusted() -> ssl.SSLContext:
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
    except httpcore.ProtocolError as error:  # its text quotes what the server sent, and may end in a status
        raise httpx.TransportError("the answer breaks off, or does not follow the protocol HTTP") from error
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProxyError) as error:
        raise httpx.TransportError(str(error) or type(error).__name__) from error
