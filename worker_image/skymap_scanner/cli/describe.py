"""Text about a scan on a cluster: a table row, a line, or a full description; functions of the scan and the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from skymap_api.resource.status import Condition, ConditionType, NoticesStatus, Phase
from skymap_api.text import printable_line
from skymap_scanner.cli.display import age, calibration_text, direction, duration, level_bars, text_table
from skymap_scanner.kubectl.scans import ClusterScan

#: Writes one of our commands for the scan's cluster and namespace, such as ``command_line("fetch", "demo")``.
CommandLine = Callable[..., str]

#: A new scan should have a status after this time (s).
OPERATOR_TIMEOUT = 60.0

_STYLES = {"Succeeded": "green", "Failed": "red", "Suspended": "yellow", "Deleting": "yellow"}
_BAD_CONDITIONS = {(ConditionType.DEGRADED, "True"), (ConditionType.SUCCEEDED, "False")}


def table(scans: Sequence[ClusterScan], now: datetime, all_namespaces: bool = False) -> str:
    """Return a table of scans, one row each."""
    heads = ["NAME", "PHASE", "LEVEL", "DONE", "BEST FIT", "90 % AREA", "WORKERS", "AGE"]
    rows = [["NAMESPACE", *heads] if all_namespaces else heads]
    rows += [[scan.namespace, *row(scan, now)] if all_namespaces else row(scan, now) for scan in scans]
    return text_table(rows)


def row(scan: ClusterScan, now: datetime) -> list[str]:
    """Return a scan's cells of the table."""
    status, best = scan.status, scan.status.best
    return [
        scan.name,
        _phase(scan),
        "" if status.level is None else str(status.level),
        status.progress or "",
        "" if best is None else f"{best.ra:.2f}° {best.dec:+.2f}°",
        "" if best is None or best.area_90 is None else f"{best.area_90:.3g} deg²",
        "" if status.workers is None else f"{status.workers.ready}/{status.workers.desired}",
        age((now - scan.created).total_seconds()),
    ]


def line(scan: ClusterScan) -> str:
    """Describe a scan in one line, for output that is not a terminal."""
    parts = [f"{scan.name}: {_phase(scan)}"]
    if scan.status.progress:
        parts[0] += f" {scan.status.progress} pixels"
    parts += [" ".join(fact) for fact in _best_fit(scan)]
    return "; ".join(parts)


def missing_workers(scan: ClusterScan) -> str | None:
    """Return why further workers do not start while others work; None if none is missing."""
    workers = scan.status.workers
    if workers is None or workers.obstacle is None or scan.finished:
        return None
    return f"{workers.ready} of {workers.desired} workers run: {workers.obstacle}"


def describe(scan: ClusterScan, now: datetime, command_line: CommandLine) -> Group:
    """Draw everything that is known about a scan, and the next steps."""
    status = scan.status
    head = Text(scan.name, style="bold")
    head.append(f" in namespace {scan.namespace}: ", style="not bold")
    head.append(scan.phase, style=_STYLES.get(scan.phase, "bold"))
    head.append(_times(scan, now), style="not bold")
    parts: list[RenderableType] = [head]
    if status.pixels is not None and status.pixels.levels:
        parts.append(level_bars(status.pixels.levels))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    for name, text in _facts(scan, now):
        facts.add_row(name, Text(printable_line(text)))
    steps = [Text(f"  {step}") for step in next_steps(scan, now, command_line)]
    parts += [facts, Text(), Text("Conditions", style="bold"), _conditions(scan, now)]
    parts += [Text(), Text("Next steps", style="bold"), *steps]
    return Group(*parts)


def _best_fit(scan: ClusterScan) -> list[tuple[str, str]]:
    """Return the name and text of the best fit, if there is one."""
    best = scan.status.best
    if best is None:
        return []
    name = "best fit" if scan.status.phase is Phase.SUCCEEDED else "best fit so far"
    return [(name, direction(best))]


def _facts(scan: ClusterScan, now: datetime) -> list[tuple[str, str]]:
    """Return names and texts of what is known besides the levels, in the order of the description."""
    status = scan.status
    facts = [("event", describe_event(scan)), *_best_fit(scan)]
    if status.calibration is not None:
        facts.append(("calibration", calibration_text(status.calibration)))
    if status.workers is not None and not scan.finished:
        workers = status.workers
        text = f"{workers.busy} busy, {workers.ready} ready, {workers.desired} desired"
        facts.append(("workers", text + (f": {workers.reason}" if workers.reason else "")))
    if (missing := missing_workers(scan)) is not None:
        facts.append(("", missing))
    if status.backlog is not None and not scan.finished:
        seconds = None if status.workers is None else status.workers.seconds_per_task
        facts.append(("waiting", f"{status.backlog} fits" + ("" if seconds is None else f", {seconds:.3g} s each")))
    if status.rate is not None:
        facts.append(("rate", f"{status.rate:.3g} fits/s"))
    if status.eta is not None:
        left = max(0.0, (status.eta - now).total_seconds())
        facts.append(("done", f"in {duration(left)}, at {status.eta:%H:%M:%S} UTC, at the current rate"))
    if status.left_out is not None:
        facts.append(("left out", status.left_out))
    facts += [(one.role, f"memory limit raised to {one.limit}: {one.message}") for one in status.role_memory or ()]
    facts += _notices(status.notices)
    if status.outputs is not None:
        facts.append(("results", f"claim {status.outputs.claim}, folder {status.outputs.path}"))
        facts += [("", name) for name in status.outputs.files]
    if status.runs_with is not None:
        facts.append(("image", status.runs_with.image))
        facts += [] if status.runs_with.image_id is None else [("", status.runs_with.image_id)]
        facts.append(("Pulsar", status.runs_with.service_url))
    return facts


def _notices(notices: NoticesStatus | None) -> list[tuple[str, str]]:
    if notices is None:
        return []
    told = [
        f"{one.type} notice to {one.to}: {one.state.lower()}" + (f" ({one.message})" if one.message else "")
        for one in notices.destinations
    ]
    return [("notices", text) for text in ([] if notices.fault is None else [notices.fault]) + told]


def describe_event(scan: ClusterScan) -> str:
    """Describe where the event comes from."""
    event = scan.spec.get("event", {})
    if "url" in event:
        return str(event["url"]).partition("?")[0]  # a query may hold credentials
    if "configMap" in event:
        return f"{event['configMap'].get('key', '')} in ConfigMap {event['configMap']['name']}"
    if "persistentVolumeClaim" in event:
        return f"{event['persistentVolumeClaim']['path']} in claim {event['persistentVolumeClaim']['claimName']}"
    given = event.get("simulate", {})
    return f"simulated {given.get('topology', 'track')}, {given.get('energy', 1e5):g} GeV, seed {given.get('seed', 0)}"


def next_steps(scan: ClusterScan, now: datetime, command_line: CommandLine) -> list[str]:
    """Return what the user can do about a scan."""
    name = scan.name
    if scan.deleting:
        return ["wait until its pods and topics are deleted; its results stay on the claim"]
    if scan.status.phase is None:
        return [_no_status((now - scan.created).total_seconds())]
    if scan.output_failed:
        again = f"{command_line('abort', name, '--resume')} then saves again"
        return [command_line("logs", name, "--role", "saver"), "remove the cause, or change spec.output", again]
    if scan.status.phase is Phase.FAILED:
        again = f"fix the cause, run {command_line('abort', name, '--delete')}, submit again"
        return [command_line("logs", name), again]
    if scan.status.phase is Phase.SUSPENDED:
        return [f"{command_line('abort', name, '--resume')} resumes it"]
    return [command_line("fetch", name)] if scan.finished else _steps_while_running(scan, command_line)


def _no_status(waiting: float) -> str:
    if waiting < OPERATOR_TIMEOUT:
        return "wait until the operator has seen it"
    return f"no operator has seen it for {age(waiting)}: check that one runs and watches this namespace"


def _steps_while_running(scan: ClusterScan, command_line: CommandLine) -> list[str]:
    steps = ["do what condition Degraded says; the scan then continues by itself"] if scan.degraded is not None else []
    if scan.status.observed_generation < scan.generation:
        steps.append("wait until the operator has seen the latest change")
    return [*steps, command_line("status", scan.name, "--watch"), command_line("logs", scan.name, "--follow")]


def _conditions(scan: ClusterScan, now: datetime) -> Table:
    drawn = Table.grid(padding=(0, 2, 0, 0))
    for one in scan.status.conditions:
        since = age((now - one.last_transition_time).total_seconds())
        message = Text(printable_line(one.message), _condition_style(one))
        drawn.add_row(f"  {one.type.value}", f"{one.status}", one.reason.value, since, message)
    if not scan.status.conditions:
        drawn.add_row("  none yet")
    return drawn


def _condition_style(condition: Condition) -> str:
    return "red" if (condition.type, condition.status) in _BAD_CONDITIONS else ""


def _phase(scan: ClusterScan) -> str:
    """Return the phase, with the reason if the scan is degraded or failed."""
    succeeded = scan.condition(ConditionType.SUCCEEDED)
    if scan.status.phase is Phase.FAILED and succeeded is not None:
        return f"{scan.phase} ({succeeded.reason.value})"
    return scan.phase if scan.degraded is None else f"{scan.phase} ({scan.degraded.reason.value})"


def _times(scan: ClusterScan, now: datetime) -> str:
    started, ended = scan.status.start_time, scan.status.completion_time
    if started is None:
        return f", {age((now - scan.created).total_seconds())} old"
    if ended is not None:
        return f" after {duration((ended - started).total_seconds())}, {age((now - ended).total_seconds())} ago"
    return f", running for {duration((now - started).total_seconds())}"
