"""Reads columns of binary tables of FITS files that somebody else wrote (FITS standard 4.0, section 7.3).

Every size that a header states is checked against the file before anything is made of it. astropy parses the header;
the columns are views of the file's bytes, of which only those asked for are copied.
"""

from __future__ import annotations

import gzip
import re
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from skymap_api.limited_file import read_limited
from skymap_scanner.errors import InputError
from skymap_scanner.results.fits_files import FITS_BLOCK

#: Largest size of a file, decompressed (bytes): a flat map of nside 2048 with two columns of float64.
MAX_BYTES = 2**30
#: Longest header (bytes), and most HDUs and columns that are looked at.
MAX_HEADER, MAX_HDUS, MAX_COLUMNS = 2**20, 100, 999
#: Bytes of an element by the letter of its TFORM; bits (X) are counted apart.
SIZES = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
#: Those that are numbers, as numpy names them.
NUMBERS = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}


@dataclass(frozen=True)
class _Column:
    kind: str
    repeat: int
    offset: int
    unit: str
    scaled: bool


@dataclass(frozen=True)
class Table:
    """One binary table: its header, and the bytes of its rows, uint8 (rows, bytes)."""

    header: fits.Header
    rows: NDArray[np.uint8]
    columns: dict[str, _Column]

    def numbers(self, name: str) -> NDArray[Any]:
        """Return a column (names are in capitals); rows of several numbers follow one another.

        Raises InputError if it does not hold numbers as they are.
        """
        column = self.columns[name]
        if column.kind not in NUMBERS or column.scaled:
            raise InputError(f"column {name}: expected numbers without TSCAL and TZERO")
        dtype = np.dtype(NUMBERS[column.kind])
        raw = self.rows[:, column.offset : column.offset + column.repeat * dtype.itemsize]
        return np.ascontiguousarray(raw).view(dtype).astype(dtype.newbyteorder("=")).ravel()

    def texts(self, name: str) -> list[str]:
        """Return a column of texts; raises InputError if it holds none."""
        column = self.columns[name]
        if column.kind != "A" or column.repeat == 0:
            raise InputError(f"column {name}: expected texts")
        raw = np.ascontiguousarray(self.rows[:, column.offset : column.offset + column.repeat])
        return [text.decode("ascii", errors="replace").strip() for text in raw.view(f"S{column.repeat}").ravel()]

    def unit(self, name: str) -> str:
        """Return the unit of a column, empty if it states none."""
        return self.columns[name].unit

    def text(self, key: str) -> str:
        """Return a card as text, empty if there is none."""
        return str(_card(self.header, key, "")).strip()

    def number(self, key: str) -> int | None:
        """Return a card that holds an integer, or None."""
        value = _card(self.header, key, None)
        return value if type(value) is int else None


def is_fits(content: bytes) -> bool:
    """Return whether a file begins as FITS, or as a file compressed by gzip."""
    return content.startswith((b"SIMPLE  =", b"\x1f\x8b"))


def read_fits(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Read a file, decompressed if it is compressed by gzip; raises InputError if it is larger than ``limit`` bytes."""
    try:
        with path.open("rb") as file:
            if not file.peek(2).startswith(b"\x1f\x8b"):
                return read_limited(file, limit)
            with gzip.open(file) as unpacked:
                return read_limited(unpacked, limit)  # type: ignore[arg-type] # GzipFile reads as BinaryIO
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def tables(content: bytes) -> Iterator[Table]:
    """Yield the binary tables of a FITS file; raises InputError if it is damaged."""
    place = 0
    for _ in range(MAX_HDUS):
        if place >= len(content):
            return
        header, place = _header(content, place)
        shape = [_size(header, f"NAXIS{axis}") for axis in range(1, min(_size(header, "NAXIS"), MAX_COLUMNS) + 1)]
        width = abs(int(_whole(header, "BITPIX"))) // 8
        elements = int(np.prod(shape, dtype=object)) if shape else 0
        size = width * _size(header, "GCOUNT", 1) * (_size(header, "PCOUNT", 0) + elements)
        if size > len(content) - place:
            raise InputError(f"the header states more data than the {len(content) - place} bytes that follow: cut off?")
        if _card(header, "XTENSION", "") == "BINTABLE" and len(shape) == 2 and width == 1:
            yield Table(header, _rows(header, content, place, *shape), _columns(header, shape[0]))
        place += -(-size // FITS_BLOCK) * FITS_BLOCK


def _rows(header: fits.Header, content: bytes, place: int, width: int, rows: int) -> NDArray[np.uint8]:
    """Return the rows of a table (rows, width); raises InputError if the header states an impossible shape."""
    if max(width, rows) > len(content) or (rows and not width) or _size(header, "GCOUNT", 1) != 1:
        raise InputError(f"impossible sizes: {rows} rows of {width} bytes, GCOUNT {_size(header, 'GCOUNT', 1)}")
    return np.frombuffer(content, np.uint8, width * rows, place).reshape(rows, width)


def _header(content: bytes, place: int) -> tuple[fits.Header, int]:
    """Parse the header at a place, and return where its data begin."""
    for end in range(place + FITS_BLOCK, min(len(content), place + MAX_HEADER) + 1, FITS_BLOCK):
        block = content[end - FITS_BLOCK : end]
        if any(block[card : card + 80].rstrip() == b"END" for card in range(0, FITS_BLOCK, 80)):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # what is not standard matters only in the cards that are used
                    return fits.Header.fromstring(content[place:end]), end
            except Exception as error:  # astropy raises almost anything
                raise InputError(f"damaged header ({error})") from error
    raise InputError(f"no end of a header within {MAX_HEADER} bytes: not FITS, or damaged")


def _card(header: fits.Header, key: str, missing: Any) -> Any:
    """Return the value of a card; raises InputError if it cannot be parsed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return header.get(key, missing)
    except Exception as error:  # astropy raises almost anything
        raise InputError(f"damaged card {key} ({error})") from error


def _whole(header: fits.Header, key: str, missing: int | None = None) -> int:
    value = _card(header, key, missing)
    if type(value) is not int:
        raise InputError(f"{key} is {str(value)[:50]!r}, not a whole number")
    return value


def _size(header: fits.Header, key: str, missing: int | None = None) -> int:
    value = _whole(header, key, missing)
    if value < 0:
        raise InputError(f"{key} is {value}: it must not be negative")
    return value


def _columns(header: fits.Header, width: int) -> dict[str, _Column]:
    """Return the named columns of a table, whose rows have ``width`` bytes."""
    columns: dict[str, _Column] = {}
    offset = 0
    for number in range(1, min(_size(header, "TFIELDS"), MAX_COLUMNS) + 1):
        form = str(_card(header, f"TFORM{number}", "")).strip()
        match = re.match(r"(\d{0,9})([A-Z])", form, re.ASCII)
        if match is None or match[2] not in {*SIZES, "X"}:
            raise InputError(f"TFORM{number} is {form[:50]!r}, not the form of a column")
        repeat, kind = int(match[1] or 1), match[2]
        name = str(_card(header, f"TTYPE{number}", "")).strip().upper()
        scaled = _card(header, f"TSCAL{number}", 1) != 1 or _card(header, f"TZERO{number}", 0) != 0
        unit = str(_card(header, f"TUNIT{number}", "")).strip()
        columns.setdefault(name, _Column(kind, repeat, offset, unit, scaled))
        offset += (repeat + 7) // 8 if kind == "X" else repeat * SIZES[kind]
        if offset > width:
            raise InputError(f"column {number} ends at byte {offset} of rows of {width}")
    return columns
