"""The operator's credentials for Pulsar: a token, and certificates that are read again when their files change.

The token is in a file, or the operator signs it with Pulsar's secret key.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from skymap_api.limited_file import read_limited
from skymap_api.pulsar_admin import PulsarAdminError
from skymap_api.text import LONGEST_SECRET, is_token
from skymap_operator.pulsar.tokens import read_key, sign
from skymap_operator.tls import TlsFiles

#: Lifetime of a token that is signed for one request (s): long enough for clocks that differ by minutes.
REQUEST_TOKEN = 3600.0


@dataclass(frozen=True, slots=True)
class Signer:
    """The file with Pulsar's secret key, the role that the operator has there, and the time."""

    key: Path
    role: str
    now: Callable[[], datetime]

    def token(self) -> str:
        """Return a token for one request; raises PulsarAdminError if the file holds no key."""
        return sign(read_key(self.key), self.role, self.now().timestamp() + REQUEST_TOKEN)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files: a token, certificates to trust (PEM), and our own certificate with its key (PEM).

    ``signer``: signs the token where there is no file with one.
    """

    token: Path | None = None
    trusted: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    signer: Signer | None = None

    def headers(self) -> dict[str, str]:
        """Return the header with the token as it is now. Raises PulsarAdminError if it is unreadable or not a token."""
        if self.token is None:
            return {} if self.signer is None else {"Authorization": f"Bearer {self.signer.token()}"}
        try:
            with self.token.open("rb") as file:
                token = read_limited(file, LONGEST_SECRET).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PulsarAdminError(f"cannot read the token in {self.token}: {error}") from error
        if not token:
            raise PulsarAdminError(f"{self.token} is empty: it should hold the operator's token for Pulsar")
        if not is_token(token):
            raise PulsarAdminError(f"{self.token} holds a character that no token has, such as a blank or an umlaut")
        return {"Authorization": f"Bearer {token}"}


class Tls:
    """The TLS context of a client. Certificates that cannot be used raise PulsarAdminError, also in `reload`."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        with self._usable():
            plain = credentials.trusted is None and credentials.certificate is None
            self.context = _system_context() if plain else ssl.create_default_context(cafile=credentials.trusted)
            self._files = TlsFiles(self.context, credentials.trusted, credentials.certificate, credentials.key)

    def reload(self) -> None:
        """Load the files if they have changed."""
        with self._usable():
            self._files.reload()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            files = (self._credentials.trusted, self._credentials.certificate, self._credentials.key)
            names = ", ".join(str(path) for path in files if path is not None)
            raise PulsarAdminError(f"cannot use the certificates in {names}: {error}") from error


@cache
def _system_context() -> ssl.SSLContext:
    """Return the context that trusts the system's certificates. Loading them takes longer than a request."""
    return ssl.create_default_context()
