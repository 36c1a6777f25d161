"""Notices about a scan whose contours are known."""

from __future__ import annotations

import functools
from typing import Any

from tests.unit.results.conftest import make_bowl, make_metadata, make_scan

from skymap_scanner.notices.notice import Notice, links_of, summary_of_event, summary_of_result, without_map
from skymap_scanner.results import ScanResult

BASE = "https://alerts.example.org/IC231202A"
NAMES = ["a.plot_allsky.png", "a.plot_zoomed_wilks.png", "a.report.html", "a.multiorder.fits", "a.json"]


def make_notice(result: ScanResult | None = None, **changes: Any) -> Notice:
    summary, fields = _gold_summary() if result is None else summary_of_result(result)
    given = {"type": "update", "tense": "current", "number": 1, "created": "2023-12-02T17:30:00.000Z"}
    links = links_of(BASE, "a", NAMES)
    return Notice(**(given | {"summary": summary, "fields": fields, "links": links} | changes))  # type: ignore[arg-type]


@functools.cache
def _gold_summary() -> Any:
    """Contours take half a second."""
    return summary_of_result(make_scan(make_bowl(138.65, 0.15, 0.3), event_type="gfu-gold", topology="track"))


def initial() -> Notice:
    summary, fields = summary_of_event(make_metadata({}, event_type="gfu-gold"))
    return make_notice(type="initial", number=0, summary=summary, fields=fields, links={})


def retraction() -> Notice:
    summary, fields = without_map(make_notice())
    return make_notice(
        type="retraction", number=2, summary=summary, fields=fields, links={}, comment="flashers were on"
    )
