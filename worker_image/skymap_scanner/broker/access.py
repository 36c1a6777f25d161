"""Addresses and credentials of a Pulsar broker: paths of files, never the secrets themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from skymap_scanner.errors import InputError

#: Environment variable with the token, if no file is given.
TOKEN_VARIABLE = "SKYMAP_AUTH_TOKEN"  # noqa: S105 - the name of a variable

#: Scheme and port of the admin REST interface for each scheme of the broker.
ADMIN = {"pulsar": ("http", 8080), "pulsar+ssl": ("https", 8443)}


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
        """Return the token, or None if there is none.

        Raises
        ------
        InputError
            If the file cannot be read or is empty.
        """
        if self.token_file is None:
            return os.environ.get(TOKEN_VARIABLE) or None
        try:
            token = self.token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read the token in {self.token_file}: {error}") from error
        if not token:
            raise InputError(f"{self.token_file} is empty: it must hold the token")
        return token

    def admin_url_beside(self, url: str) -> str:
        """Return the URL of the admin REST interface: the given one, or the default port on the host of ``url``.

        Raises
        ------
        InputError
            If ``url`` has no host.
        """
        if self.admin_url is not None:
            return self.admin_url.rstrip("/")
        parts = urlsplit(url)
        if not parts.hostname or parts.scheme not in ADMIN:
            raise InputError(f"broker {url!r}: write pulsar://HOST:6650 or pulsar+ssl://HOST:6651")
        scheme, port = ADMIN[parts.scheme]
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{scheme}://{host}:{port}"
