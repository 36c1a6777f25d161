"""The body of an HTTP answer from a server that nobody vouches for: raw bytes in, the decoded body out, within a limit.

A client library decodes for its caller, and so makes all that a server claims: 2.6 kB of ``Content-Encoding: gzip,
gzip`` become gigabytes. Every client here therefore reads raw bytes and passes them on to a `Body`. Its connections
limit the time and the headers.

Nothing here does I/O.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

#: What clients accept (header Accept-Encoding).
ACCEPTED: Final = "gzip, identity"

#: Input of one step of the decoder (bytes). At the end of a gzip member, what is left of it is copied; deflate makes at
#: most 1032 bytes of one.
_STEP: Final = 4096


class BodyError(Exception):
    """A body is too long or its encoding is not decoded. The message has none of the server's words but the encoding's.

    It reads on after the name of the server and a colon.
    """


class Body:
    """Collects the body of one answer with these headers (names in lower case or case-insensitive).

    ``limit``: most bytes, of the raw as of the decoded body. Raises BodyError, here if the headers already rule the
    body out.
    """

    def __init__(self, headers: Mapping[str, str], limit: int) -> None:
        self._limit = limit
        self._raw = 0
        self._decoded = bytearray()
        declared = headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
            raise self._too_long()
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise BodyError(f"the server encodes the content as {encoding[:40]!r}: only gzip is decoded")
        self._gzip = _Gzip() if encoding.endswith("gzip") else None

    def add(self, piece: bytes) -> None:
        """Add raw bytes as they arrive."""
        self._raw += len(piece)
        if self._raw > self._limit:
            raise self._too_long()
        if self._gzip is None:
            self._decoded += piece
            return
        for start in range(0, len(piece), _STEP):
            step = piece[start : start + _STEP]
            while step or self._gzip.pending:
                self._decoded += self._gzip.decode(step, self._limit + 1 - len(self._decoded))
                step = b""
                if len(self._decoded) > self._limit:
                    raise self._too_long()

    def end(self) -> bytes:
        """Return the decoded body; it is complete."""
        if self._gzip is not None:
            self._gzip.check_end()
        return bytes(self._decoded)

    def _too_long(self) -> BodyError:
        return BodyError(f"more than the {self._limit} bytes allowed")


class _Gzip:
    """Decodes gzip members, one after the other (RFC 1952, 2.2)."""

    def __init__(self) -> None:
        self._member = _member()
        self._between = True
        #: Input that the next call decodes: another member follows in it.
        self.pending = b""

    def decode(self, data: bytes, longest: int) -> bytes:
        """Return at most ``longest`` bytes, 1 or more; raises BodyError if the input is not gzip."""
        try:
            piece = self._member.decompress(self.pending + data, longest)
        except zlib.error:
            raise BodyError("the server says that the content is encoded as gzip, and it is not, or damaged") from None
        self._between = self._member.eof
        if self._member.eof:
            self.pending, self._member = self._member.unused_data, _member()
        else:
            self.pending = self._member.unconsumed_tail
        return piece

    def check_end(self) -> None:
        """Raise BodyError in the middle of a member. No member at all is an empty body."""
        if not self._between:
            raise BodyError("the content ends in the middle of its gzip encoding")


def _member() -> zlib._Decompress:
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
