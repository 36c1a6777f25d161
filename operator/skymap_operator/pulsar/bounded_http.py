"""A bounded, asynchronous HTTP client for Pulsar's admin interface, which may be a server that a scan has named.

A request ends after a time, whatever the server sends meanwhile: httpx's own limits count from the last byte. The body
is read raw and decoded within a limit (`skymap_api.http_body`); h11 limits the headers to 100 KiB. Redirects are left
to `skymap_api.pulsar_admin`. Errors have none of the server's words.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from skymap_api.addresses import Addresses
from skymap_api.http_body import ACCEPTED, Body, BodyError
from skymap_api.pulsar_admin import MAX_LIST, Answer, PulsarAdminError, PulsarUnavailable, Request
from skymap_api.text import INVALID_PROXY
from skymap_operator.pulsar.pinned import pinned_url


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Limits of a client: times in seconds, sizes in bytes.

    ``silence``: without a byte. ``connection``: waiting for one of the ``connections``; where Pulsar is slow, a queue
    on this side of the connections is no fault of its. ``duration``: a request in all. ``longest``: a list or
    statistics.
    """

    silence: float
    connection: float
    duration: float
    connections: int
    longest: int


#: For the operator's Pulsar, and for one that a scan names.
OWN = ClientLimits(10.0, 60.0, 90.0, 12, MAX_LIST)
FOREIGN = ClientLimits(5.0, 10.0, 10.0, 4, 1 << 20)


class BoundedClient:
    """Sends the requests of `skymap_api.pulsar_admin` to the server that errors call ``url``.

    ``allowed``: the addresses that its hosts may have, also after a redirect; None: any.
    """

    def __init__(
        self, url: str, context: ssl.SSLContext, limits: ClientLimits, allowed: Addresses | None = None
    ) -> None:
        self._url = url
        self._allowed = allowed
        self._limits = limits
        pool = httpx.Limits(
            max_connections=limits.connections, max_keepalive_connections=limits.connections, keepalive_expiry=30
        )
        timeout = httpx.Timeout(limits.silence, pool=limits.connection)
        try:
            self._http = httpx.AsyncClient(verify=context, timeout=timeout, limits=pool)
        except (ImportError, ValueError, httpx.InvalidURL):  # not shown: the address may hold a password
            raise PulsarAdminError(INVALID_PROXY) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, request: Request, headers: Mapping[str, str]) -> Answer:
        """Send a request, whose delay is over, and return the answer.

        Raises PulsarAdminError if the address or the answer cannot be used, PulsarUnavailable if there is none.
        """
        try:
            async with asyncio.timeout(self._limits.duration):
                return await self._exchange(request, {"Accept-Encoding": ACCEPTED, **headers})
        except TimeoutError as error:
            raise PulsarUnavailable(
                f"{self._url} does not finish its answer within {self._limits.duration:g} s"
            ) from error
        except BodyError as error:
            raise PulsarAdminError(f"{self._url} answers {request.method} with {error}") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:  # the host's name
            raise PulsarAdminError(f"admin URL {self._url!r}: {error}") from error
        except httpx.HTTPError as error:
            raise PulsarUnavailable(
                f"cannot reach Pulsar's admin interface at {self._url} ({_reason(error)})"
            ) from error

    async def _exchange(self, request: Request, headers: dict[str, str]) -> Answer:
        url, extensions = request.url, {}
        if self._allowed is not None:
            pinned = await pinned_url(url, self._allowed)
            url, extensions = pinned.url, {"sni_hostname": pinned.server_name}
            headers["Host"] = pinned.host
        async with self._http.stream(
            request.method, url, headers=headers, json=request.json, extensions=extensions
        ) as answer:
            return Answer(answer.status_code, answer.headers, await _read(answer, request))


async def _read(answer: httpx.Response, request: Request) -> bytes:
    """Read the body; that of an error only if it is wanted, and none that is too long."""
    if answer.is_success:
        return await _collect(answer, request.limit)
    if request.error_limit == 0:
        return b""
    try:
        return await _collect(answer, request.error_limit)
    except BodyError:
        return b""


async def _collect(answer: httpx.Response, limit: int) -> bytes:
    body = Body(answer.headers, limit)
    async for piece in answer.aiter_raw():
        body.add(piece)
    return body.end()


def _reason(error: httpx.HTTPError) -> str:
    """Return why there is no answer; of an answer that is not HTTP, the text of the error would quote it."""
    if isinstance(error, httpx.RemoteProtocolError):
        return "the answer breaks off, or does not follow the protocol HTTP"
    return str(error) or type(error).__name__
