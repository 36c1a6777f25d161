"""Observations of a scan while its workers start and stop: samples, the end of each worker, and a picture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Exit codes of a clean end: terminated (143) or nothing left to do (0). Such a worker has finished its fit.
IN_GOOD_ORDER = (0, 143)

#: What kubectl prints about a pod at each change (it turns tabs into spaces).
POD_LINE = (
    "jsonpath={.metadata.name},{.status.podIP},{.metadata.deletionTimestamp},"
    # A container that was deleted before its start has code 137 and no start time.
    "{.status.containerStatuses[0].state.running.startedAt}{.status.containerStatuses[0].state.terminated.startedAt},"
    '{.status.containerStatuses[0].state.terminated.exitCode}{"\\n"}'
)

_METRIC = re.compile(r'^skymap_scan_(workers|tasks)\{namespace="[^"]*",scan="([^"]*)",state="([a-z_]+)"\} (\S+)$')
_DECISION = re.compile(r'^skymap_operator_scaling_decisions_total\{cause="(\w+)",direction="(\w+)"\} (\S+)$')


@dataclass(frozen=True)
class Sample:
    """One moment, of one scan: ``leaving`` are terminating workers that finish their fit."""

    seconds: float
    scan: str
    waiting: int = 0
    in_flight: int = 0
    desired: int = 0
    ready: int = 0
    busy: int = 0
    leaving: int = 0


FIELDS = ("seconds", "scan", "waiting", "in_flight", "desired", "ready", "busy", "leaving")


def figures(metrics: str, scan: str) -> dict[str, int]:
    """Read the operator's metrics of a scan; they are absent for a finished one."""
    found = (_METRIC.match(line) for line in metrics.splitlines())
    return {match[3]: int(float(match[4])) for match in found if match is not None and match[2] == scan}


def lowered(metrics: str) -> dict[str, int]:
    """Read from the operator's metrics the decisions for fewer workers, by cause."""
    found = (_DECISION.match(line) for line in metrics.splitlines())
    return {match[1]: int(float(match[3])) for match in found if match is not None and match[2] == "down"}


@dataclass
class Worker:
    """A worker's pod. ``held``: it had an in-flight task when it was terminated. ``code``: its exit code."""

    ip: str = ""
    ran: bool = False
    asked: bool = False
    held: bool = False
    code: int | None = None


@dataclass
class Workers:
    """All workers seen so far."""

    pods: dict[str, Worker] = field(default_factory=dict)

    def see(self, line: str, busy: Iterable[str]) -> None:
        """Record a line of `POD_LINE`; ``busy``: the addresses that hold a task now."""
        if "," not in line:  # as kubectl says of no pods at all
            return
        name, ip, deleted, began, code = line.rstrip("\n").split(",")
        pod = self.pods.setdefault(name, Worker())
        pod.ip = ip or pod.ip
        pod.ran = pod.ran or bool(began)
        if deleted and not pod.asked:
            pod.asked, pod.held = True, pod.ip in set(busy)
        if code and pod.code in (None, *IN_GOOD_ORDER):  # a bad end is not forgotten when the container starts anew
            pod.code = int(code)

    @property
    def leaving(self) -> int:
        """The number of terminating workers that have not ended."""
        return sum(pod.asked and pod.ran and pod.code is None for pod in self.pods.values())

    @property
    def left(self) -> list[Worker]:
        """The workers that ran, were terminated and have ended."""
        return [pod for pod in self.pods.values() if pod.asked and pod.ran and pod.code is not None]

    @property
    def killed(self) -> list[Worker]:
        """The workers that did not end cleanly, or whose end was not seen."""
        return [pod for pod in self.pods.values() if pod.ran and pod.code not in IN_GOOD_ORDER]


@dataclass(frozen=True)
class Account:
    """Pulsar's counters: ``tasks`` sent, ``delivered`` to workers, and ``fits`` stored.

    A fit that was begun and whose worker ended without its answer is delivered again, and so is a task that was handed
    back before it was begun. One that was stored and not acknowledged is stored twice.
    """

    tasks: int
    delivered: int
    fits: int

    @property
    def again(self) -> int:
        """Deliveries beyond the first."""
        return self.delivered - self.tasks

    @property
    def twice(self) -> int:
        """Fits that were stored more than once."""
        return self.fits - self.tasks


def busy_hosts(stats: Mapping[str, object], subscription: str = "workers") -> frozenset[str]:
    """Return the addresses of the consumers that hold a message, from a topic's statistics."""
    found = stats.get("subscriptions", {})
    one = found.get(subscription, {}) if isinstance(found, dict) else {}
    consumers = [consumer for consumer in one.get("consumers", ()) if consumer.get("unackedMessages", 0) > 0]
    return frozenset(str(consumer.get("address", "")).lstrip("/").rpartition(":")[0] for consumer in consumers)


def write_csv(samples: Sequence[Sample], path: Path) -> None:
    """Write the samples, one per line."""
    lines = [",".join(FIELDS)]
    lines += [",".join(str(getattr(sample, name)) for name in FIELDS) for sample in samples]
    path.write_text("\n".join(lines) + "\n")


def draw(samples: Sequence[Sample], path: Path, title: str) -> None:
    """Draw fits and workers of all scans over time."""
    import matplotlib as mpl  # noqa: PLC0415 - only drawing needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(9, 6), layout="constrained")
    for scan in dict.fromkeys(sample.scan for sample in samples):
        rows = [sample for sample in samples if sample.scan == scan]
        times = [row.seconds for row in rows]
        first = scan == samples[0].scan
        above.fill_between(times, [row.waiting for row in rows], color="0.75", label="waiting" if first else None)
        above.plot(times, [row.in_flight for row in rows], color="tab:orange", label="in flight" if first else None)
        lines = (
            ("ready", "tab:blue", "-"),
            ("busy", "tab:orange", "-"),
            ("leaving", "tab:red", "-"),
            ("desired", "k", ":"),
        )
        for name, colour, style in lines:
            values = [getattr(row, name) for row in rows]
            below.step(times, values, style, where="post", color=colour, label=name if first else None)
        for axes in (above, below):
            axes.axvline(times[0], color="0.6", linestyle=":", linewidth=1)
        above.annotate(scan, (times[0], 1.0), xycoords=("data", "axes fraction"), va="bottom", fontsize=9)
    above.set_ylabel("fits")
    below.set_ylabel("workers")
    below.set_xlabel("time (s)")
    for axes in (above, below):
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=8, ncols=4, frameon=False)
        axes.set_ylim(bottom=0)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=90)
    plt.close(figure)
