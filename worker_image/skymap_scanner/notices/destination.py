"""Where notices go: ``webhook=URL``, ``cloudevents=URL``, ``slack`` or ``gcn``, and the secrets that each needs.

Secrets, and addresses that are secrets themselves, come from the environment or from files that it names.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from skymap_scanner.errors import InputError
from skymap_scanner.notices.documents import DOCUMENTS
from skymap_scanner.secret import secret_of

#: Environment variables (each may be NAME_FILE): the addresses of each kind, and the secret that signs.
URL_VARIABLES = {kind: f"SKYMAP_NOTIFY_{kind.upper()}_URL" for kind in ("webhook", "cloudevents", "slack")}
SECRET_VARIABLE = "SKYMAP_NOTIFY_SECRET"  # noqa: S105 - a name
#: Environment variable with the path of CA certificates (PEM) that are trusted beside the system's.
TRUSTED_VARIABLE = "SKYMAP_NOTIFY_TRUSTED_FILE"
#: Shortest secret that signs (bytes), as Standard Webhooks demand.
SHORTEST_SECRET = 24

_TOPIC = re.compile(r"gcn\.notices(\.[a-z0-9_]{1,60}){1,6}")


@dataclass(frozen=True)
class Destination:
    """One destination; ``label`` names it in the outbox and in messages, and ``repr`` shows no more than that.

    ``address``: a URL; for GCN a topic, or empty for GCN's own. ``secret``: the bytes that sign; None where nothing is
    signed. ``trusted``: file with CA certificates (PEM) that are trusted, too.
    """

    kind: str
    label: str
    address: str = field(repr=False)
    secret: bytes | None = field(default=None, repr=False)
    trusted: str | None = field(default=None, repr=False)


def parse_destination(text: str, environment: Mapping[str, str]) -> Destination:
    """Read a destination as users give it; raises InputError if it, or what it needs of the environment, is invalid."""
    read = parse_kind(text)
    if read.kind == "gcn":
        return read
    kind, address = read.kind, text.partition("=")[2]
    if kind == "slack" and address:
        raise InputError(
            f"whoever knows the address of a chat's webhook can post there: put it in {URL_VARIABLES[kind]}, or in a "
            f"file that {URL_VARIABLES[kind]}_FILE names, and give only {kind}"
        )
    if address and "?" in address:
        raise InputError(f"a query may hold a secret: put the address in {URL_VARIABLES[kind]}, and give only {kind}")
    url = address or secret_of(environment, URL_VARIABLES[kind])
    if not url:
        raise InputError(f"the address of {kind} is not known: set {URL_VARIABLES[kind]} or {URL_VARIABLES[kind]}_FILE")
    _check_url(kind, url)
    secret = None if kind == "slack" else _signing_secret(environment)
    return Destination(kind, text, url, secret, environment.get(TRUSTED_VARIABLE) or None)


def parse_kind(text: str) -> Destination:
    """Read a destination without its URL and secret; raises InputError for an unknown kind or an invalid topic."""
    kind, equals, address = text.partition("=")
    if kind not in DOCUMENTS or (equals and not address):
        raise InputError(f"{kind!r} is no destination of notices: give one of {', '.join(DOCUMENTS)}")
    if kind != "gcn":
        return Destination(kind, text, "")
    if address and not _TOPIC.fullmatch(address):
        raise InputError("gcn=TOPIC: the topics of GCN are such as gcn.notices.icecube.gold_bronze_track_alerts")
    return Destination(kind, text, address)


def is_loopback(host: str) -> bool:
    """Return whether a host is ``localhost`` or a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url_parts(url: str) -> SplitResult | None:
    """Return the parts of a URL; None if it has no host, an impossible port, a space or a control character."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts if host and url.isprintable() and " " not in url else None


def is_safe_url(url: str) -> bool:
    """Return whether requests to a URL are encrypted (https) or stay on this machine (http to a loopback address)."""
    parts = url_parts(url)
    return parts is not None and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    )


def _check_url(kind: str, url: str) -> None:
    """Raise InputError, without the URL, unless it is https, or http to this machine, and without credentials."""
    parts = url_parts(url)
    if parts is None or not url.isascii():
        raise InputError(f"the address of {kind} is not a valid URL")
    if parts.username is not None or parts.password is not None:
        raise InputError(f"the address of {kind} holds a user or password, which is not supported: use a signature")
    if not is_safe_url(url):
        raise InputError(f"the address of {kind} must begin with https:// (http:// is for this machine alone)")


def _signing_secret(environment: Mapping[str, str]) -> bytes:
    text = secret_of(environment, SECRET_VARIABLE)
    if text is None:
        raise InputError(
            f"notices are signed: set {SECRET_VARIABLE}, or {SECRET_VARIABLE}_FILE to a file with a secret"
        )
    secret = text.encode()
    if text.startswith("whsec_"):
        try:
            secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise InputError(f"{SECRET_VARIABLE} begins with whsec_, and the rest is not base64") from None
    if len(secret) < SHORTEST_SECRET:
        raise InputError(f"{SECRET_VARIABLE} is too short: a secret has {SHORTEST_SECRET} bytes or more")
    return secret
