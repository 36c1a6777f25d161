"""What the operator shows to Pulsar: a token, and certificates that are read again when their files change."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from skymap_api.pulsar_admin import PulsarAdminError


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files: a token, certificates to trust (PEM), and our own certificate with its key (PEM)."""

    token: Path | None = None
    trusted: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def headers(self) -> dict[str, str]:
        """Return the header with the token as it is now.

        Raises
        ------
        PulsarAdminError
            If the file cannot be read or is empty.
        """
        if self.token is None:
            return {}
        try:
            token = self.token.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PulsarAdminError(f"cannot read the token in {self.token}: {error}") from error
        if not token:
            raise PulsarAdminError(f"{self.token} is empty: it should hold the operator's token for Pulsar")
        return {"Authorization": f"Bearer {token}"}


class Tls:
    """The TLS context of a client. A renewed certificate serves every connection that is opened after it.

    A certificate that is no longer among those to trust stays trusted until the operator restarts.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._files = [
            path for path in (credentials.trusted, credentials.certificate, credentials.key) if path is not None
        ]
        self._loaded: list[tuple[int, int, int]] = []
        self.context = self._context()
        self.reload()

    def _context(self) -> ssl.SSLContext:
        """Return a context that trusts the given certificates, or else those of the system."""
        try:
            return ssl.create_default_context(cafile=self._credentials.trusted)
        except (OSError, ssl.SSLError) as error:
            raise self._unusable(error) from error

    def reload(self) -> None:
        """Load the files if they have changed.

        Raises
        ------
        PulsarAdminError
            If they cannot be used.
        """
        try:
            stats = [path.stat() for path in self._files]
            found = [(one.st_ino, one.st_mtime_ns, one.st_size) for one in stats]
            if found == self._loaded:
                return
            if self._credentials.trusted is not None:
                self.context.load_verify_locations(self._credentials.trusted)
            if self._credentials.certificate is not None:
                self.context.load_cert_chain(self._credentials.certificate, self._credentials.key)
        except (OSError, ssl.SSLError) as error:
            raise self._unusable(error) from error
        self._loaded = found

    def _unusable(self, error: Exception) -> PulsarAdminError:
        return PulsarAdminError(f"cannot use the certificates in {', '.join(map(str, self._files))}: {error}")
