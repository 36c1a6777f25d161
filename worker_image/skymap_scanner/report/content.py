"""What the page shows, as plain values: the data that its script draws, and the texts of its tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skymap_scanner.event.model import OnlineDirection
from skymap_scanner.healpix import ring_to_nested
from skymap_scanner.report.event_view import event_view
from skymap_scanner.report.growth import DoneRound, done_rounds, growth
from skymap_scanner.report.history import FitRecord
from skymap_scanner.report.scan_report import ScanReport
from skymap_scanner.results import ScanResult
from skymap_scanner.results.cautions import cautions
from skymap_scanner.results.contours import Contour, contours
from skymap_scanner.results.overlay import circle_line
from skymap_scanner.results.rule import WILKS, percent
from skymap_scanner.results.skymap import MultiOrderMap, multi_order_map
from skymap_scanner.results.summary import area_number, summary_text

#: Pixels, and fits of the history, that a page holds, so that a browser can: 2 to 5 MB. Of more pixels, the best.
MAX_PIXELS, MAX_FITS = 50_000, 100_000
#: Failed and repeated fits that the page lists; further ones are only counted.
MAX_LISTED = 100


@dataclass(frozen=True)
class Content:
    """The ``data`` of the page for its script, its ``card`` for an index, and the texts of the page."""

    title: str
    data: dict[str, Any]
    card: dict[str, Any]
    summary: str
    regions: Sequence[dict[str, str]]
    troubles: Sequence[dict[str, str]]
    troubles_left_out: int
    notes: Sequence[str]
    cautions: Sequence[str]


def content(report: ScanReport) -> Content:
    """Return what the page of a scan shows."""
    result = report.result
    fitted = sum(map(len, result.failed.values())) < result.scanned
    skymap = multi_order_map(result, result.metadata.rule or WILKS) if fitted else None
    regions = contours(skymap) if skymap else []
    levels, rows = _levels(result, skymap)
    history = sorted(report.history, key=lambda one: one.ended)
    began = min((one.began for one in history), default=0.0)
    every = {(nside, index) for nside, level in result.levels.items() for index in level["index"].tolist()}
    rounds = [one for one in done_rounds(history) if (one.nside, one.pixel) in every]
    notes = []
    if result.scanned > MAX_PIXELS:
        notes.append(f"The map has the best {MAX_PIXELS} of {result.scanned} pixels.")
    if len(history) > MAX_FITS:
        notes.append(f"The workers have the last {MAX_FITS} of {len(history)} fits.")
    if not history:
        notes.append("There is no history of this scan: no replay, curves or workers.")
    if report.event is None:
        notes.append("There is no .i3 file of this scan: no event.")
    troubles = _troubles(history, result)
    rule = result.metadata.rule or WILKS
    return Content(
        title=_title(result),
        data={
            "best": _best(skymap),
            "online": _online(result.metadata.online),
            "levels": levels,
            "contours": [_contour(one, rule.name) for one in regions],
            "rule": {"name": rule.name, "label": _rule_label(rule.name)},
            "event": None if report.event is None else event_view(report.event, skymap, report.losses),
            "history": _history(history[-MAX_FITS:], began, rounds, rows, skymap),
            "growth": [] if skymap is None else _growth(result, skymap, rounds, began),
        },
        card=_card(result, skymap, regions, history),
        summary=summary_text(result, skymap, regions),
        regions=[_region_row(skymap, one) for one in regions] if skymap else [],
        troubles=troubles[:MAX_LISTED],
        troubles_left_out=max(0, len(troubles) - MAX_LISTED),
        notes=notes,
        cautions=[
            one
            for one in (result.metadata.choice, result.metadata.caution, *(cautions(skymap) if skymap else ()))
            if one
        ],
    )


def _title(result: ScanResult) -> str:
    return result.metadata.name or result.stem


def _rule_label(name: str) -> str:
    return {"wilks": "statistical only", "ic160427a": "IC160427A"}.get(name, name)


def _best(skymap: MultiOrderMap | None) -> dict[str, Any] | None:
    if skymap is None:
        return None
    best = skymap.best
    return {
        "ra": round(best.ra, 6),
        "dec": round(best.dec, 6),
        "llh": round(best.llh, 3),
        "nside": best.nside,
        "index": best.index,
        "energy": None if math.isnan(best.energy_total) else float(f"{best.energy_total / 1000:.3g}"),
    }


def _online(online: OnlineDirection | None) -> dict[str, Any] | None:
    """Return the online direction, and the line of its 90 % circle."""
    if online is None:
        return None
    radius = online.radius_90
    line = [] if radius is None else np.round(circle_line(online.ra, online.dec, min(radius, 180)), 4).ravel().tolist()
    error = "no error" if radius is None else f"90% within {radius:.2f}°, statistical only"
    return {
        "ra": round(online.ra, 4),
        "dec": round(online.dec, 4),
        "line": line,
        "label": f"online direction ({online.name}, {error})",
    }


def _levels(
    result: ScanResult, skymap: MultiOrderMap | None
) -> tuple[list[dict[str, Any]], dict[tuple[int, int], int]]:
    """Return the pixels of each level in columns, and the row of each pixel, counted over all levels.

    ``rise`` is -ln L above the best fit, None where the fit failed.
    """
    lowest = skymap.best.llh if skymap else math.nan
    every = np.concatenate([level["llh"] for level in result.levels.values()] or [np.empty(0)])
    cut = math.inf if len(every) <= MAX_PIXELS else float(np.sort(every)[MAX_PIXELS - 1])
    # NaN sort last: a cut of NaN means that the failed pixels alone are too many.
    levels: list[dict[str, Any]] = []
    rows: dict[tuple[int, int], int] = {}
    for nside, level in result.levels.items():
        kept = level if math.isinf(cut) else level[np.isfinite(level["llh"]) & ~(level["llh"] > cut)]
        for index in kept["index"].tolist():
            rows[nside, index] = len(rows)
        levels.append(
            {
                "nside": nside,
                "index": kept["index"].tolist(),
                "nested": ring_to_nested(nside, kept["index"]).tolist() if len(kept) else [],
                "rise": _numbers(kept["llh"] - lowest, 3),
                "energy": _numbers(kept["E_tot"] / 1000, 3),
                "energyIn": _numbers(kept["E_in"] / 1000, 3),
                **{name: _numbers(kept[name.upper()], 0) for name in "xyzt"},
            }
        )
    return levels, rows


def _numbers(values: Any, digits: int) -> list[float | int | None]:
    """Return rounded numbers for JSON, which has no NaN."""
    rounded = np.round(values, digits)
    whole = digits == 0
    return [(int(one) if whole else one) if math.isfinite(one) else None for one in np.asarray(rounded, float).tolist()]


def _contour(region: Contour, rule: str) -> dict[str, Any]:
    return {
        "rule": region.rule,
        "name": f"{percent(region.credible_level)} {_rule_label(region.rule)}",
        "main": region.rule == rule,
        "level": region.credible_level,
        "threshold": region.threshold,
        "area": float(f"{region.area:.4g}"),
        "lines": [np.round(line, 4).ravel().tolist() for line in region.lines],
    }


def _region_row(skymap: MultiOrderMap, region: Contour) -> dict[str, str]:
    best, box = skymap.best, region.box
    return {
        "name": f"{percent(region.credible_level)}, {_rule_label(region.rule)}",
        "area": area_number(region.area) + (" or more" if region.open else ""),
        "ra": f"{best.ra:.2f} +{box.ra_plus:.2f} −{box.ra_minus:.2f}",
        "dec": f"{best.dec:+.2f} +{box.dec_plus:.2f} −{box.dec_minus:.2f}",
        "threshold": f"{region.threshold:.2f}",
    }


def _history(
    history: Sequence[FitRecord],
    began: float,
    rounds: Sequence[DoneRound],
    rows: dict[tuple[int, int], int],
    skymap: MultiOrderMap | None,
) -> dict[str, Any] | None:
    """Return fits and rounds in columns; times are seconds since ``began``, when the first fit of all began."""
    if not history:
        return None
    lowest = skymap.best.llh if skymap else math.nan
    workers = {name: number for number, name in enumerate(sorted({one.worker for one in history}))}
    shown = [one for one in rounds if (one.nside, one.pixel) in rows]
    return {
        "began": began,
        "workers": list(workers),
        "fits": {
            "row": [rows.get((one.nside, one.pixel), -1) for one in history],
            "worker": [workers[one.worker] for one in history],
            "began": [round(one.began - began, 2) for one in history],
            "took": [round(max(one.ended - one.began, 0), 2) for one in history],
            "attempt": [one.attempt for one in history],
            "failed": [int(math.isnan(one.llh)) for one in history],
        },
        "rounds": {
            "row": [rows[one.nside, one.pixel] for one in shown],
            "time": [round(one.ended - began, 2) for one in shown],
            "rise": _numbers(np.array([one.llh for one in shown]) - lowest, 3),
        },
    }


def _growth(
    result: ScanResult, skymap: MultiOrderMap, rounds: Sequence[DoneRound], began: float
) -> list[list[float | None]]:
    """Return time (s since ``began``), RA, Dec, offset (deg) and area (square degrees) of each point."""
    return [
        [
            round(one.time - began, 2),
            round(one.ra, 3),
            round(one.dec, 3),
            round(one.offset, 4),
            None if one.area is None else float(f"{one.area:.4g}"),
        ]
        for one in growth(result, skymap.rule, rounds)
    ]


def _troubles(history: Sequence[FitRecord], result: ScanResult) -> list[dict[str, str]]:
    """Return the fits that failed, or were attempted more than once, and the failed pixels that no fit explains."""
    found = [
        {
            "pixel": f"nside {one.nside} pixel {one.pixel}" if one.nside else f"re-simulation {one.pixel}",
            "seed": str(one.seed),
            "worker": one.worker,
            "attempt": str(one.attempt),
            "what": (one.failure or "the fit failed") if math.isnan(one.llh) else "fitted after a repeated attempt",
        }
        for one in history
        if math.isnan(one.llh) or one.attempt > 1
    ]
    known = {(one.nside, one.pixel) for one in history}
    found += [
        {"pixel": f"nside {nside} pixel {index}", "seed": "", "worker": "", "attempt": "", "what": "no fit succeeded"}
        for nside, indices in result.failed.items()
        for index in indices
        if (nside, index) not in known
    ]
    return found


def _card(
    result: ScanResult, skymap: MultiOrderMap | None, regions: Sequence[Contour], history: Sequence[FitRecord]
) -> dict[str, Any]:
    """Return what an index shows of the scan."""
    rule = (result.metadata.rule or WILKS).name
    ninety = [one.area for one in regions if one.rule == rule and one.credible_level == 0.9]
    return {
        "name": _title(result),
        "run": result.metadata.run_id,
        "event": result.metadata.event_id,
        "kind": result.metadata.event_type,
        "real": result.metadata.is_real_event,
        "mjd": result.metadata.mjd,
        "ra": round(skymap.best.ra, 2) if skymap else None,
        "dec": round(skymap.best.dec, 2) if skymap else None,
        "area": float(f"{ninety[0]:.3g}") if ninety else None,
        "rule": _rule_label(rule),
        "pixels": result.scanned,
        "complete": result.complete,
        "scanned": max((one.ended for one in history), default=None),
    }
