"""Credentials for the server of an event, and the limits of a download; importing this does not import httpx.

Credentials come from the environment or from files that it names, never from the command line or a URL: both end in
process lists, histories and logs.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from skymap_api.addresses import Addresses
from skymap_api.text import is_token
from skymap_scanner.errors import InputError
from skymap_scanner.secret import secret_of

#: Environment variable with the addresses that are allowed, separated by blanks or commas.
ADDRESSES_VARIABLE = "SKYMAP_EVENT_ADDRESSES"


@dataclass(frozen=True)
class Credentials:
    """Credentials for a server: a bearer token, or user and password. ``repr`` shows neither."""

    token: str | None = field(default=None, repr=False)
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Credentials | None:
        """Read SKYMAP_EVENT_TOKEN, or SKYMAP_EVENT_USER and SKYMAP_EVENT_PASSWORD; None when nothing is set.

        Each may instead be given as NAME_FILE, the path of a file whose content (without the last newline) it is.
        Raises InputError when a file cannot be read, or the variables contradict or need each other; names the
        variable.
        """
        token, user, password = (
            secret_of(environment, f"SKYMAP_EVENT_{name}") for name in ("TOKEN", "USER", "PASSWORD")
        )
        if token is None and user is None and password is None:
            return None
        if token is not None and (user is not None or password is not None):
            raise InputError("SKYMAP_EVENT_TOKEN excludes SKYMAP_EVENT_USER and SKYMAP_EVENT_PASSWORD: set one kind")
        if token is None and (user is None or password is None):
            raise InputError("SKYMAP_EVENT_USER and SKYMAP_EVENT_PASSWORD must be set together")
        if token is not None and not is_token(token):
            raise InputError("SKYMAP_EVENT_TOKEN holds a character that no token has, such as a blank or an umlaut")
        return cls(token, user, password)

    @property
    def authorization(self) -> str:
        """The value of the Authorization header (RFC 6750 for a token, else RFC 7617)."""
        if self.token is not None:
            return f"Bearer {self.token}"
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


def allowed_addresses(environment: Mapping[str, str]) -> Addresses:
    """Read the addresses from which events may be fetched; every address if nothing is set.

    Raises InputError if the variable names something else.
    """
    try:
        return Addresses.parse(environment.get(ADDRESSES_VARIABLE, ""))
    except ValueError as error:
        raise InputError(f"{ADDRESSES_VARIABLE}: {error}") from error


@dataclass(frozen=True)
class DownloadLimits:
    """Limits of a download."""

    #: Maximum size, bytes.
    size: int = 512 * 2**20
    #: Seconds without a byte, or to connect, before an attempt fails.
    idle_timeout: float = 30.0
    #: Maximum total time, s: attempts, redirects and the pauses between them.
    duration: float = 600.0
    #: Maximum number of attempts.
    attempts: int = 5
    #: Seconds before the second attempt; doubled before each further one.
    backoff: float = 0.5
