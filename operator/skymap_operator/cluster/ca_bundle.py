"""The certificate authorities that the operator trusts for the API server."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

#: How often the file is checked for a change (s).
INTERVAL = 60.0


class CaBundle:
    """Loads a CA bundle again when its file changes: clusters renew their certificate authority.

    Certificates that the file no longer holds stay trusted until the process ends.
    """

    def __init__(self, file: str | None, context: ssl.SSLContext) -> None:
        self._file = file
        self._context = context
        self._stamp = self._read_stamp()
        self._checked = time.monotonic()

    def refresh(self) -> None:
        """Load the file if it has changed; look at most every `INTERVAL` seconds."""
        if time.monotonic() - self._checked < INTERVAL:
            return
        self._checked = time.monotonic()
        stamp = self._read_stamp()
        if stamp is not None and stamp != self._stamp:
            self._context.load_verify_locations(self._file)
            self._stamp = stamp

    def _read_stamp(self) -> tuple[int, int] | None:
        try:
            found = Path(self._file).stat() if self._file else None
        except OSError:
            return None
        return None if found is None else (found.st_mtime_ns, found.st_ino)
