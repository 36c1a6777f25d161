"""What a notice says about an event and its scan; without I/O.

The first notice of an event is its *initial* one, later ones are *updates*, and a *retraction* withdraws them all. An
initial notice that goes out when a scan begins has no map.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator

from skymap_scanner.results.contours import contours
from skymap_scanner.results.result import ScanMetadata, ScanResult
from skymap_scanner.results.rule import WILKS
from skymap_scanner.results.skymap import multi_order_map
from skymap_scanner.results.summary import event_fields, summary_json

#: GCN's words (schema ``core/Alert``): ``archival`` is a new analysis of an old event.
NoticeType = Literal["initial", "update", "retraction"]
Tense = Literal["current", "archival", "test"]

#: Keys of the summary that say how a scan went, not what it found: equal maps give equal notices.
_NOT_CONTENT = ("wall_time", "scanner_version")
#: Keys of the summary that every notice needs.
_NEEDED = {"run_id", "event_id", "time", "is_real_event", "best_fit", "regions", "cautions"}
#: Ends of the names of the files to which a notice links.
_LINKED = {"map": ".multiorder.fits", "picture": ".png", "report": ".report.html"}


def _check_summary(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    if missing := _NEEDED - summary.keys():
        raise ValueError(f"the summary lacks {', '.join(sorted(missing))}")
    return summary


@dataclass(frozen=True)
class Notice:
    """One notice about an event.

    ``number`` counts the notices of the event from 0, ``created`` is the time of this one (ISO 8601, UTC, with Z).
    ``summary`` is that of `results.summary`, its ``best_fit`` None where there is no map. ``fields`` are those of GCN's
    schema that follow from it. ``links`` are the URLs of the published files: ``map``, ``picture``, ``report``.
    ``comment`` says why the notice goes out; a retraction should have one.
    """

    type: NoticeType
    tense: Tense
    number: int
    created: str
    summary: Annotated[Mapping[str, Any], AfterValidator(_check_summary)]
    fields: Mapping[str, Any]
    links: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""

    @property
    def has_map(self) -> bool:
        """Whether the notice gives a direction."""
        return self.summary["best_fit"] is not None

    @property
    def event_id(self) -> str:
        """Run and event: ``138632_31747601``."""
        return f"{self.summary['run_id']}_{self.summary['event_id']}"

    @property
    def content(self) -> str:
        """A digest of what the notice says, without its number and its time: equal for a notice that says nothing new.

        That a further notice of the same facts is called an update is nothing new either.
        """
        summary = {key: value for key, value in self.summary.items() if key not in _NOT_CONTENT}
        said = [self.type == "retraction", self.tense, summary, dict(self.links), self.comment]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def key(self) -> str:
        """Idempotency key: the same for each attempt to send this notice, and for no other notice."""
        return f"{self.event_id}-{self.number}-{self.content[:12]}"

    @property
    def headline(self) -> str:
        """The notice in one line, for people."""
        fields = self.fields
        name = (fields.get("event_name") or [f"event {self.event_id}"])[0]
        start = f"{'TEST: ' if self.tense == 'test' else ''}IceCube {name}, {self.type} notice {self.number}"
        if self.type == "retraction":
            return f"{start}: retracted. {self.comment}".strip()
        if not self.has_map:
            return f"{start}: the sky map is being made"
        area = next((one["area_deg2"] for one in self.summary["regions"] if one["credible_level"] == 0.9), None)
        region = "" if area is None else f", 90 % area {area:.3g} deg²"
        return f"{start}: RA {fields['ra']:.2f}° Dec {fields['dec']:+.2f}° (J2000){region}"


def summary_of_event(metadata: ScanMetadata) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return summary and GCN fields of an event whose scan has no map yet."""
    empty = ScanResult({}, metadata)
    return json.loads(summary_json(empty, None, [])), event_fields(metadata)


def summary_of_result(result: ScanResult) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return summary and GCN fields of a result; those of its event if no pixel has a fit."""
    if sum(map(len, result.failed.values())) == result.scanned:
        return summary_of_event(result.metadata)
    skymap = multi_order_map(result, result.metadata.rule or WILKS)
    summary = json.loads(summary_json(result, skymap, contours(skymap)))
    return summary, summary["notice"]


def without_map(notice: Notice) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return summary and GCN fields of a notice's event alone, for its retraction."""
    empty: dict[str, Any] = {"best_fit": None, "notice": None, "regions": [], "statistical_regions": [], "cautions": []}
    direction = ("ra", "dec", "ra_dec_error", "containment_probability", "systematic_included")
    return {**notice.summary, **empty}, {key: value for key, value in notice.fields.items() if key not in direction}


def chosen_tense(summary: Mapping[str, Any], asked: Tense | None) -> Tense:
    """Return the tense of a notice: that which was asked for, except that simulated events are always tests."""
    return (asked or "current") if summary["is_real_event"] else "test"


def links_of(base: str, names: list[str]) -> dict[str, str]:
    """Return the links to those of the files ``names`` that notices name, where ``base`` is the URL of their folder."""
    links = {}
    for key, ending in _LINKED.items():
        found = [name for name in sorted(names) if name.endswith(ending)]
        if key == "picture":  # the zoom if there is one
            found.sort(key=lambda name: ".plot_zoomed" not in name)
        if base and found:
            links[key] = f"{base.rstrip('/')}/{quote(found[0])}"
    return links


def utc_now(seconds: float) -> str:
    """Return a time (s, Unix) as notices write it, to the millisecond."""
    moment = datetime.fromtimestamp(math.floor(seconds * 1000) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
