"""URLs of brokers, and the credentials of a Pulsar broker: paths of files, never the secrets themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from skymap_api.limited_file import read_limited
from skymap_api.text import LONGEST_SECRET, is_token
from skymap_scanner.errors import InputError

#: Environment variable with the token, if no file is given.
TOKEN_VARIABLE = "SKYMAP_AUTH_TOKEN"  # noqa: S105 - the name of a variable

#: Port of a Pulsar broker if its URL names none.
PORTS = {"pulsar": 6650, "pulsar+ssl": 6651}

_EMBEDDED = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Access:
    """What it takes to reach a broker besides its URL; the embedded broker needs nothing.

    ``token_file``: a file with a token (JWT), read at every connection, so that the token may be renewed; without it
    the environment variable ``SKYMAP_AUTH_TOKEN`` may hold the token. ``trusted``: certificates (PEM) to trust instead
    of the system's. ``certificate``, ``key``: our TLS client certificate and its private key (PEM).
    """

    admin_url: str | None = None
    token_file: Path | None = None
    trusted: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def token(self) -> str | None:
        """Return the token, or None if there is none; raises InputError if it cannot be read or is not a token."""
        if self.token_file is None:
            source, token = TOKEN_VARIABLE, os.environ.get(TOKEN_VARIABLE, "")
            if not token:
                return None
        else:
            source = str(self.token_file)
            try:
                with self.token_file.open("rb") as file:
                    token = read_limited(file, LONGEST_SECRET).decode("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"cannot read the token in {source}: {error}") from error
            if not token:
                raise InputError(f"{source} is empty: it must hold the token")
        if not is_token(token):
            raise InputError(f"{source} holds a character that no token has, such as a blank or an umlaut")
        return token

    def admin_url_beside(self, url: str) -> str:
        """Return the URL of the admin REST interface: the given one, or the default port on the host of ``url``.

        Raises InputError if ``url`` has no host.
        """
        if self.admin_url is not None:
            return self.admin_url.rstrip("/")
        host, _, encrypted = split_url(url)
        scheme, port = ("https", 8443) if encrypted else ("http", 8080)
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def split_url(url: str) -> tuple[str, int, bool]:
    """Return host, port and whether the connection is encrypted, from the URL of a broker; raises InputError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS[parts.scheme]
        (host or "").encode("idna")  # raises where no name server could know it
        more = parts.path.strip("/") or parts.query or parts.fragment or "@" in url
    except (ValueError, KeyError):
        host, port, more = None, 0, True
    if not host or more:
        raise InputError(f"broker {_without_user(url)!r}: write pulsar://HOST:6650 or pulsar+ssl://HOST:6651")
    return host, port, parts.scheme == "pulsar+ssl"


def _without_user(url: str) -> str:
    """Return the URL without the part before an @, which could be a secret."""
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def is_embedded(url: str) -> bool:
    """Return whether the URL names an embedded broker: a file on this machine."""
    return url.lower().startswith("sqlite:")


def embedded_url(path: Path) -> str:
    """Return the URL of the embedded broker in the file at ``path``."""
    return f"{_EMBEDDED}{path.absolute()}"


def path_of_url(url: str) -> Path:
    """Return the path in ``sqlite:///PATH``, taken literally, as SQLAlchemy does.

    Raises InputError if the URL names no file.
    """
    path = url.removeprefix(_EMBEDDED)
    if path == url or path in {"", ":memory:"} or "\0" in path:
        raise InputError(f"broker {url!r}: write sqlite:///PATH for a file (four slashes: an absolute path)")
    return Path(path)
