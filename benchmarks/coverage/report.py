"""Summarise the events of a coverage run: a table in Markdown and two pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import binomtest, chi2

from skymap_scanner.results.rule import LEVELS, WILKS

Records = Sequence[Mapping[str, Any]]

COLOURS = {"track": "#0072B2", "cascade": "#D55E00"}


def write_report(records: Records, settings: Mapping[str, Any], folder: Path) -> str:
    """Write ``report.md`` and the pictures into the folder; return the text.

    Events without a fit are named and left out of all figures; without any fit there are no pictures.
    """
    fitted = [record for record in records if "failed" not in record]
    kinds = {kind: [record for record in fitted if record["topology"] == kind] for kind in COLOURS}
    kinds = {kind: found for kind, found in kinds.items() if found}
    text = "\n".join([*_head(settings), *(_table(kinds) if kinds else []), "", *_failed(records), *_rule()])
    (folder / "report.md").write_text(text + "\n")
    if kinds:
        draw_errors(kinds).savefig(folder / "errors.png", dpi=150)
        draw_coverage(kinds).savefig(folder / "coverage.png", dpi=150)
    return text


def _failed(records: Records) -> list[str]:
    """Name the events without a fit, with their reasons."""
    failed = sorted((record["key"], record["failed"]) for record in records if "failed" in record)
    names = "; ".join(f"{key} ({reason})" for key, reason in failed)
    return [f"{len(failed)} of {len(records)} events have no fit and are in no figure: {names}.", ""] if failed else []


def _head(settings: Mapping[str, Any]) -> list[str]:
    low, high = settings["energies"]
    seeds = f"seeds a pixel: {settings['seeds']} in the first level, then {settings['warm_seeds']}"
    physics = "each in its own ice" if settings["varied"] else "in the ice of the fit"
    text = (
        f"Simulated events from seed {settings['seed']}: {low:g} to {high:g} GeV, even in the logarithm; vertex even "
        f"in the instrumented volume, direction even over the sky, {physics}, {settings['light']} light. Fitted with "
        f"the ice {settings['ice']}, scanned with levels `{settings['levels']}`; {seeds}."
    )
    return ["# Coverage", "", text, ""]


def _table(kinds: Mapping[str, Records]) -> list[str]:
    lines = ["| | " + " | ".join(kinds) + " |", "|---|" + "---|" * len(kinds)]

    def row(name: str, cells: Sequence[str]) -> None:
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    row("events with a fit", [str(len(found)) for found in kinds.values()])
    row("drawn, but not triggered", [str(sum(r["not_triggered"] for r in found)) for found in kinds.values()])
    for name, quantile in (
        ("median angular error", 0.5),
        ("68 % of errors below", 0.68),
        ("90 % of errors below", 0.9),
    ):
        row(name, [f"{np.quantile(column(found, 'error'), quantile):.2f}°" for found in kinds.values()])
    for level in LEVELS:
        name, region = f"{level:.0%} region", f"{WILKS.name} {level:g}"
        limits = [np.array([r["limits"][f"{level:g}"] for r in found]) for found in kinds.values()]
        row(
            f"truth in the {name}, statistical (2Δ(−ln L) < {WILKS.levels[level]:g})",
            [share(column(found, "delta") < WILKS.levels[level]) for found in kinds.values()],
        )
        row(
            f"truth in the {name}, as printed",
            [share(column(f, "delta") < limit) for f, limit in zip(kinds.values(), limits, strict=True)],
        )
        row(f"truth in the {name} as drawn, statistical", [share(_inside(f, region)) for f in kinds.values()])
        printed = [[f"{r['rule']} {level:g}" for r in found] for found in kinds.values()]
        row(
            f"median area of the {name}, statistical / as printed",
            [
                f"{np.median(_areas(f, [region] * len(f))):.2f} / {np.median(_areas(f, names)):.2f} deg²"
                for f, names in zip(kinds.values(), printed, strict=True)
            ],
        )
    row("regions that are calibrated", [share(np.array([r["rule"] != WILKS.name for r in f])) for f in kinds.values()])
    row(
        "truth fitted better than the best pixel (2Δ below −2: the scan missed it)",
        [share(column(f, "delta") < -2) for f in kinds.values()],
    )
    row(
        "median charge, hit DOMs",
        [f"{np.median(column(f, 'charge')):.0f} pe, {np.median(column(f, 'doms')):.0f}" for f in kinds.values()],
    )
    row(
        "fits, CPU time an event",
        [f"{np.mean(column(f, 'fits')):.0f}, {np.mean(column(f, 'cpu')):.0f} s" for f in kinds.values()],
    )
    return lines


def _rule() -> list[str]:
    text = (
        "Rule: the truth is inside a region where 2Δ(−ln L), between a fit at the true direction and the best pixel, "
        "is below the region's threshold: Wilks' (statistical), or that of the contours that a scan prints, which are "
        "calibrated where a calibration applies. The contour as drawn interpolates between the pixels of the reduced "
        "scan. In brackets: the 68 % interval of the share (Clopper and Pearson)."
    )
    return [text]


def _inside(records: Records, region: str) -> NDArray[np.bool_]:
    return np.array([record["regions"][region]["inside"] for record in records], bool)


def _areas(records: Records, regions: Sequence[str]) -> NDArray[np.float64]:
    return np.array([record["regions"][region]["area"] for record, region in zip(records, regions, strict=True)])


def column(records: Records, name: str) -> NDArray[np.float64]:
    """Return one value of every record."""
    return np.array([record[name] for record in records], float)


def share(inside: NDArray[np.bool_]) -> str:
    """Write a share with its interval."""
    interval = binomtest(int(inside.sum()), len(inside)).proportion_ci(0.68)
    return f"{inside.mean():.0%} ({interval.low:.0%}–{interval.high:.0%})"


def draw_errors(kinds: Mapping[str, Records]) -> Figure:
    """Draw the angular error against the energy that gave light, with the running median."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for kind, records in kinds.items():
        energy, error = column(records, "deposited") / 1e3, column(records, "error")
        axes.plot(energy, error, "o", ms=4, alpha=0.7, color=COLOURS[kind], label=f"{kind}s ({len(records)})")
        median = float(np.median(error))
        axes.axhline(median, color=COLOURS[kind], lw=1, ls="--")
        axes.annotate(
            f"median {median:.2f}°", (1, median), xycoords=("axes fraction", "data"), ha="right", va="bottom",
            color=COLOURS[kind], fontsize=9,
        )  # fmt: skip
    axes.set(
        xscale="log", yscale="log", xlim=(10, 1000), xlabel="Energy that gave light (TeV)", ylabel="Angular error (deg)"
    )  # fmt: skip
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(alpha=0.3, lw=0.5)
    axes.legend(frameon=False)
    return figure


def draw_coverage(kinds: Mapping[str, Records]) -> Figure:
    """Draw how many events have the truth below each 2 delta ln L, and what Wilks' theorem expects."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    x = np.geomspace(0.1, 300, 300)
    axes.plot(x, chi2.cdf(x, 2), color="black", lw=1.2, label="Wilks' theorem, 2 degrees of freedom")
    for kind, records in kinds.items():
        delta = np.sort(np.maximum(column(records, "delta"), x[0]))
        share = np.arange(1, len(delta) + 1) / len(delta)
        axes.step([x[0], *delta, x[-1]], [0, *share, 1], where="post", color=COLOURS[kind], label=f"{kind}s")
    for level in LEVELS:
        axes.axvline(WILKS.levels[level], color="0.6", lw=0.8, ls=":")
        axes.annotate(
            f"{level:.0%}", (WILKS.levels[level], 0.02), xycoords=("data", "axes fraction"), fontsize=9, color="0.4"
        )
    axes.set(
        xscale="log", xlim=(x[0], x[-1]), ylim=(0, 1.02), xlabel="2Δ(−ln L) of the true direction",
        ylabel="Share of events below",
    )  # fmt: skip
    axes.grid(alpha=0.3, lw=0.5)
    axes.legend(frameon=False, loc="upper left")
    return figure
