"""TLS contexts whose certificates are loaded again when their files change: clusters renew them while we run."""

from __future__ import annotations

import ssl
from pathlib import Path


class TlsFiles:
    """PEM files of a TLS context: certificates to trust, our own certificate and its key.

    A renewed file applies to every connection opened after `reload`. A certificate that is no longer among those to
    trust stays trusted until the process ends.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        trusted: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self._context = context
        self._trusted, self._certificate, self._key = trusted, certificate, key
        self._files = [path for path in (trusted, certificate, key) if path is not None]
        self._loaded: list[tuple[int, int, int]] = []
        self.reload()

    def reload(self) -> None:
        """Load the files if they have changed. Raises OSError if one cannot be read or used."""
        stats = [path.stat() for path in self._files]
        found = [(one.st_ino, one.st_mtime_ns, one.st_size) for one in stats]
        if found == self._loaded:
            return
        if self._trusted is not None:
            self._context.load_verify_locations(self._trusted)
        if self._certificate is not None:
            self._context.load_cert_chain(self._certificate, self._key)
        self._loaded = found
