"""What is shown of a scan on a cluster: a row, a line, or the whole story; functions of the scan and the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from skymap_api.resource.status import Condition, ConditionType, Phase
from skymap_scanner.cli.progress_display import best_line, duration, level_bars
from skymap_scanner.errors import printable
from skymap_scanner.kubectl.scans import SeenScan

#: Our commands for the scan's cluster and namespace, such as ``call("fetch", "demo")``.
Call = Callable[..., str]

#: After so long (s) an operator should have looked at a new scan.
UNSEEN = 60.0

_STYLES = {"Succeeded": "green", "Failed": "red", "Suspended": "yellow", "Deleting": "yellow"}


def age(seconds: float) -> str:
    """Write an age as kubectl does: ``45s``, ``12m``, ``3h``, ``5d``."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def table(scans: Sequence[SeenScan], now: datetime, everywhere: bool = False) -> str:
    """Write a table of scans, a row each."""
    heads = ["NAME", "PHASE", "LEVEL", "DONE", "BEST FIT", "90 % AREA", "WORKERS", "AGE"]
    rows = [["NAMESPACE", *heads] if everywhere else heads]
    rows += [[scan.namespace, *row(scan, now)] if everywhere else row(scan, now) for scan in scans]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) for cells in rows)
    return "\n".join(one.rstrip() for one in lines)


def row(scan: SeenScan, now: datetime) -> list[str]:
    """Return a scan's cells of the table."""
    status, best = scan.status, scan.status.best
    return [
        scan.name,
        _phase(scan),
        "" if status.level is None else str(status.level),
        status.progress or "",
        "" if best is None else f"{best.ra:.2f}° {best.dec:+.2f}°",
        "" if best is None or best.area_90 is None else f"{best.area_90:.3g} deg²",
        "" if status.workers is None else f"{status.workers.ready}/{status.workers.wanted}",
        age((now - scan.made).total_seconds()),
    ]


def line(scan: SeenScan) -> str:
    """Describe a scan in one line, for where there is no terminal."""
    parts = [f"{scan.name}: {_phase(scan)}"]
    if scan.status.progress:
        parts[0] += f" {scan.status.progress} pixels"
    if scan.status.best is not None:
        parts.append(best_line(scan.status.best, final=scan.status.phase is Phase.SUCCEEDED))
    if scan.hindrance is not None:
        parts.append(printable(scan.hindrance.message))
    return "; ".join(parts)


def story(scan: SeenScan, now: datetime, call: Call) -> Group:
    """Draw all that is known of a scan, and what to do next."""
    status = scan.status
    head = Text(scan.name, style="bold")
    head.append(f" in namespace {scan.namespace}: ", style="not bold")
    head.append(scan.phase, style=_STYLES.get(scan.phase, "bold"))
    head.append(_since(scan, now), style="not bold")
    parts: list[RenderableType] = [head]
    if status.pixels is not None and status.pixels.levels:
        parts.append(level_bars(status.pixels.levels))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    for name, text in _facts(scan, now):
        facts.add_row(name, Text(printable(text)))
    parts += [facts, Text(), Text("Conditions", style="bold"), _conditions(scan, now)]
    parts += [Text(), Text("What next", style="bold"), *(Text(f"  {step}") for step in next_steps(scan, now, call))]
    return Group(*parts)


def _facts(scan: SeenScan, now: datetime) -> list[tuple[str, str]]:
    """Return what is known beside the levels: names and texts, in the order in which they are shown."""
    status = scan.status
    facts = [("event", event_text(scan))]
    if status.best is not None:
        name, _, text = best_line(status.best, final=status.phase is Phase.SUCCEEDED).partition(" RA ")
        facts.append((name, f"RA {text}"))
    if status.workers is not None and not scan.finished:
        workers = status.workers
        text = f"{workers.busy} busy, {workers.ready} ready, {workers.wanted} wanted"
        facts.append(("workers", text + (f": {workers.reason}" if workers.reason else "")))
    if status.backlog is not None and not scan.finished:
        pace = None if status.workers is None else status.workers.seconds_per_task
        facts.append(("waiting", f"{status.backlog} fits" + ("" if pace is None else f", {pace:.3g} s each")))
    if status.rate is not None:
        facts.append(("rate", f"{status.rate:.3g} pixels/s"))
    if status.eta is not None:
        left = max(0.0, (status.eta - now).total_seconds())
        facts.append(("done", f"in {duration(left)}, at {status.eta:%H:%M:%S} UTC, if it goes on like this"))
    if status.outputs is not None:
        facts.append(("results", f"claim {status.outputs.claim}, folder {status.outputs.path}"))
        facts += [("", name) for name in status.outputs.files]
    if status.runs_with is not None:
        facts += [("image", status.runs_with.image), ("Pulsar", status.runs_with.service_url)]
    return facts


def event_text(scan: SeenScan) -> str:
    """Name the event."""
    event = scan.spec.get("event", {})
    if "url" in event:
        return str(event["url"]).partition("?")[0]  # a query may hold what opens the file
    if "configMap" in event:
        return f"{event['configMap'].get('key', '')} in ConfigMap {event['configMap']['name']}"
    if "persistentVolumeClaim" in event:
        return f"{event['persistentVolumeClaim']['path']} in claim {event['persistentVolumeClaim']['claimName']}"
    given = event.get("simulate", {})
    return f"simulated {given.get('topology', 'track')}, {given.get('energy', 1e5):g} GeV, seed {given.get('seed', 0)}"


def next_steps(scan: SeenScan, now: datetime, call: Call) -> list[str]:
    """Say what can be done about a scan."""
    name = scan.name
    if scan.deleting:
        return ["wait: it goes when its pods and topics are gone; its results stay on the claim"]
    if scan.status.phase is None:
        return [_not_seen((now - scan.made).total_seconds())]
    if scan.status.phase is Phase.FAILED:
        again = f"then mend what failed, {call('abort', name, '--delete')}, and submit it again"
        return [call("logs", name), again]
    if scan.status.phase is Phase.SUSPENDED:
        return [f"{call('abort', name, '--resume')} lets it go on where it was"]
    return [call("fetch", name)] if scan.finished else _steps_on_the_way(scan, call)


def _not_seen(waiting: float) -> str:
    if waiting < UNSEEN:
        return "wait: the operator has not looked at it yet"
    return f"no operator has looked at it for {age(waiting)}: does one run, and does it look after this namespace?"


def _steps_on_the_way(scan: SeenScan, call: Call) -> list[str]:
    steps = ["do what Degraded says; the scan then goes on by itself"] if scan.hindrance is not None else []
    if scan.status.observed_generation < scan.generation:
        steps.append("wait: the operator has not seen the latest change yet")
    return [*steps, call("status", scan.name, "--watch"), call("logs", scan.name, "--follow")]


def _conditions(scan: SeenScan, now: datetime) -> Table:
    drawn = Table.grid(padding=(0, 2, 0, 0))
    for one in scan.status.conditions:
        since = age((now - one.last_transition_time).total_seconds())
        drawn.add_row(
            f"  {one.type.value}", f"{one.status}", one.reason.value, since, Text(printable(one.message), _style(one))
        )
    if not scan.status.conditions:
        drawn.add_row("  none yet")
    return drawn


def _style(condition: Condition) -> str:
    bad = {(ConditionType.DEGRADED, "True"), (ConditionType.SUCCEEDED, "False")}
    return "red" if (condition.type, condition.status) in bad else ""


def _phase(scan: SeenScan) -> str:
    """Return the phase, with why where something is in its way or it failed."""
    succeeded = scan.condition(ConditionType.SUCCEEDED)
    if scan.status.phase is Phase.FAILED and succeeded is not None:
        return f"{scan.phase} ({succeeded.reason.value})"
    return scan.phase if scan.hindrance is None else f"{scan.phase} ({scan.hindrance.reason.value})"


def _since(scan: SeenScan, now: datetime) -> str:
    started, ended = scan.status.start_time, scan.status.completion_time
    if started is None:
        return f", {age((now - scan.made).total_seconds())} old"
    if ended is not None:
        return f" after {duration((ended - started).total_seconds())}, {age((now - ended).total_seconds())} ago"
    return f", running for {duration((now - started).total_seconds())}"
