"""Summarise the located events of a calibration: how often the regions hold the truth, and how large they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.coverage.events import LIGHTS
from benchmarks.coverage.report import COLOURS, column, draw_coverage, draw_errors, share
from benchmarks.coverage.thresholds import RANGE_EVENTS, Records, energy_ranges, held_out_limits
from numpy.typing import NDArray

from skymap_scanner.results.calibration import Threshold, choose_rule, shipped_calibrations
from skymap_scanner.results.rule import WILKS

#: The truth is fitted better than the best fit by more than this in 2 delta ln L: the search has missed the minimum.
MISSED = -0.2


def write_report(records: Records, settings: Mapping[str, Any], folder: Path, range_events: int = RANGE_EVENTS) -> str:
    """Write ``report.md`` and the pictures into the folder; return the text."""
    fitted = [record for record in records if "failed" not in record]
    both = zip(held_out_limits(fitted, range_events), map(printed_limits, fitted), strict=True)
    limits = np.array([(*held_out, *printed) for held_out, printed in both]).reshape(-1, 4)
    places = {kind: [n for n, record in enumerate(fitted) if record["topology"] == kind] for kind in COLOURS}
    places = {kind: found for kind, found in places.items() if found}
    kinds = {kind: [fitted[n] for n in found] for kind, found in places.items()}
    text = "\n".join(
        [
            *_head(settings),
            *_table(records, kinds, {kind: limits[found] for kind, found in places.items()}),
            *_tables_by_light(records, fitted, limits),
            "",
            *_ranges(fitted, range_events),
            "",
            *_rule(),
        ]
    )
    (folder / "report.md").write_text(text + "\n")
    if kinds:
        draw_errors(kinds).savefig(folder / "errors.png", dpi=150)
        draw_coverage(kinds).savefig(folder / "coverage.png", dpi=150)
    return text


def printed_limits(record: Mapping[str, Any]) -> tuple[float, float]:
    """Return the 50 % and 90 % thresholds that this version of the scanner applies to such a fit."""
    rule = choose_rule(shipped_calibrations(), record["likelihood"], record["fitted_topology"], record["fitted_energy"])
    return rule.levels[0.5], rule.levels[0.9]


def _head(settings: Mapping[str, Any]) -> list[str]:
    low, high = settings["energies"]
    varied, light = settings["physics"]["varied"], LIGHTS[settings["physics"]["light"]]
    physics = "each with its own ice, anisotropy, efficiency and hole ice" if varied else "with the ice of the fit"
    text = (
        f"Simulated events from seed {settings['seed']}, {physics}, {light}: {low:g} to {high:g} GeV, even in the "
        "logarithm; vertex even in the instrumented volume, direction even over the sky. Fitted by "
        f"{settings['reconstruction']} with {settings['parameters'] or 'its defaults'}, from the "
        f"{settings['candidates']} best pixels of nside {settings['coarse_nside']}."
    )
    return ["# Calibration of the contours", "", text, ""]


def _tables_by_light(records: Records, fitted: Records, limits: NDArray[np.float64]) -> list[str]:
    """Return the table of each light, where the events have both."""
    lines = []
    lights = sorted({record["light"] for record in fitted})
    for light in lights if len(lights) > 1 else []:
        places = {
            kind: [n for n, r in enumerate(fitted) if (r["topology"], r["light"]) == (kind, light)] for kind in COLOURS
        }
        kinds = {kind: [fitted[n] for n in found] for kind, found in places.items() if found}
        lines += ["", f"{light.capitalize()} light alone:", ""]
        of_light = [record for record in records if record.get("light") == light]
        lines += _table(of_light, kinds, {kind: limits[places[kind]] for kind in kinds})
    return lines


def _table(records: Records, kinds: Mapping[str, Records], limits: Mapping[str, NDArray[np.float64]]) -> list[str]:
    lines = ["| | " + " | ".join(f"{kind}s" for kind in kinds) + " |", "|---|" + "---|" * len(kinds)]

    def row(name: str, cells: Sequence[str]) -> None:
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    failed = {kind: sum("failed" in record for record in records if record["topology"] == kind) for kind in kinds}
    row("events, and those without a fit", [f"{len(found)}, {failed[kind]}" for kind, found in kinds.items()])
    row(
        "fitted as track, cascade",
        [
            ", ".join(str(sum(r["fitted_topology"] == kind for r in found)) for kind in COLOURS)
            for found in kinds.values()
        ],
    )
    for name, quantile in (("median angular error", 0.5), ("90 % of errors below", 0.9)):
        row(name, [f"{np.quantile(column(found, 'error'), quantile):.2f}°" for found in kinds.values()])
    for place, level in enumerate((0.5, 0.9)):
        wilks = WILKS.levels[level]
        row(
            f"truth in the {level:.0%} region, statistical",
            [share(column(found, "delta") < wilks) for found in kinds.values()],
        )
        row(
            f"truth in the {level:.0%} region, calibrated without the event",
            [share(column(found, "delta") < limits[kind][:, place]) for kind, found in kinds.items()],
        )
        row(
            f"truth in the {level:.0%} region, as this version prints it",
            [share(column(found, "delta") < limits[kind][:, 2 + place]) for kind, found in kinds.items()],
        )
        row(
            f"median area of the {level:.0%} region, statistical / calibrated / printed",
            [
                f"{_median_area(found, wilks)} / {_median_area(found, limits[kind][:, place])} / "
                f"{_median_area(found, limits[kind][:, 2 + place])}"
                for kind, found in kinds.items()
            ],
        )
    row(
        f"truth fitted better than the best fit (2Δ below {MISSED}: a missed minimum)".replace("-", "−"),
        [share(column(found, "delta") < MISSED) for found in kinds.values()],
    )
    row("CPU time of the fits of an event", [f"{np.mean(column(found, 'cpu')):.1f} s" for found in kinds.values()])
    return lines


def _ranges(fitted: Records, range_events: int) -> list[str]:
    lines = ["| fits that show | events | 50 % threshold | 90 % threshold |", "|---|---|---|---|"]
    lines += [
        f"| {one.text} | {one.events} | {_interval(one.half)} | {_interval(one.ninety)} |"
        for one in energy_ranges(fitted, range_events)
    ]
    lines.append(f"| Wilks' theorem | – | {WILKS.levels[0.5]} | {WILKS.levels[0.9]} |")
    return lines


def _interval(threshold: Threshold) -> str:
    return f"{threshold.value:.2f} ({threshold.low:.2f}–{threshold.high:.2f})"


def _median_area(records: Records, limit: float | NDArray[np.float64]) -> str:
    """Write the median area of the regions of parabolic minima, 2 delta ln L < limit, of those events that have one."""
    area = column(records, "area_per_delta") * limit
    area = area[np.isfinite(area)]
    return f"{np.median(area):.3g} deg²" if len(area) else "unknown"


def _rule() -> list[str]:
    text = (
        "The truth is inside a region where 2Δ(−ln L), between the fits at the true direction and with free direction, "
        "is below the region's threshold. *Calibrated without the event*: thresholds are made from four fifths of the "
        "events and tried on the others. *As this version prints it*: by the calibration that is shipped for the "
        "likelihood, or by Wilks' theorem without one. Areas are those of the ellipses that the covariance gives. In "
        "brackets: 68 % intervals, of shares by Clopper and Pearson, of thresholds from the number of events."
    )
    return [text]
