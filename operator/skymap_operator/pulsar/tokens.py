"""Tokens for Pulsar: JSON web tokens (RFC 7519) that the operator signs with Pulsar's secret key, by HMAC-SHA256.

With them every role of every scan has an identity of its own in Pulsar, which may do what `skymap_api.permissions`
lists and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from pathlib import Path

from skymap_api.names import JOB_ROLES, WORKER
from skymap_api.pulsar_admin import PulsarAdminError

#: Roles of a scan that have a token.
ROLES = (*JOB_ROLES, WORKER)

#: Shortest key (bytes): RFC 7518, section 3.2. Pulsar rejects shorter ones, too.
SHORTEST_KEY = 32
#: Longest file that may be a key (bytes).
LONGEST_KEY = 4096


def subject(uid: str, role: str) -> str:
    """Return the name in Pulsar of a role of the scan with this uid."""
    return f"scan-{uid}-{role}"


def subjects(uid: str) -> dict[str, str]:
    """Return the names in Pulsar of all roles of a scan, by role."""
    return {role: subject(uid, role) for role in ROLES}


def read_key(path: Path) -> bytes:
    """Return the secret key in a file; raises PulsarAdminError if it is none."""
    try:
        with path.open("rb") as file:
            key = file.read(LONGEST_KEY + 1)
    except OSError as error:
        raise PulsarAdminError(f"cannot read the key for Pulsar's tokens in {path}: {error.strerror}") from error
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise PulsarAdminError(
            f"{path} is no secret key for Pulsar's tokens: it must have {SHORTEST_KEY} to {LONGEST_KEY} bytes, as "
            "`pulsar tokens create-secret-key` writes them"
        )
    return key


def sign(key: bytes, name: str, expires: float | None = None) -> str:
    """Return a token for the role ``name``, valid until ``expires`` (s since 1970), or for ever."""
    claims: dict[str, object] = {"sub": name}
    if expires is not None:
        claims["exp"] = int(expires)
    parts = (json.dumps(part, separators=(",", ":")).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    signed = ".".join(map(_base64, parts))
    return f"{signed}.{_base64(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def sign_all(key: bytes, uid: str, expires: float, roles: Iterable[str] = ROLES) -> dict[str, str]:
    """Return a token for each role of a scan, valid until ``expires`` (s since 1970)."""
    return {role: sign(key, subject(uid, role), expires) for role in roles}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
