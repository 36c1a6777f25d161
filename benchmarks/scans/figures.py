"""Measurements of the operator while scans run: processor time, memory and metrics."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from testing.processes import usage

from skymap_operator.runtime.workqueue import Trigger

#: A line of Prometheus' text format: name, labels, value.
_LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

LATENCY = "skymap_operator_reconcile_latency_seconds"
REQUESTS = "skymap_operator_rest_client_requests_total"

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read_metrics(text: str) -> Series:
    """Read Prometheus' text format: values by name and sorted labels."""
    found = (_LINE.match(line) for line in text.splitlines() if not line.startswith("#"))
    return {(one[1], tuple(sorted(_LABEL.findall(one[2] or "")))): float(one[3]) for one in found if one is not None}


def total(series: Series, name: str, **labels: str) -> float:
    """Return the sum of all values of a metric that have these labels."""
    wanted = set(labels.items())
    return sum(value for (found, given), value in series.items() if found == name and wanted <= set(given))


def difference(before: Series, after: Series) -> Series:
    """Return how much counters have grown; a new one started at 0."""
    return {key: value - before.get(key, 0.0) for key, value in after.items()}


def quantile(buckets: Mapping[float, float], part: float) -> float:
    """Return a quantile from cumulated counts by upper bound; NaN without any.

    Interpolates linearly within a bucket, as Prometheus' histogram_quantile does; beyond the last bound, returns it.
    """
    bounds = sorted(buckets)
    if not bounds or not buckets[bounds[-1]]:
        return float("nan")
    rank, below, lower = part * buckets[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank and count > below:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (rank - below) / (count - below)
        below, lower = count, bound
    return lower


def latencies(series: Series, trigger: Trigger) -> dict[float, float]:
    """Return the cumulated counts of reconcile latencies by upper bound (s) for one trigger."""
    found = (
        (dict(labels), value)
        for (name, labels), value in series.items()
        if name == f"{LATENCY}_bucket" and ("trigger", trigger.value) in labels
    )
    return {float(labels["le"]): value for labels, value in found}


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment: ``at`` (s, monotonic), processor time used so far (s), resident memory (MiB).

    ``waited``: how long the process has been runnable so far while other processes had the processors (s).
    """

    at: float
    cpu: float
    rss: float
    waited: float = 0.0


@dataclass
class Probe:
    """Reads the resource use of a process from /proc (Linux)."""

    samples: list[Sample] = field(default_factory=list)
    _before: tuple[float, float] = (0.0, 0.0)
    _pid: int = 0

    def read(self, pid: int) -> Sample:
        """Take a sample. Processor time continues from the process before."""
        used = usage(pid)
        if pid != self._pid:
            last = self.samples[-1] if self.samples else Sample(0.0, 0.0, 0.0)
            self._pid, self._before = pid, (last.cpu, last.waited)
        waited = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
        self.samples.append(Sample(time.monotonic(), self._before[0] + used.cpu, used.mib, self._before[1] + waited))
        return self.samples[-1]


@dataclass(frozen=True, slots=True)
class Phase:
    """The measurements of one part of the run; ``counted``: how much the operator's counters have grown."""

    name: str
    scans: int
    seconds: float
    samples: Sequence[Sample]
    counted: Series
    overdue: float
    note: str = ""

    def row(self) -> list[str]:
        """Return a row of the table."""
        cpu = self.samples[-1].cpu - self.samples[0].cpu if self.samples else float("nan")
        spreads = [latencies(self.counted, trigger) for trigger in Trigger]
        reconciles = total(self.counted, "skymap_operator_reconcile_total")
        asked = [total(self.counted, REQUESTS, server=server) for server in ("kubernetes", "pulsar")]
        return [
            self.name,
            f"{self.seconds:.0f}",
            f"{cpu:.1f}",
            f"{cpu / self.seconds:.2f}",
            f"{self._part_waited():.0%}",
            f"{max((one.rss for one in self.samples), default=0.0):.0f}",
            f"{reconciles / self.seconds:.1f}",
            *(f"{quantile(spread, part):.2f}" for spread in spreads for part in (0.5, 0.99)),
            f"{self.overdue:.1f}",
            *(f"{count / self.scans:.1f}" for count in asked),
            *(f"{60 * count / self.scans / self.seconds:.1f}" for count in asked),
            self.note,
        ]

    def _part_waited(self) -> float:
        """Return the part of its runnable time in which the process waited for a processor."""
        if not self.samples:
            return float("nan")
        cpu, waited = (getattr(self.samples[-1], name) - getattr(self.samples[0], name) for name in ("cpu", "waited"))
        return waited / (cpu + waited) if cpu + waited else 0.0


HEADER = [
    "phase",
    "s",
    "CPU s",
    "cores",
    "waiting for CPU",
    "MiB",
    "reconciles/s",
    "event p50 s",
    "event p99 s",
    "requeue p50 s",
    "requeue p99 s",
    "overdue s",
    "K8s/scan",
    "Pulsar/scan",
    "K8s/scan/min",
    "Pulsar/scan/min",
    "",
]


def table(phases: Sequence[Phase]) -> str:
    """Return the table in Markdown."""
    rows = [HEADER, ["---"] * len(HEADER), *(phase.row() for phase in phases)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def scrape(url: str) -> Series:
    """Read the operator's counters."""
    return read_metrics(httpx.get(url, timeout=30).text)
