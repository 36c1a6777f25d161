"""Draws memory and processor time of the operator over time, and the latencies of each phase."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from benchmarks.scans.figures import Phase, Sample, latencies, quantile

from skymap_operator.runtime.workqueue import Trigger

#: Processor time is averaged over so many samples (one per second).
WINDOW = 10


def draw(samples: Sequence[Sample], phases: Sequence[Phase], path: Path) -> None:
    """Draw the picture into a file."""
    mpl.use("Agg")
    figure, (upper, middle, lower) = plt.subplots(3, 1, figsize=(9, 9), layout="constrained")
    minutes = [(one.at - samples[0].at) / 60 for one in samples]
    upper.plot(minutes, [one.rss for one in samples])
    upper.axhline(200, color="tab:red", linewidth=0.8, linestyle="--")
    upper.set_ylabel("resident memory [MiB]")
    upper.set_ylim(bottom=0)
    pairs = list(zip(samples, samples[WINDOW:], strict=False))
    cores = [(later.cpu - before.cpu) / (later.at - before.at) for before, later in pairs]
    middle.plot(minutes[WINDOW:], cores)
    middle.axhline(1, color="tab:red", linewidth=0.8, linestyle="--")
    middle.set_ylabel("processor [cores]")
    middle.set_xlabel("time [min]")
    for phase in phases:
        if phase.samples:
            begin = (phase.samples[0].at - samples[0].at) / 60
            for axes in (upper, middle):
                axes.axvline(begin, color="0.7", linewidth=0.8)
            upper.text(begin, 5, f" {phase.name}", fontsize=8)
        parts = [number / 200 for number in range(1, 200)]
        for trigger, style in ((Trigger.EVENT, "-"), (Trigger.REQUEUE, ":")):
            spread = latencies(phase.counted, trigger)
            colour = f"C{phases.index(phase)}"
            lower.plot(
                [quantile(spread, part) for part in parts], parts, style, color=colour, label=f"{phase.name}, {trigger}"
            )
    lower.axvline(5, color="tab:red", linewidth=0.8, linestyle="--")
    lower.set_xscale("log")
    lower.set_xlabel("time from due to end of a reconcile [s]")
    lower.set_ylabel("part of the reconciles")
    lower.legend(ncols=2, fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
