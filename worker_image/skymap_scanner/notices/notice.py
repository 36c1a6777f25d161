"""What a notice says about an event and its scan; without I/O.

The first notice of an event is its *initial* one, later ones are *updates*, and a *retraction* withdraws them all. An
initial notice that goes out when a scan begins has no map.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
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

#: Keys of the summary that describe the event: the only ones with a value in a retraction.
_EVENT = {
    "frame",
    "units",
    "run_id",
    "event_id",
    "sub_event_id",
    "sub_event_stream",
    "choice",
    "caution",
    "event_type",
    "name",
    "mjd",
    "time",
    "is_real_event",
}
#: GCN's fields that say the same.
_EVENT_FIELDS = {
    "mission",
    "instrument",
    "messenger",
    "pipeline",
    "event_name",
    "id",
    "trigger_time",
    "alert_tense",
    "alert_topology",
}
#: Keys whose values distinguish results. Later versions of the scanner may add keys to the summary of an equal result.
_FACTS = (
    "run_id",
    "event_id",
    "sub_event_id",
    "name",
    "time",
    "is_real_event",
    "choice",
    "caution",
    "reconstruction",
    "topology",
    "complete",
    "levels",
    "rule",
    "cautions",
)
_BEST_FACTS = ("nside", "pixel", "llh")
_REGION_FACTS = ("credible_level", "two_delta_llh", "area_deg2", "ra_plus", "ra_minus", "dec_plus", "dec_minus", "open")
#: Keys of the summary that every notice needs.
_NEEDED = {"run_id", "event_id", "time", "is_real_event", "best_fit", "regions", "cautions"}
#: Endings of the files to which a notice links, the preferred one first.
_LINKED = {
    "map": (".multiorder.fits",),
    "picture": (".plot_zoomed.png", ".plot_zoomed_wilks.png", ".plot_allsky.png"),
    "report": (".report.html",),
}


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
        """Digest of the notice without its number and time: equal for two notices with the same information.

        An initial notice and an update with the same facts have the same digest.
        """
        said = [self.type == "retraction", self.tense, _facts(self.summary), dict(self.links), self.comment]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def key(self) -> str:
        """Idempotency key: the same for each attempt to send this notice, and for no other notice."""
        return f"{self.event_id}-{self.number}-{self.content[:12]}"

    @property
    def headline(self) -> str:
        """The notice in one line of text."""
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
    """Return summary and GCN fields of a notice's event alone, for its retraction: all else is null or empty."""
    summary = {
        key: value if key in _EVENT else ([] if isinstance(value, list) else None)
        for key, value in notice.summary.items()
    }
    return summary, {key: value for key, value in notice.fields.items() if key in _EVENT_FIELDS}


def chosen_tense(summary: Mapping[str, Any], asked: Tense | None) -> Tense:
    """Return the tense of a notice: the requested one, except that simulated events are always tests."""
    return (asked or "current") if summary["is_real_event"] else "test"


def links_of(base: str, stem: str, names: Iterable[str]) -> dict[str, str]:
    """Return the links to the files among ``names`` that a notice links to; ``base`` is the URL of their folder.

    Only files of the result itself, whose names begin with its ``stem``: those of other contour rules have one more
    part.
    """
    there = set(names)
    links = {}
    for key, endings in _LINKED.items():
        found = next((stem + ending for ending in endings if stem + ending in there), None)
        if base and found is not None:
            links[key] = f"{base.rstrip('/')}/{quote(found)}"
    return links


def _facts(summary: Mapping[str, Any]) -> list[Any]:
    best = summary["best_fit"] or {}
    return [
        [summary.get(key) for key in _FACTS],
        [best.get(key) for key in _BEST_FACTS],
        *([region.get(key) for key in _REGION_FACTS] for region in summary["regions"]),
    ]


def utc_now(seconds: float) -> str:
    """Return a time (s, Unix) as notices write it, to the millisecond."""
    moment = datetime.fromtimestamp(math.floor(seconds * 1000) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
