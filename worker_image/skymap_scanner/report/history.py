"""The history of a scan: who made each fit, when, and at which attempt, as a table in CSV.

It is the one file beside the report that depends on the clock; the files of the map hold none of it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from skymap_api.text import bounded_line
from skymap_scanner.errors import InputError
from skymap_scanner.healpix import pixel_count
from skymap_scanner.results.result import MAX_NSIDE

SUFFIX = ".history.csv"
#: What is read at most: characters of a text, a time (s since 1970), -ln L, a number, and rows (7 fits of a million
#: pixels).
MAX_TEXT, MAX_TIME, MAX_LLH, MAX_NUMBER, MAX_ROWS = 200, 1e11, 1e12, 2**53, 7_000_000
#: Rows that are encoded at a time.
BLOCK = 4096


class FitRecord(NamedTuple):
    """One fit: its nside (0: a re-simulation), pixel (RING), round and seed, -ln L (NaN: failed), and the work on it.

    ``began`` and ``ended`` are seconds since 1970 by the clock of ``worker``. ``failure`` says why the fit failed.
    """

    nside: int
    pixel: int
    round: int
    seed: int
    llh: float
    worker: str
    began: float
    ended: float
    attempt: int
    failure: str = ""


def history_to_csv(records: Iterable[FitRecord]) -> Iterator[bytes]:
    """Encode a history, in pieces; a failed fit has no -ln L."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(FitRecord._fields)
    for number, one in enumerate(records, start=1):
        llh = "" if math.isnan(one.llh) else repr(one.llh)
        texts = {"worker": bounded_line(one.worker, MAX_TEXT), "failure": bounded_line(one.failure or " ", MAX_TEXT)}
        times = {"began": f"{one.began:.3f}", "ended": f"{one.ended:.3f}"}
        writer.writerow((one._asdict() | texts | times | {"llh": llh}).values())
        if number % BLOCK == 0:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def history_from_csv(content: bytes) -> list[FitRecord]:
    """Decode a history; raises InputError which names the line that is wrong."""
    try:
        lines = csv.reader(io.StringIO(content.decode()))
        if tuple(next(lines, ())) != FitRecord._fields:
            raise InputError(f"no history of a scan: its first line is not {','.join(FitRecord._fields)}")
        return [_record(row, lines.line_num) for row in lines]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"no history of a scan ({error})") from error


def _record(row: list[str], line: int) -> FitRecord:
    try:
        nside, pixel, number, seed, llh, worker, began, ended, attempt, failure = row
        found = FitRecord(
            nside=int(nside),
            pixel=int(pixel),
            round=int(number),
            seed=int(seed),
            llh=float(llh or math.nan),
            worker=bounded_line(worker, MAX_TEXT),
            began=float(began),
            ended=float(ended),
            attempt=int(attempt),
            failure=bounded_line(failure, MAX_TEXT),
        )
    except ValueError as error:
        raise InputError(f"line {line} of the history: {error}") from error
    if line > MAX_ROWS:
        raise InputError(f"the history has more than {MAX_ROWS} lines")
    if not (math.isnan(found.llh) or abs(found.llh) <= MAX_LLH):
        raise InputError(f"line {line} of the history: no -ln L {llh}")
    if not all(0 <= number <= MAX_NUMBER for number in (*found[:4], found.attempt)):
        raise InputError(f"line {line} of the history: no pixel, round, seed or attempt")
    if found.nside and not (_is_level(found.nside) and found.pixel < pixel_count(found.nside)):
        raise InputError(f"line {line} of the history: no nside {nside} with a pixel {pixel}")
    if not (0 <= found.began <= MAX_TIME and 0 <= found.ended <= MAX_TIME):
        raise InputError(f"line {line} of the history: no time {began} or {ended}")
    return found


def _is_level(nside: int) -> bool:
    return nside <= MAX_NSIDE and nside & (nside - 1) == 0
