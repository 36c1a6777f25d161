"""The certificate with which the server proves who it is; loaded again when its files change."""

from __future__ import annotations

import logging
import ssl
import time
from pathlib import Path

from skymap_scanner.errors import InputError

log = logging.getLogger(__name__)

#: Time between two checks whether the files have changed (s).
CHECK_INTERVAL = 10.0


class ServingCertificate:
    """A certificate chain and its key (PEM); raises InputError if they cannot be used.

    A renewed pair that cannot be used is logged, and the former one stays.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._files = certificate, key
        self._checked = time.monotonic()
        try:
            self._loaded = self._load()
        except OSError as error:  # also ssl.SSLError
            raise InputError(
                f"the certificate in {certificate} with the key in {key} cannot be used: {error}"
            ) from error

    def reload(self) -> None:
        """Load the files if they have changed; they are checked now and then."""
        if time.monotonic() - self._checked < CHECK_INTERVAL:
            return
        self._checked = time.monotonic()
        try:
            if self._times() != self._loaded:
                self._loaded = self._load()
        except OSError as error:
            log.warning("the renewed certificate cannot be used: %s", error)

    def _load(self) -> tuple[int, ...]:
        times = self._times()
        self.context.load_cert_chain(*self._files)
        return times

    def _times(self) -> tuple[int, ...]:
        return tuple(path.stat().st_mtime_ns for path in self._files)
