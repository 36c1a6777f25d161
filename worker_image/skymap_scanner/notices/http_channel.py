"""Sends documents by POST, signed as Standard Webhooks say (https://www.standardwebhooks.com).

The signature covers the idempotency key, the time and the body. Redirects are not followed, and of an answer only the
status counts: its body is never read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http.client import responses

import httpx

from skymap_scanner import __version__
from skymap_scanner.bounded_http import Deadline, OverdueError, Transport, trusted
from skymap_scanner.errors import InputError
from skymap_scanner.notices.channel import NotDelivered, Undeliverable
from skymap_scanner.notices.destination import TRUSTED_VARIABLE, Destination
from skymap_scanner.notices.documents import MEDIA_TYPES
from skymap_scanner.notices.outbox import Entry

#: Status codes after which another attempt may succeed, beside all of 5xx.
_RETRYABLE = {408, 425, 429}
#: Longest wait that a server may request (Retry-After), s.
_LONGEST_WAIT = 60.0


class HttpChannel:
    """Posts to a URL; ``clock`` gives the time (s, Unix) in the signature.

    Raises InputError if the certificates that the destination or the environment names cannot be used.
    """

    def __init__(self, destination: Destination, clock: Callable[[], float] = time.time) -> None:
        self._destination = destination
        self._clock = clock
        self._context = _trusted(destination.trusted)

    def send(self, entry: Entry, seconds: float) -> None:
        """Send a document once; see `Channel`."""
        try:
            status, wait = self._post(entry, seconds)
        except (OverdueError, TimeoutError):
            raise NotDelivered(f"no answer within {seconds:g} s") from None
        except (httpx.InvalidURL, UnicodeError):
            raise Undeliverable("its address is not one that a server can have") from None
        except httpx.TransportError as error:
            raise NotDelivered(str(error) or type(error).__name__) from None
        # Not the server's own words, which may repeat what was sent to it.
        said = f"the server answered {status} {responses.get(status, '')}".rstrip()
        if 200 <= status < 300:
            return
        if status in _RETRYABLE or status >= 500:
            raise NotDelivered(said, wait)
        if 300 <= status < 400:
            raise Undeliverable(f"{said}: redirects are not followed, so give the address to which it leads")
        raise Undeliverable(said)

    def _post(self, entry: Entry, seconds: float) -> tuple[int, float | None]:
        """Return the status, and the wait (s) that the server asks for.

        Not through httpx.Client, which would log the address.
        """
        body = entry.document.encode()
        headers = self._headers(entry.key, body)
        limits = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        request = httpx.Request(
            "POST", self._destination.address, headers=headers, content=body, extensions={"timeout": limits}
        )
        # http:// leads to this machine alone: past a proxy, which would see what no TLS protects.
        deadline = Deadline(time.monotonic() + seconds)
        transport = Transport(deadline, context=self._context, direct=request.url.scheme == "http")
        try:
            response = transport.handle_request(request)
            response.close()
        finally:
            transport.close()
        return response.status_code, self._wait(response.headers.get("Retry-After", ""))

    def _wait(self, asked: str) -> float | None:
        """Return the wait (s) of a header Retry-After, in seconds or as a date; None if it is neither."""
        try:
            wait = float(asked) if asked.isdecimal() else parsedate_to_datetime(asked).timestamp() - self._clock()
        except (ValueError, OverflowError):
            return None
        return min(max(wait, 0.0), _LONGEST_WAIT)

    def _headers(self, key: str, body: bytes) -> dict[str, str]:
        headers = {
            "Content-Type": MEDIA_TYPES[self._destination.kind],
            "User-Agent": f"skymap-scanner/{__version__}",
            "Accept-Encoding": "identity",
        }
        if self._destination.secret is not None:
            moment = str(int(self._clock()))
            signed = signature(self._destination.secret, key, moment, body)
            headers |= {"webhook-id": key, "webhook-timestamp": moment, "webhook-signature": signed}
            headers["Idempotency-Key"] = key
        return headers


def _trusted(path: str | None) -> ssl.SSLContext:
    """Return what TLS trusts: what the environment names, and the certificates in a file."""
    context = trusted()
    if path is not None:
        try:
            context.load_verify_locations(path)
        except OSError as error:  # also ssl.SSLError
            reason = error.strerror or "it holds no certificates"
            raise InputError(f"{TRUSTED_VARIABLE}: cannot use {path}: {reason}") from error
    return context


def signature(secret: bytes, key: str, moment: str, body: bytes) -> str:
    """Return the header ``webhook-signature``: HMAC-SHA256 of key, time (s, Unix) and body, joined by dots."""
    digest = hmac.new(secret, b".".join([key.encode(), moment.encode(), body]), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
