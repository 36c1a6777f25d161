"""The history of a scan, from which a report is made, and the card of a report, from which an index is made."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from skymap_scanner.errors import InputError
from skymap_scanner.report import FitRecord, ScanReport, history_from_csv, history_to_csv
from skymap_scanner.report.content import content
from skymap_scanner.report.index import index_html, read_card
from skymap_scanner.report.page import as_json, report_html
from skymap_scanner.roles.work import SeedWork, decode_round, encode_round
from testing.fuzz.results import small_results
from testing.fuzz.target import Target, require


def check_history(data: bytes) -> None:
    """Read a history; what was read is written and read the same, and a report can be made of it."""
    history = history_from_csv(data)
    again = history_from_csv(b"".join(history_to_csv(history)))
    require([one.worker for one in again] == [one.worker for one in history], "another worker than was written")
    for result in small_results():
        as_json(content(ScanReport(result, history=history)).data)


def check_card(data: bytes) -> None:
    """Read the card of a report; an index can be made of it."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        require(index_html({"a": read_card(Path(file.name))}).count(b"<script>") == 1, "a script of somebody else")


def check_work(data: bytes) -> None:
    """Read the work on a round."""
    decode_round(data.decode("utf-8", "replace"))


def history_seeds() -> list[bytes]:
    """Write a history with failed and repeated fits."""
    records = [FitRecord(1, index, 0, 0, 100.0 + index, "w", 1e9, 1e9 + 1, 1) for index in range(12)]
    records += [
        FitRecord(2, 7, 1, 0, math.nan, "x", 1e9, 1e9 + 1, 3, "why"),
        FitRecord(0, 1, 0, 0, 1.0, "x", 1e9, 1e9, 1),
    ]
    return [b"".join(history_to_csv(records))]


def card_seeds() -> list[bytes]:
    """Return the heads of reports."""
    return [report_html(ScanReport(result))[:2000] for result in small_results()]


def work_seeds() -> list[bytes]:
    """Write the work on a round."""
    return [encode_round([SeedWork(worker="w", began=1.5, ended=2.5, attempt=1, seed=0, llh=None)]).encode()]


TARGETS = (
    Target("history", check_history, history_seeds, (InputError,)),
    Target("card", check_card, card_seeds, (InputError,)),
    Target("work", check_work, work_seeds, ()),
)
