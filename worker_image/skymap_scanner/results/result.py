"""The fit of every scanned pixel, and the two files that store them: JSON and npz, as skyreader writes them.

A level is a structured array of ``PIXEL``, one row a scanned pixel, sorted by index. ``llh`` is -ln L (lower is
better); a pixel whose fit failed has NaN there and in the columns that follow. The files leave such pixels out and list
them in the metadata. Writing is deterministic: equal results give equal bytes.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymap_api.limited_file import read_limited
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import OnlineDirection, event_label
from skymap_scanner.healpix import pixel_count
from skymap_scanner.npz import read_arrays
from skymap_scanner.results.failed_pixels import failed_to_text, with_failed, without_failed
from skymap_scanner.results.fields import (
    free_text,
    nside_of_key,
    online_from_entry,
    online_to_entry,
    topology_of,
)
from skymap_scanner.results.rule import ContourRule, checked_text, rule_from_entry, rule_to_entry

#: One pixel: RING index, -ln L, energy losses inside and in total (GeV), fitted vertex (m) and its time (ns).
COLUMNS = ("index", "llh", "E_in", "E_tot", "X", "Y", "Z", "T")
PIXEL = np.dtype([(name, "<i8" if name == "index" else "<f8") for name in COLUMNS])
#: Longest event type (characters) in the name of a file; file systems allow 255 bytes for the whole name.
MAX_KIND = 60
#: Version of this set of columns in skyreader; version 0 lacks X, Y, Z, T.
DATA_VERSION = 1
#: JSON has no NaN; this string stands for it.
NAN = "<skyreader.nan>"
#: Finest nside that is read; its indices still fit the columns of every reader.
MAX_NSIDE = 2**14
#: Largest number of a run or an event: an int64.
MAX_NUMBER = 2**63 - 1
#: Largest size (bytes, decompressed) of the arrays of an npz file, and most arrays: one a level, and a header.
MAX_NPZ_BYTES, MAX_ARRAYS = 2**30, 16
#: The same of a JSON file: about 800,000 pixels. Values take up to a hundred times the memory of their text.
MAX_JSON_BYTES, MAX_JSON_VALUES = 2**28, 2 * 10**7
#: Pixels that are encoded as JSON at a time.
JSON_BLOCK = 4096

Levels = Mapping[int, NDArray[Any]]


@dataclass(frozen=True)
class ScanMetadata:
    """The event and the scan.

    ``sub_event_id`` and ``sub_event_stream`` name the sub-event; None and empty where they are not known.
    ``choice`` says which other events of its file could have been meant; empty: none. ``caution`` says what was not
    known about the event; empty: nothing that a scan needs. ``online`` is the direction of the online reconstruction.
    ``mjd`` is the time of the event (UTC, days). ``complete`` is, per nside, whether all planned pixels are there;
    ``plan`` gives, per nside, how many are planned (empty: not known). ``date`` (ISO, UTC) is when the result was made
    and ``wall_time`` (s) how long it took: leave both None where equal scans must give equal files.

    ``topology`` (``track``, ``cascade``) is what the best fit shows, and ``likelihood`` the identity of its likelihood;
    both are empty where they are not known. ``rule`` are the contours that belong to this fit; None: not stated.
    """

    run_id: int
    event_id: int
    event_type: str
    mjd: float
    is_real_event: bool
    complete: Mapping[int, bool] = field(default_factory=dict)
    plan: Mapping[int, int] = field(default_factory=dict)
    name: str = ""
    sub_event_id: int | None = None
    sub_event_stream: str = ""
    choice: str = ""
    caution: str = ""
    online: OnlineDirection | None = None
    reconstruction: str = ""
    likelihood: str = ""
    topology: str = ""
    rule: ContourRule | None = None
    scanner_version: str = ""
    wall_time: float | None = None
    date: str | None = None


@dataclass(frozen=True)
class ScanResult:
    """All pixels of a scan, finished or not.

    ``levels`` maps nside to rows of ``PIXEL``; they are copied, sorted, and infinite values become NaN. Raises
    InputError for an impossible nside, an index outside its level, or an index that comes twice.
    """

    levels: Levels
    metadata: ScanMetadata

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", {n: _checked_level(n, self.levels[n]) for n in sorted(self.levels)})

    @property
    def nsides(self) -> tuple[int, ...]:
        """Every nside that is planned or scanned, ascending."""
        return tuple(sorted({*self.levels, *self.metadata.plan}))

    @property
    def complete(self) -> bool:
        """Whether every level is complete."""
        return bool(self.nsides) and all(self.metadata.complete.get(nside, False) for nside in self.nsides)

    @property
    def scanned(self) -> int:
        """Number of scanned pixels, failed ones included."""
        return sum(len(level) for level in self.levels.values())

    @property
    def failed(self) -> Mapping[int, list[int]]:
        """Per nside, the indices of the pixels whose fit failed; only levels that have any."""
        failures = {nside: level["index"][np.isnan(level["llh"])].tolist() for nside, level in self.levels.items()}
        return {nside: indices for nside, indices in failures.items() if indices}

    @property
    def stem(self) -> str:
        """Start of the names of all files of this scan: run, event, sub-event unless 0, type and nsides."""
        kind = re.sub(r"[^A-Za-z0-9+-]", "-", self.metadata.event_type)[:MAX_KIND]
        label = event_label(self.metadata.run_id, self.metadata.event_id, self.metadata.sub_event_id or 0)
        return "_".join([f"{label}.{kind or 'unknown'}", *map(str, self.nsides)])

    @classmethod
    def read(cls, path: Path) -> ScanResult:
        """Read a file, JSON or npz by its content; raises InputError if it is unreadable, too large or neither."""
        try:
            with path.open("rb") as file:
                packed = file.peek(2).startswith(b"PK")
                content = read_limited(file, MAX_NPZ_BYTES if packed else MAX_JSON_BYTES)
            return result_from_npz(content) if packed else result_from_json(content)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def result_to_json(result: ScanResult) -> Iterator[bytes]:
    """Encode as skyreader's JSON, in pieces: per nside the columns, the data and the metadata.

    Only `JSON_BLOCK` pixels are held at a time as Python's numbers, which take twenty times the memory of the rows.
    """
    separator = "{\n"
    levels = _levels_to_write(result)
    for nside, level in levels.items():
        metadata = _metadata_to_entry(result.metadata, nside, failed_to_text(result.levels, levels))
        yield f'{separator}    "nside-{nside}": {{\n        "columns": {_indented(list(COLUMNS))},\n'.encode()
        yield from _rows_to_json(level)
        yield f',\n        "metadata": {_indented(metadata)}\n    }}'.encode()
        separator = ",\n"
    yield b"{}" if separator.startswith("{") else b"\n}"


def _rows_to_json(level: NDArray[Any]) -> Iterator[bytes]:
    """Encode the data of one level."""
    before = '        "data": ['
    for first in range(0, len(level), JSON_BLOCK):
        block = level[first : first + JSON_BLOCK].tolist()
        rows = [[NAN if math.isnan(value) else value for value in row] for row in block]
        yield (before + _indented(rows)[1 : -len("\n        ]")]).encode()  # without the brackets of this block
        before = ","
    yield b"\n        ]" if len(level) else f"{before}]".encode()


def _indented(content: Any) -> str:
    """Return JSON as json.dumps writes it two levels deep, at 4 blanks a level."""
    return json.dumps(content, indent=4, allow_nan=False).replace("\n", "\n        ")


def result_from_json(content: bytes) -> ScanResult:
    """Decode skyreader's JSON; raises InputError which names the level and the field that is missing or wrong."""
    if (values := sum(map(content.count, (b",", b":", b"[", b"{")))) > MAX_JSON_VALUES:
        raise InputError(f"{values} values, more than the {MAX_JSON_VALUES} allowed: give the npz file of the scan")
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({error}); give a result file of a scan") from error
    if not isinstance(entries, dict) or not entries:
        raise InputError('no levels: a result is an object with keys "nside-8", "nside-64", ...')
    levels, headers = {}, {}
    for key, entry in entries.items():
        nside = nside_of_key(key)
        if not isinstance(entry, dict) or not {"columns", "data", "metadata"} <= entry.keys():
            raise InputError(f'"{key}" needs the fields columns, data and metadata')
        levels[nside] = _rows_from_json(key, entry["columns"], entry["data"])
        headers[nside] = entry["metadata"]
    return _assemble(levels, headers)


def result_to_npz(result: ScanResult) -> bytes:
    """Encode as skyreader's npz: one array per nside, and ``header`` with one row of metadata per nside."""
    levels = _levels_to_write(result)
    failed = failed_to_text(result.levels, levels)
    entries = [_metadata_to_entry(result.metadata, nside, failed) for nside in levels]
    arrays = {f"nside-{nside}": level for nside, level in levels.items()}
    if entries:
        columns = {key: np.array([entry[key] for entry in entries]) for key in entries[0]}
        header = np.empty(len(entries), dtype=[(key, column.dtype) for key, column in columns.items()])
        for key, column in columns.items():
            header[key] = column
        arrays = {"header": header, **arrays}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as members:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            # Not np.savez, whose headers are another release of Python's other bytes. The date is 1980: equal bytes.
            members.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return file.getvalue()


def result_from_npz(content: bytes) -> ScanResult:
    """Decode skyreader's npz; nothing in it is ever unpickled.

    Raises InputError which names the array that is missing or wrong.
    """
    arrays = read_arrays(content, limit=MAX_NPZ_BYTES, most=MAX_ARRAYS)
    if "header" not in arrays or arrays["header"].dtype.names is None or "nside" not in arrays["header"].dtype.names:
        raise InputError("no array `header` with the column nside: the event is not known; convert it with skyreader")
    header = np.atleast_1d(arrays.pop("header"))
    levels = {nside_of_key(key): _rows_from_array(key, array) for key, array in arrays.items()}
    names = header.dtype.names or ()
    if header.shape != (len(levels),):
        raise InputError(f"`header` has shape {header.shape}, and there are {len(levels)} levels")
    try:
        headers = {int(row["nside"]): {name: row[name].item() for name in names} for row in header}
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"`header` is damaged ({error})") from error
    if headers.keys() != levels.keys():
        raise InputError(f"`header` describes nside {sorted(headers)}, but the arrays are of nside {sorted(levels)}")
    return _assemble(levels, headers)


def _levels_to_write(result: ScanResult) -> Levels:
    """Return the levels that have pixels, without failed ones: what skyreader needs to find the lowest pixel."""
    levels = without_failed(result.levels)
    return {nside: level for nside, level in levels.items() if len(level)} or result.levels


def _metadata_to_entry(metadata: ScanMetadata, nside: int, failed: str) -> dict[str, Any]:
    """Return the metadata of one level; the first eight keys are skyreader's, the others only where known."""
    entry: dict[str, Any] = {
        "nside": nside,
        "complete": metadata.complete.get(nside, False),
        "run_id": metadata.run_id,
        "event_id": metadata.event_id,
        "event_type": metadata.event_type,
        "mjd": metadata.mjd,
        "is_real_event": metadata.is_real_event,
        "version": DATA_VERSION,
    }
    more = {
        "plan": " ".join(f"{n}:{metadata.plan[n]}" for n in sorted(metadata.plan)),
        "failed": failed,
        "name": metadata.name,
        "sub_event_id": metadata.sub_event_id,
        "sub_event_stream": metadata.sub_event_stream,
        "choice": metadata.choice,
        "caution": metadata.caution,
        **online_to_entry(metadata.online),
        "reconstruction": metadata.reconstruction,
        "likelihood": metadata.likelihood,
        "topology": metadata.topology,
        **({} if metadata.rule is None else rule_to_entry(metadata.rule)),
        "scanner_version": metadata.scanner_version,
        "wall_time": metadata.wall_time,
        "date": metadata.date,
    }
    return entry | {key: value for key, value in more.items() if value not in ("", None)}


def _assemble(levels: Levels, headers: Mapping[int, Any]) -> ScanResult:
    """Combine the levels and the metadata that each of them repeats into one result."""
    for nside, header in headers.items():
        if not isinstance(header, dict):
            raise InputError(f'metadata of "nside-{nside}" is not an object')
        if header.get("nside") != nside:
            raise InputError(f'metadata of "nside-{nside}" says nside {header.get("nside")!r}')
    first_nside = min(headers)
    first, place = headers[first_nside], f'metadata of "nside-{first_nside}"'
    try:
        plan = (part.split(":") for part in str(first.get("plan", "")).split())  # 8:768 64:768
        metadata = ScanMetadata(
            run_id=int(first["run_id"]),
            event_id=int(first["event_id"]),
            event_type=free_text(first["event_type"]),
            mjd=float(first["mjd"]),
            is_real_event=bool(first.get("is_real_event", False)),
            complete={nside: bool(header.get("complete", False)) for nside, header in headers.items()},
            plan={int(nside): int(count) for nside, count in plan},
            name=free_text(first.get("name")),
            sub_event_id=None if first.get("sub_event_id") is None else int(first["sub_event_id"]),
            sub_event_stream=checked_text("sub_event_stream", first["sub_event_stream"])
            if "sub_event_stream" in first
            else "",
            choice=free_text(first.get("choice")),
            caution=free_text(first.get("caution")),
            online=online_from_entry(first),
            reconstruction=free_text(first.get("reconstruction")),
            likelihood=checked_text("likelihood", first["likelihood"]) if "likelihood" in first else "",
            topology=topology_of(first),
            rule=rule_from_entry(first),
            scanner_version=free_text(first.get("scanner_version")),
            wall_time=None if first.get("wall_time") is None else float(first["wall_time"]),
            date=free_text(first.get("date")) or None,
        )
    except KeyError as error:
        raise InputError(f"{place} lacks {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{place}: {error}") from error
    numbers = (metadata.run_id, metadata.event_id, metadata.sub_event_id or 0)
    if not all(0 <= number <= MAX_NUMBER for number in numbers) or not math.isfinite(metadata.mjd):
        raise InputError(f"{place}: run, event, sub-event and mjd must be numbers from 0 to {MAX_NUMBER}")
    if not math.isfinite(metadata.wall_time or 0):
        raise InputError(f"{place}: wall_time must be a number of seconds")
    for nside, count in metadata.plan.items():
        if not 1 <= nside <= MAX_NSIDE or not 0 <= count <= pixel_count(nside):
            raise InputError(f"{place}: plan {nside}:{count} is not NSIDE:PIXELS of a sky")
    return ScanResult(with_failed(levels, str(first.get("failed", ""))), metadata)


def _rows_from_json(key: str, columns: object, data: object) -> NDArray[Any]:
    """Turn the data of one level into rows; columns that version 0 lacks are NaN."""
    names = list(COLUMNS)
    if columns not in (names, names[:4]):
        raise InputError(f'"{key}": columns are {columns!r}; expected {names}')
    if not isinstance(data, list):
        raise InputError(f'"{key}": data is not a list')
    width = len(names) if columns == names else 4
    missing = (math.nan,) * (len(names) - width)
    rows = np.empty(len(data), dtype=PIXEL)
    for position, row in enumerate(data):
        if not isinstance(row, list) or len(row) != width or type(row[0]) is not int:
            raise InputError(f'"{key}": row {position} is not an index and {width - 1} numbers')
        values = [math.nan if value == NAN else value for value in row[1:]]
        if not all(isinstance(value, int | float) for value in values):
            raise InputError(f'"{key}": row {position} holds something that is no number')
        try:
            rows[position] = (row[0], *values, *missing)
        except OverflowError as error:
            raise InputError(f'"{key}": row {position} holds a number that is too large') from error
    return rows


def _rows_from_array(key: str, array: NDArray[Any]) -> NDArray[Any]:
    """Check the columns of one array of an npz file; columns that version 0 lacks are NaN."""
    if array.ndim != 1 or array.dtype.names not in (COLUMNS, COLUMNS[:4]):
        raise InputError(f'"{key}": columns are {array.dtype.names}; expected {COLUMNS}')
    rows = np.empty(len(array), dtype=PIXEL)
    try:
        for name in COLUMNS:
            rows[name] = array[name] if name in array.dtype.names else math.nan
    except (TypeError, ValueError) as error:
        raise InputError(f'"{key}": {error}') from error
    return rows


def _checked_level(nside: int, rows: NDArray[Any]) -> NDArray[Any]:
    """Copy the rows of one level, sorted, checked and read-only."""
    if not 1 <= nside <= MAX_NSIDE or nside & (nside - 1):
        raise InputError(f"nside {nside} is not a power of two up to {MAX_NSIDE}")
    if rows.dtype.names != COLUMNS:
        raise InputError(f"nside {nside}: columns are {rows.dtype.names}; expected {COLUMNS}")
    level = np.sort(rows.astype(PIXEL), order="index")
    for name in COLUMNS[1:]:
        level[name][~(np.isfinite(level[name]) & np.isfinite(level["llh"]))] = np.nan
    index = level["index"]
    if len(index) and (index[0] < 0 or index[-1] >= pixel_count(nside)):
        outside = index[0] if index[0] < 0 else index[-1]
        raise InputError(f"nside {nside}: pixel {outside} does not exist, they run from 0 to {pixel_count(nside) - 1}")
    twice = index[1:][index[1:] == index[:-1]]
    if len(twice):
        raise InputError(f"nside {nside}: pixel {twice[0]} comes twice")
    level.setflags(write=False)
    return level
