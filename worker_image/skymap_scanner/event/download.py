"""Fetch an event over http(s), with limits on size, time and attempts.

Credentials are sent to the host of the URL only, never to the target of a redirect, and appear in no message.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import responses
from random import Random
from urllib.parse import SplitResult, urlsplit

import httpx

from skymap_api.addresses import Addresses
from skymap_api.http_body import ACCEPTED, Body, BodyError
from skymap_scanner.bounded_http import Deadline, OverdueError, Transport
from skymap_scanner.errors import InputError
from skymap_scanner.event.download_options import Credentials, DownloadLimits
from skymap_scanner.event.places import AllowedPlaces, RefusedAddressError

log = logging.getLogger(__name__)

#: Status codes after which another attempt may succeed.
_RETRYABLE = {408, 429, 500, 502, 503, 504}
#: Longest wait that a server may request (Retry-After), s.
_LONGEST_WAIT = 60.0
#: Most redirects that are followed.
_MAX_REDIRECTS = 5


class _WithoutQuery(logging.Filter):
    """httpx logs every URL in full; a query may hold a signature, which would give readers of the log access."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                argument.copy_with(query=None) if isinstance(argument, httpx.URL) else argument
                for argument in record.args
            )
        return True


logging.getLogger("httpx").addFilter(_WithoutQuery())


def download(
    url: str,
    credentials: Credentials | None = None,
    *,
    addresses: Addresses | None = None,
    limits: DownloadLimits | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> bytes:
    """Return the content of a URL.

    Failed connections and temporary errors (408, 429, 5xx) are retried, a limited number of times. ``addresses`` limits
    the connections, also those of redirects; None: all are allowed. A redirect from https to http is not followed.
    Raises InputError when the URL is not supported or its content cannot be fetched; the message omits user, password
    and query.
    """
    place = _place(url)
    limits = limits or DownloadLimits()
    deadline = Deadline(time.monotonic() + limits.duration)
    transport = Transport(deadline, AllowedPlaces(addresses or Addresses(everything=True)))
    headers = {"User-Agent": "skymap-scanner", "Accept": "*/*", "Accept-Encoding": ACCEPTED}
    if credentials is not None:
        headers["Authorization"] = credentials.authorization
    with httpx.Client(transport=transport, timeout=limits.idle_timeout, headers=headers) as client:
        for attempt in range(1, limits.attempts + 1):
            try:
                return _attempt(client, url, place, credentials, limits)
            except OverdueError:
                break
            except _RetryableError as failure:
                log.info("%s; attempt %d of %d", failure, attempt, limits.attempts)
                if attempt == limits.attempts:
                    raise InputError(f"{failure} (attempts: {attempt})") from None
                pause = failure.wait or limits.backoff * 2 ** (attempt - 1) * Random().uniform(0.5, 1)  # noqa: S311 - spreads load
                sleep(min(pause, max(0.0, deadline.end - time.monotonic())))
    raise InputError(f"{place}: not finished after {limits.duration:g} s")


class _RetryableError(Exception):
    """An attempt failed and may be repeated; ``wait``: seconds that the server asked for."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def _attempt(
    client: httpx.Client, url: str, place: str, credentials: Credentials | None, limits: DownloadLimits
) -> bytes:
    try:
        with _final_response(client, url) as response:
            if response.is_success:
                return _body(response, place, limits)
            # Not the server's own words, which may repeat what was sent to it.
            status = f"{place}: {response.status_code} {responses.get(response.status_code, '')}".rstrip()
            if response.status_code in _RETRYABLE:
                raise _RetryableError(status, _retry_after(response))
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, _RefusedRedirectError, RefusedAddressError) as error:
        raise InputError(f"{place}: {error}") from None
    except UnicodeError:  # of the encodings for names, IDNA and Punycode
        raise InputError(f"{place}: its host, or that of a redirect, is not a name that a server can have") from None
    except httpx.TransportError as error:
        raise _RetryableError(f"{place}: {str(error) or type(error).__name__}") from None
    if response.status_code not in (401, 403):
        raise InputError(status)
    if credentials is None:
        raise InputError(
            f"{status}: set SKYMAP_EVENT_TOKEN, or SKYMAP_EVENT_USER and SKYMAP_EVENT_PASSWORD (each may be NAME_FILE)"
        )
    raise InputError(f"{status}: the server does not accept the credentials of SKYMAP_EVENT_*")


class _RefusedRedirectError(Exception):
    """A redirect is not followed: there are too many, or it leads from https to http."""


@contextmanager
def _final_response(client: httpx.Client, url: str) -> Iterator[httpx.Response]:
    """Follow redirects to the first other response; the body of a redirect is not read, since it has no limit."""
    request = client.build_request("GET", url)
    for _ in range(_MAX_REDIRECTS + 1):
        # httpx.Auth() adds nothing: no user and password that a redirect may hold.
        response = client.send(request, stream=True, auth=httpx.Auth(), follow_redirects=False)
        try:
            if response.next_request is None:
                yield response
                return
        finally:
            response.close()
        if request.url.scheme == "https" and response.next_request.url.scheme == "http":
            # Whoever is on the way could read and change what follows.
            raise _RefusedRedirectError("the server redirects from https to http, which is not followed")
        request = response.next_request
    raise _RefusedRedirectError(f"more than {_MAX_REDIRECTS} redirects")


def _place(url: str) -> str:
    """Check the URL and return it without its query, which may hold a signature."""
    if not url.isprintable() or " " in url:
        raise InputError("the event's URL holds a blank, a line break or another character that no URL has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InputError("the event's URL is not a valid URL") from None
    if parts.username is not None or parts.password is not None:
        raise InputError(
            f"the URL of {parts.hostname} holds a user or password, which others can see: set SKYMAP_EVENT_USER and "
            "SKYMAP_EVENT_PASSWORD (or SKYMAP_EVENT_PASSWORD_FILE) instead"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"cannot read {parts.scheme}://{parts.hostname or ''}: only http:// and https:// are fetched")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return SplitResult(parts.scheme, host if port is None else f"{host}:{port}", parts.path, "", "").geturl()


def _body(response: httpx.Response, place: str, limits: DownloadLimits) -> bytes:
    try:
        body = Body(response.headers, limits.size)
        for piece in response.iter_raw():
            body.add(piece)
        return body.end()
    except BodyError as error:
        raise InputError(f"{place}: {error}") from None


def _retry_after(response: httpx.Response) -> float | None:
    """Return the wait (s) that the server requests (RFC 9110, 10.2.3, without its form as a date)."""
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_WAIT) if asked.isdecimal() else None
