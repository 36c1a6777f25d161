"""Reads catalogues of sources: FITS, VOTable (TABLEDATA), CSV, TSV.

Columns are found by their usual names, such as those of 4FGL (Source_Name, RAJ2000, DEJ2000). Sizes are bounded before
anything is read, and XML may declare no entities.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import numpy as np

from skymap_api.limited_file import read_limited
from skymap_api.text import bounded_line, printable_line
from skymap_scanner.errors import InputError
from skymap_scanner.healpix import Floats
from skymap_scanner.results.fits_table import Table, is_fits, read_fits, tables

#: Largest catalogue as FITS, decompressed, and as text (bytes); most sources; longest name (characters).
MAX_FITS, MAX_TEXT, MAX_SOURCES, LONGEST_NAME = 2**28, 2**26, 10**6, 60
#: Longest line of CSV (characters), and most columns of a VOTable.
LONGEST_LINE, MAX_COLUMNS = 2**16, 999
#: Usual names of columns, in small letters and without anything but letters, digits and underscores. Those of VizieR
#: that begin with an underscore are in degrees where the others may not be.
NAMES = ("source_name", "name", "sourcename", "main_id", "source", "object", "objname", "designation", "id")
RAS = ("_raj2000", "raj2000", "_ra", "ra", "ra_icrs", "ra_deg", "radeg", "ra_j2000", "rightascension")
DECS = (
    *("_dej2000", "dej2000", "decj2000", "_de", "dec", "de_icrs", "dec_icrs", "dec_deg", "decdeg", "dedeg"),
    *("dec_j2000", "declination", "de"),
)


@dataclass(frozen=True)
class Catalogue:
    """Sources: ``names`` (n,), printable; ``ra``, ``dec`` (n,), deg, J2000. ``title`` is the name of the file."""

    title: str
    names: Sequence[str]
    ra: Floats
    dec: Floats


def read_catalogue(path: Path) -> Catalogue:
    """Read a catalogue; raises InputError if it is unreadable, too large, damaged or without positions in degrees.

    Sources without a position are left out.
    """
    try:
        with path.open("rb") as file:
            fits = is_fits(file.read(9))
        if fits:
            return _of_fits(path, read_fits(path, MAX_FITS))
        with path.open("rb") as file:
            content = read_limited(file, MAX_TEXT)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        votable = content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
        header, rows = _of_votable(content) if votable else _of_csv(content)
        return _of_texts(path, header, rows)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _of_fits(path: Path, content: bytes) -> Catalogue:
    """Return the first table that has positions."""
    try:
        seen: list[str] = []
        for table in tables(content):
            found = _columns(list(table.columns))
            if found is not None:
                name, ra, dec = found
                return _catalogue(path, _names(table, name), _degrees(table, ra), _degrees(table, dec))
            seen += table.columns
        _reject(seen)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _names(table: Table, column: str | None) -> list[str]:
    """Return the names of the sources, empty ones where the column holds neither texts nor a number in each row."""
    if column is not None:
        for read in (table.texts, table.numbers):
            with suppress(InputError):
                values = read(column)
                if len(values) == len(table.rows):
                    return ["" if str(value) == "nan" else str(value) for value in values]
    return [""] * len(table.rows)


def _degrees(table: Table, column: str) -> Floats:
    _check_unit(column, table.unit(column))
    values = table.numbers(column)
    if len(values) != len(table.rows):
        raise InputError(f"column {column} holds several numbers in a row")
    return np.asarray(values, np.float64)


def _check_unit(column: str, unit: str) -> None:
    if unit.strip().lower() not in {"", "deg", "degree", "degrees"}:
        where = printable_line(f"column {column[:30]} has the unit {unit[:30]!r}")
        raise InputError(f"{where}: positions must be in degrees")


def _of_texts(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Catalogue:
    """Return the sources of a table of texts. Rows without a digit in their position, such as units, are left out."""
    found = _columns(header)
    if found is None:
        _reject(header)
    name, ra, dec = (header.index(column) if column else None for column in found)
    assert ra is not None and dec is not None  # noqa: S101, PT018 - for the type checker
    names: list[str] = []
    places: list[tuple[float, float]] = []
    for number, row in enumerate(rows, 1):
        if len(row) <= max(ra, dec) or not re.search(r"\d", row[ra] + row[dec]):
            continue
        if len(names) == MAX_SOURCES:
            raise InputError(f"more than the {MAX_SOURCES} sources allowed")
        try:
            places.append((float(row[ra]), float(row[dec])))
        except ValueError as error:
            where = printable_line(f"{row[ra][:30]!r}, {row[dec][:30]!r}")
            raise InputError(f"row {number}: {where} is not a position in degrees") from error
        names.append(row[name] if name is not None and name < len(row) else "")
    ra_dec = np.array(places, dtype=np.float64).reshape(-1, 2)
    return _catalogue(path, names, ra_dec[:, 0], ra_dec[:, 1])


def _catalogue(path: Path, names: Sequence[str], ra: Floats, dec: Floats) -> Catalogue:
    """Check positions and names."""
    if len(names) > MAX_SOURCES:
        raise InputError(f"{len(names)} sources, more than the {MAX_SOURCES} allowed")
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    wrong = known[(np.abs(dec[known]) > 90) | (ra[known] < -180) | (ra[known] > 360)]
    if len(wrong):
        raise InputError(f"row {wrong[0] + 1}: {ra[wrong[0]]:g}, {dec[wrong[0]]:g} is not a position in degrees")
    shown = [
        bounded_line(printable_line(names[row].strip()), LONGEST_NAME) or f"row {row + 1}" for row in known.tolist()
    ]
    return Catalogue(bounded_line(printable_line(path.name), LONGEST_NAME), shown, ra[known] % 360.0, dec[known])


def _columns(header: Sequence[str]) -> tuple[str | None, str, str] | None:
    """Return the columns of name (or None), right ascension and declination, or None if there are no positions."""
    plain = {re.sub(r"[^a-z0-9_]", "", column.lower()): column for column in reversed(header)}
    name, ra, dec = (next((plain[one] for one in usual if one in plain), None) for usual in (NAMES, RAS, DECS))
    return None if ra is None or dec is None else (name, ra, dec)


def _reject(header: Sequence[str]) -> NoReturn:
    shown = bounded_line(printable_line(", ".join(header)), 200) or "none"
    raise InputError(f"columns are {shown}: expected names such as name, RA, Dec or Source_Name, RAJ2000, DEJ2000")


def _of_csv(content: bytes) -> tuple[list[str], Iterator[list[str]]]:
    """Return header and rows of a table whose header shows what separates its columns; # begins a comment."""
    text = content.decode("utf-8-sig", errors="replace")
    if "\0" in text:
        raise InputError("neither FITS nor text: give a catalogue as FITS, VOTable or CSV")
    lines = _lines(text)
    first = next(lines, None)
    if first is None:
        raise InputError("an empty file: give a catalogue as FITS, VOTable or CSV")
    rows = _csv_rows(chain([first], lines), max(",;\t|", key=first.count))
    return [column.strip() for column in next(rows)], rows


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that are neither empty nor a comment."""
    for line in io.StringIO(text):
        if len(line) > LONGEST_LINE:
            raise InputError(f"a line of more than {LONGEST_LINE} characters: not a catalogue")
        if line.strip() and not line.startswith("#"):
            yield line


def _csv_rows(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines, delimiter=separator)
    except csv.Error as error:
        raise InputError(f"damaged CSV ({error})") from error


def _of_votable(content: bytes) -> tuple[list[str], list[list[str]]]:
    """Return fields and rows of the first table of a VOTable that has positions, else those of the last one."""
    reader = _VOTable()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.text
    parser.EntityDeclHandler = reader.entity
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # also of an encoding that nobody knows
        raise InputError(f"damaged XML ({error})") from error
    for column in (_columns(reader.fields) or ())[1:]:
        _check_unit(column, reader.units[reader.fields.index(column)])
    return reader.fields, reader.rows


class _VOTable:
    """Collects the table while expat reads (VOTable 1.4, section 5.1)."""

    def __init__(self) -> None:
        self.fields: list[str] = []
        self.units: list[str] = []
        self.rows: list[list[str]] = []
        self._cell: list[str] | None = None
        self._done = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Begin an element; its name may have a prefix."""
        tag = tag.rpartition(":")[2]
        if self._done:
            return
        if tag == "TABLE":
            self.fields, self.units, self.rows = [], [], []
        elif tag == "FIELD" and len(self.fields) < MAX_COLUMNS:
            self.fields.append(attributes.get("name", ""))
            self.units.append(attributes.get("unit", ""))
        elif tag in {"BINARY", "BINARY2", "FITS"}:
            raise InputError("a VOTable in binary form: save it as TABLEDATA, or as FITS or CSV")
        elif tag == "TR":
            if len(self.rows) == MAX_SOURCES:
                raise InputError(f"more than the {MAX_SOURCES} sources allowed")
            self.rows.append([])
        elif tag == "TD" and self.rows and len(self.rows[-1]) < MAX_COLUMNS:
            self._cell = []

    def text(self, text: str) -> None:
        """Add to a cell."""
        if self._cell is not None:
            self._cell.append(text)

    def end(self, tag: str) -> None:
        """End an element."""
        tag = tag.rpartition(":")[2]
        if tag == "TD" and self._cell is not None:
            self.rows[-1].append("".join(self._cell))
            self._cell = None
        elif tag == "TABLE":
            self._done = self._done or _columns(self.fields) is not None

    def entity(self, *_: object) -> None:
        """Reject entities, which could grow without bound or read other files."""
        raise InputError("it declares entities, which no VOTable needs")
