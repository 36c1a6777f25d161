"""Results of simulated scans, as a table and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.scaling.parts import Scan
from benchmarks.scaling.world import Sample

HEADER = (
    "| scenario | who decides | time to result (s): median, 95 % | in time | paid (worker s) | fits (s) | paid/fits "
    "| busy asked to leave | fits killed |\n|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Outcome:
    """One scan of one run: times in seconds; ``paid``: worker time on nodes; ``useful``: time in fits."""

    time: float
    target: float
    paid: float
    useful: float
    asked: int
    killed: int
    urgent: bool

    @classmethod
    def of(cls, scan: Scan) -> Outcome:
        """Return the outcome of a finished scan."""
        if scan.finished is None:
            raise ValueError(
                f"{scan.order.name} has no result: {scan.waiting} tasks wait, {scan.in_flight} are in hand"
            )
        time = scan.finished - scan.order.arrives
        order = scan.order
        return cls(time, order.target, scan.paid, scan.useful, scan.asked, scan.killed, order.urgent)


def rows(scenario: str, policy: str, runs: Sequence[Sequence[Outcome]]) -> Iterator[str]:
    """Return rows of the table, urgent scans apart from the others; sums are means over runs."""
    groups = [(f"{scenario}: the urgent one", True), (f"{scenario}: the others", False)]
    if not any(one.urgent for run in runs for one in run):
        groups = [(scenario, False)]
    for name, urgent in groups:
        scans = [one for run in runs for one in run if one.urgent is urgent]
        median, late = np.percentile([one.time for one in scans], [50, 95])
        met = sum(one.time <= one.target for one in scans)
        paid, useful = (sum(getattr(one, what) for one in scans) / len(runs) for what in ("paid", "useful"))
        asked, killed = (sum(getattr(one, what) for one in scans) / len(runs) for what in ("asked", "killed"))
        yield (
            f"| {name} | {policy} | {median:.0f}, {late:.0f} | {met}/{len(scans)} | {paid:,.0f} | {useful:,.0f} "
            f"| {paid / useful:.2f} | {asked:.0f} | {killed:.0f} |"
        )


def draw(path: Path, title: str, traces: Sequence[tuple[str, Sequence[Sample]]]) -> None:
    """Draw backlog and workers over time, one row a policy."""
    import matplotlib as mpl  # noqa: PLC0415 - only where a picture is asked for

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    longest = max(samples[-1].time for _, samples in traces)
    figure, axes = plt.subplots(len(traces), 1, figsize=(9, 2.6 * len(traces)), sharex=True, squeeze=False)
    for axis, (policy, samples) in zip(axes[:, 0], traces, strict=True):
        times = [one.time for one in samples]
        axis.fill_between(times, [one.busy for one in samples], step="post", color="#4477aa", alpha=0.5, label="busy")
        axis.step(times, [one.ready for one in samples], where="post", color="#228833", label="ready")
        axis.step(times, [one.wanted for one in samples], where="post", color="#cc3311", lw=1, label="wanted")
        axis.set_ylabel("workers")
        axis.set_title(f"{policy}: {samples[-1].time:.0f} s", fontsize=10, loc="left")
        axis.set_xlim(0, longest)
        tasks = axis.twinx()
        tasks.plot(times, [one.backlog for one in samples], color="0.5", lw=1, label="backlog (right)")
        tasks.set_ylim(bottom=0)
        tasks.set_ylabel("fits")
        lines = [part for one in (axis, tasks) for part in zip(*one.get_legend_handles_labels(), strict=True)]
        beside = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": 4, "frameon": False, "fontsize": 8}
        axis.legend([line for line, _ in lines], [label for _, label in lines], **beside)
    axes[-1, 0].set_xlabel(f"seconds since the scan was asked for ({title})")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
