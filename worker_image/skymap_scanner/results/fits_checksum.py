"""DATASUM and CHECKSUM of a FITS HDU (FITS standard 4.0, section 4.4.2.7 and appendix J).

astropy needs the whole data for them; here they may come in pieces.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from astropy.io import fits

#: Characters of ASCII between digits, capitals and small letters, which a checksum must not contain.
PUNCTUATION = frozenset(b":;<=>?@[\\]^_`")


def sum_words(pieces: Iterable[bytes]) -> int:
    """Return the ones' complement sum of big-endian words of 32 bits; each piece has whole words."""
    total = sum(int(np.frombuffer(piece, ">u4").sum(dtype=np.uint64)) for piece in pieces)
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def add_checksums(header: fits.Header, datasum: int) -> None:
    """Add DATASUM and CHECKSUM to a header that is otherwise complete; ``datasum`` is `sum_words` of the data."""
    header["DATASUM"] = (str(datasum), "Checksum of the data")
    header["CHECKSUM"] = ("0" * 16, "Checksum of the HDU")
    total = sum_words([header.tostring().encode("ascii"), datasum.to_bytes(4, "big")])
    header["CHECKSUM"] = (encode_checksum(total ^ 0xFFFFFFFF), "Checksum of the HDU")


def encode_checksum(value: int) -> str:
    """Return 16 letters and digits whose words sum up to ``value``, above those of 16 zeros."""
    columns = [_spread(byte) for byte in value.to_bytes(4, "big")]
    letters = bytes(columns[column][row] for row in range(4) for column in range(4))
    return (letters[-1:] + letters[:-1]).decode("ascii")  # the value of the card begins at the last byte of a word


def _spread(byte: int) -> list[int]:
    """Return four letters or digits whose distances from ``0`` sum up to ``byte``."""
    letters = [byte // 4 + ord("0")] * 4
    letters[0] += byte % 4
    while PUNCTUATION.intersection(letters):
        for first in (0, 2):
            if PUNCTUATION.intersection(letters[first : first + 2]):
                letters[first] += 1
                letters[first + 1] -= 1
    return letters
