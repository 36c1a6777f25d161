"""Reads what may be compared: the results of a scan, and probability maps and MOCs as others write them.

Maps are FITS: multi-order (UNIQ and PROBDENSITY) or flat (RING or NESTED, of all pixels or of those listed). MOCs are
FITS, of version 1 (NUNIQ) or 2 (RANGE), or JSON.
"""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymap_api.limited_file import read_limited
from skymap_api.text import bounded_line, printable_line
from skymap_scanner.errors import InputError
from skymap_scanner.healpix import (
    Floats,
    Integers,
    nested_to_ring,
    pixel_area,
    pixel_count,
    pixel_to_radec,
    ring_to_nested,
)
from skymap_scanner.results.fits_table import Table, is_fits, read_fits, tables
from skymap_scanner.results.probability_map import Cells, ProbabilityMap, map_of_cells, map_of_scan
from skymap_scanner.results.region import (
    SKY,
    TOP_ORDER,
    Region,
    cells_to_intervals,
    region_of_cells,
    region_of_intervals,
)
from skymap_scanner.results.result import ScanResult

log = logging.getLogger(__name__)

#: Names of the column of a flat map; the last two are healpy's where none is given.
FLAT_COLUMNS = ("PROB", "PROBABILITY", "PROBDENSITY", "TEMPERATURE", "T")
#: Steradians of the units of a density.
DENSITY_UNITS = {"": 1.0, "sr-1": 1.0, "1/sr": 1.0, "sr**-1": 1.0, "deg-2": (np.pi / 180) ** 2}
#: What HEALPix calls equatorial coordinates.
EQUATORIAL = {"C", "Q", "EQUATORIAL", "CELESTIAL", "ICRS", "J2000"}
#: healpy's value of a pixel that was not seen; anything as low stands for it, since float32 rounds it.
UNSEEN = -1.6e30
#: Greatest number that is read; all of the probability in one pixel of order 29 has a density of 3e17 / sr.
MOST = 1e18
#: Finest order of a flat map, that of nside 2048: finer ones are shared as multi-order maps.
MAX_FLAT_ORDER = 11
#: Largest MOC as FITS, and as JSON, whose numbers take about ten times as much (bytes).
MAX_MOC_FITS, MAX_MOC_JSON = 2**28, 2**25
#: Longest name of a map in the output.
LONGEST_NAME = 120


def read_map(path: Path) -> ProbabilityMap:
    """Read a map: a folder or a result file of a scan, or a probability map as FITS, which may be gzipped.

    Raises InputError if it is unreadable, too large, damaged or not a map of probability.
    """
    if path.is_dir():
        path = _result_in(path)
    if not _begins_as_fits(path):
        result = ScanResult.read(path)
        try:
            return map_of_scan(result)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    content = read_fits(path)
    try:
        return _map_of_fits(content, path.name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_scan(path: Path) -> ScanResult:
    """Read the result of a scan: its folder, or its JSON or npz file; raises InputError as `read_map`."""
    if path.is_dir():
        path = _result_in(path)
    if _begins_as_fits(path):
        raise InputError(f"{path}: a map without the fits of the pixels; give the JSON or npz file of a scan")
    return ScanResult.read(path)


def read_moc(path: Path) -> Region:
    """Read a MOC, FITS or JSON; raises InputError if it is unreadable, too large, damaged or not one of space."""
    if _begins_as_fits(path):
        content = read_fits(path, MAX_MOC_FITS)
        decode = _moc_of_fits
    else:
        content = _read_text(path)
        decode = _moc_of_json
    try:
        return decode(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _result_in(folder: Path) -> Path:
    """Return the result file of a folder: npz, JSON, FITS or that of an unfinished scan."""
    kinds = (("run*.evt*", (".npz", ".json")), ("run*.evt*", (".multiorder.fits",)), ("partial.json", (".json",)))
    for pattern, suffixes in kinds:
        named = (path for path in folder.glob(pattern) if path.name.endswith(suffixes))
        found = sorted(path for path in named if not path.name.endswith((".summary.json", ".moc.json")))
        if len({path.with_suffix("") for path in found}) > 1:
            raise InputError(f"{folder} holds several results, such as {found[0].name} and {found[-1].name}: name one")
        if found:
            return found[-1]  # npz comes after JSON, and is read faster
    raise InputError(f"{folder} holds no result of a scan: name a file")


def _begins_as_fits(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_fits(file.read(9))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _map_of_fits(content: bytes, file_name: str) -> ProbabilityMap:
    """Decode the first table that is a map."""
    found = None
    for table in tables(content):
        found = table
        if {"UNIQ", "PROBDENSITY"} <= table.columns.keys():
            cells = _multi_order_cells(table)
        elif column := next((name for name in FLAT_COLUMNS if name in table.columns), None):
            cells = _flat_cells(table, column)
        else:
            continue
        _check_frame(table, file_name)
        name = table.text("OBJECT") or file_name
        return map_of_cells(bounded_line(printable_line(name), LONGEST_NAME), cells)
    if found is None:
        raise InputError("no table: give a HEALPix map as multi-order or flat FITS")
    names = bounded_line(", ".join(found.columns), 200)
    raise InputError(f"columns are {names}: expected UNIQ and PROBDENSITY, or one of {', '.join(FLAT_COLUMNS)}")


def _check_frame(table: Table, file_name: str) -> None:
    """Check that a map is in equatorial coordinates, as far as it says so."""
    frame = table.text("COORDSYS").upper()
    if not frame:
        log.warning("%s states no COORDSYS: it is taken as equatorial", printable_line(file_name))
    elif frame not in EQUATORIAL:
        raise InputError(f"COORDSYS is {frame[:30]!r}: rotate the map to equatorial coordinates (C) first")


def _multi_order_cells(table: Table) -> Cells:
    """Return the cells of a multi-order table."""
    order, ipix = _uniq_to_cells(_whole_numbers(table, "UNIQ"))
    density = _probabilities(table, "PROBDENSITY") * _density_scale(table, "PROBDENSITY")
    if len(order) != len(density) or not len(order):
        raise InputError(f"{len(order)} pixels have {len(density)} values")
    peak = int(np.argmax(density))
    best = _center(int(order[peak]), int(ipix[peak]))
    return Cells(*cells_to_intervals(order, ipix), density, best)


def _flat_cells(table: Table, column: str) -> Cells:
    """Return the cells of a flat table; neighbours of the same value are one cell, since most are of none."""
    values = _probabilities(table, column)
    ordering = table.text("ORDERING").upper()
    if ordering not in {"RING", "NEST", "NESTED"}:
        raise InputError(f"ORDERING is {ordering[:30]!r}: expected RING or NESTED for a flat map")
    listed = next((name for name in ("PIXEL", "INDEX") if name in table.columns), None)
    nside = table.number("NSIDE")
    if nside is None and listed is None:  # healpy reads such maps, too
        nside = math.isqrt(len(values) // 12)
    if nside is None or not 1 <= nside <= 2**MAX_FLAT_ORDER or nside & (nside - 1):
        raise InputError(f"nside {nside} is not a power of two up to {2**MAX_FLAT_ORDER}")
    order = nside.bit_length() - 1
    if column == "PROBDENSITY":
        values *= _density_scale(table, column)
    else:
        values /= pixel_area(nside)
    if listed:
        first = _listed_pixels(table, listed, nside, ring=ordering == "RING")
        count = np.ones_like(first)
        if len(first) != len(values) or not len(first):
            raise InputError(f"{len(first)} pixels have {len(values)} values")
    else:
        if len(values) != pixel_count(nside) or table.number("FIRSTPIX") not in {None, 0}:
            raise InputError(f"{len(values)} pixels: a map of nside {nside} has {pixel_count(nside)}, from pixel 0 on")
        if ordering == "RING":
            values = values[nested_to_ring(nside, np.arange(len(values)))]
        first = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
        count, values = np.diff(np.append(first, len(values))), values[first]
    size = np.int64(4 ** (TOP_ORDER - order))
    return Cells(first * size, (first + count) * size, values, _center(order, int(first[np.argmax(values)])))


def _listed_pixels(table: Table, column: str, nside: int, *, ring: bool) -> Integers:
    """Return the NESTED pixels that a flat table lists."""
    index = _whole_numbers(table, column)
    if len(index) and (index.min() < 0 or index.max() >= pixel_count(nside)):
        raise InputError(f"column {column}: pixels of nside {nside} are 0 to {pixel_count(nside) - 1}")
    return ring_to_nested(nside, index) if ring else index


def _center(order: int, ipix: int) -> tuple[float, float]:
    """Return the centre of a NESTED pixel (deg)."""
    ra, dec = pixel_to_radec(2**order, nested_to_ring(2**order, ipix))
    return float(np.degrees(ra)), float(np.degrees(dec))


def _probabilities(table: Table, column: str) -> Floats:
    """Return a column of probabilities; pixels that were not seen, or are NaN, have none."""
    values = table.numbers(column).astype(np.float64)
    values[np.isnan(values) | (values <= UNSEEN * (1 - 1e-5))] = 0.0
    if not ((values >= 0) & (values <= MOST)).all():
        raise InputError(f"column {column} holds negative or impossibly large numbers: not a map of probability")
    return np.asarray(values)


def _density_scale(table: Table, column: str) -> float:
    """Return what turns a column into a density in sr^-1."""
    unit = table.unit(column).replace(" ", "")
    if unit not in DENSITY_UNITS:
        raise InputError(f"column {column} has the unit {unit[:30]!r}: expected sr-1 or deg-2")
    return 1 / DENSITY_UNITS[unit]


def _whole_numbers(table: Table, column: str) -> Integers:
    values: NDArray[Any] = table.numbers(column)
    if values.dtype.kind not in "iu":
        raise InputError(f"column {column} does not hold whole numbers")
    return values.astype(np.int64)


def _uniq_to_cells(uniq: Integers) -> tuple[Integers, Integers]:
    """Return order and NESTED index of UNIQ numbers; raises InputError if there is no such pixel."""
    if len(uniq) and (uniq.min() < 4 or uniq.max() >= 4 * SKY // 3):
        wrong = uniq.min() if uniq.min() < 4 else uniq.max()
        raise InputError(f"UNIQ {wrong} is no pixel")
    bounds = np.int64(4) << (2 * np.arange(TOP_ORDER + 1))
    order = np.searchsorted(bounds, uniq, side="right") - 1
    return np.asarray(order, dtype=np.int64), np.asarray(uniq - bounds[order])


def _moc_of_fits(content: bytes) -> Region:
    """Decode a MOC as FITS."""
    for table in tables(content):
        if (dimension := table.text("MOCDIM").upper() or "SPACE") != "SPACE":
            raise InputError(f"a MOC of {dimension[:30]}: give one of SPACE alone")
        if (frame := table.text("COORDSYS").upper() or "C") not in EQUATORIAL:
            raise InputError(f"COORDSYS is {frame[:30]!r}: a MOC is in equatorial coordinates (C)")
        ordering = table.text("ORDERING").upper()
        if ordering == "RANGE" and "RANGE" in table.columns:
            return _ranges(table)
        column = next(iter(table.columns), "")  # version 1 leaves the name open
        if ordering == "NUNIQ" and column:
            return region_of_cells([_uniq_to_cells(_whole_numbers(table, column))])
    raise InputError("no table of a MOC: expected ORDERING RANGE or NUNIQ")


def _ranges(table: Table) -> Region:
    """Return the region of a MOC of version 2: pairs of the first pixel of order 29, and the one after the last."""
    ends = table.numbers("RANGE")
    if ends.dtype != np.int64 or len(ends) % 2:
        raise InputError("RANGE is not pairs of integers of 64 bits")
    start, stop = ends[::2], ends[1::2]
    if len(ends) and (start.min() < 0 or stop.max() > SKY or (start >= stop).any()):
        raise InputError("RANGE holds a pair that is no interval of pixels of order 29")
    return region_of_intervals(start, stop)


def _read_text(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return read_limited(file, MAX_MOC_JSON)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _moc_of_json(content: bytes) -> Region:
    """Decode a MOC as JSON: ``{"3": [1, 2], "5": [700]}``, the NESTED pixels of each order."""
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"neither FITS nor JSON ({error}): give a MOC") from error
    if not isinstance(entries, dict):
        raise InputError('not a MOC: expected an object such as {"3": [1, 2]}')
    cells: list[tuple[Integers, Integers]] = [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))]
    for key, pixels in entries.items():
        if not (key.isascii() and key.isdigit() and len(key) <= 2 and int(key) <= TOP_ORDER):
            raise InputError(f"{key[:50]!r} is no order: expected 0 to {TOP_ORDER}")
        count = pixel_count(2 ** int(key))
        if not isinstance(pixels, list) or not all(type(pixel) is int and 0 <= pixel < count for pixel in pixels):
            raise InputError(f"order {key}: expected a list of pixels from 0 to {count - 1}")
        cells.append((np.full(len(pixels), int(key)), np.array(pixels, dtype=np.int64)))
    return region_of_cells(cells)
