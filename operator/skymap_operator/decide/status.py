"""Computes the status of a scan, and the Events that report its changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from skymap_api.names import COLLECTOR, JOB_ROLES, PRODUCER, SAVER, WORKER, Names
from skymap_api.progress import Progress, ProgressPhase
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import (
    BestFitStatus,
    Condition,
    ConditionType,
    NoticesStatus,
    Outputs,
    Phase,
    Pixels,
    Reason,
    RoleMemory,
    RunsWith,
    WorkersStatus,
)
from skymap_api.text import printable_line
from skymap_operator.decide.actions import Action, Emit, SetStatus
from skymap_operator.decide.deadlines import start_time
from skymap_operator.decide.diagnose import Finding
from skymap_operator.manifests.labels import selector
from skymap_operator.observe.state import ObservedState, PulsarState

Truth = Literal["True", "False", "Unknown"]

#: The condition Progressing in each phase, when the roles run that it needs.
_PROGRESSING: dict[Phase, tuple[Truth, Reason, str]] = {
    Phase.PENDING: ("True", Reason.WAITING, "waiting for the first pod to start"),
    Phase.PREPARING: ("True", Reason.PREPARING, "the producer is preparing the event"),
    Phase.SCANNING: ("True", Reason.SCANNING, "the workers are fitting pixels"),
    Phase.WRITING: ("True", Reason.WRITING, "the saver is writing the results"),
    Phase.SUSPENDED: ("False", Reason.SUSPENDED, "the scan continues where it stopped when spec.suspend is false"),
    Phase.SUCCEEDED: ("False", Reason.FINISHED, "the scan has succeeded"),
    Phase.FAILED: ("False", Reason.FINISHED, "the scan has failed"),
    Phase.DELETING: ("False", Reason.DELETING, "the pods are ending, then the topics are deleted"),
}

#: Conditions whose change is a warning.
_WARNINGS = {(ConditionType.DEGRADED, "True"), (ConditionType.SUCCEEDED, "False"), (ConditionType.NOTIFIED, "False")}
_ADVICE_FOR_NOTICES = (
    " - the results are written all the same, and skymap-scanner notify sends them; files below /notices/NAME are the "
    "keys of the Secret NAME in the scan's namespace"
)
_NO_RESULT = (
    "the scan failed before its result was sent; sent: {} - scan the event again, or tell its readers by other means"
)
_LONGEST_MESSAGE, _LONGEST_LEFT_OUT, _LONGEST_NAME = 32768, 4096, 255
#: Highest rate that is shown (pixels per second); rounding the largest float up would give infinity.
_HIGHEST_RATE = 1e9


@dataclass(frozen=True)
class Verdict:
    """What was decided about a scan.

    ``degraded``: what obstructs it; ``shortage``: why further workers do not start while others work; ``outcome``: how
    it ended, once it has; ``workers``: what was decided about them; ``runs_with``: image, commands and Pulsar to
    record; ``role_memory``: the raised memory limits; ``closed``: destinations of notices that are closed to it;
    ``waits``: this version of the operator does not carry the scan
    on, so that nothing else is said of it.
    """

    phase: Phase
    degraded: Finding | None = None
    shortage: Finding | None = None
    outcome: Finding | None = None
    workers: WorkersStatus | None = None
    runs_with: RunsWith | None = None
    role_memory: tuple[RoleMemory, ...] = ()
    closed: tuple[str, ...] = ()
    waits: bool = False


def update_status(observed: ObservedState, verdict: Verdict) -> tuple[Action, ...]:
    """Return the change of the status and the Events that report it; nothing if the status stays the same."""
    old, new = observed.scan.status, next_status(observed, verdict)
    if new == old:
        return ()
    return (SetStatus(new), *condition_events(old, new), *_shortage_events(old, verdict))


def next_status(observed: ObservedState, verdict: Verdict) -> SkymapScanStatus:
    """Return the whole status. Fields whose source cannot be read now keep their values."""
    old, now = observed.scan.status, observed.now.replace(microsecond=0)
    if verdict.waits:
        return old.model_copy(update={"phase": verdict.phase, "conditions": _conditions(observed, verdict, now)})
    ended = verdict.phase in {Phase.SUCCEEDED, Phase.FAILED}
    changes = {
        "observed_generation": observed.scan.generation,
        "phase": verdict.phase,
        "conditions": _conditions(observed, verdict, now),
        "start_time": _shown_start_time(observed, verdict.phase),
        "completion_time": (old.completion_time or now) if ended else _completion_time(observed),
        "runs_with": verdict.runs_with or old.runs_with,
        "workers": _workers(observed, verdict),
        "role_memory": verdict.role_memory or old.role_memory,
    }
    if isinstance(observed.pulsar, PulsarState):
        changes |= _figures(observed, observed.pulsar)
    if verdict.phase is not Phase.SCANNING:
        changes |= {"rate": None, "eta": None}
    return old.model_copy(update=changes)


def phase_of(observed: ObservedState) -> Phase:
    """Return the phase of a scan that runs.

    The saver reports it, but may be the one role that does not run; Jobs and queues show the same.
    """
    old, pulsar = observed.scan.status, observed.pulsar
    if not isinstance(pulsar, PulsarState):
        running = {Phase.PENDING, Phase.PREPARING, Phase.SCANNING, Phase.WRITING}
        return old.phase if old.phase in running else Phase.PENDING
    progress = pulsar.progress
    if _complete(observed, COLLECTOR) or (progress is not None and progress.phase is not ProgressPhase.SCANNING):
        return Phase.WRITING
    decided = progress is not None and any(level.decided for level in progress.levels)
    queues = [queue for queue in (pulsar.tasks, pulsar.fits) if queue is not None]
    if decided or _complete(observed, PRODUCER) or any(one.waiting or one.unacked or one.done for one in queues):
        return Phase.SCANNING
    return Phase.PENDING if start_time(observed) is None else Phase.PREPARING


def condition_events(old: SkymapScanStatus, new: SkymapScanStatus) -> Iterator[Emit]:
    """Yield an Event for each condition that has changed."""
    for one in new.conditions:
        before = old.condition(one.type)
        if not _has_changed(before, one):
            continue
        if one.type is ConditionType.DEGRADED and before is not None and _is_normal(one):
            yield Emit("Normal", "Recovered", f"no longer {before.reason}")
        elif one.reason is not Reason.FINISHED:  # the Event of the condition Succeeded says more
            kind: Literal["Normal", "Warning"] = "Warning" if (one.type, one.status) in _WARNINGS else "Normal"
            yield Emit(kind, one.reason.value, one.message[:1024])


def _shortage_events(old: SkymapScanStatus, verdict: Verdict) -> Iterator[Emit]:
    """Yield the Event that further workers do not start: once, until one more is not missing any longer."""
    known = old.workers is not None and old.workers.obstacle is not None
    if verdict.shortage is not None and not known:
        yield Emit("Normal", verdict.shortage.reason.value, f"others work: {verdict.shortage.message}"[:1024])


def _has_changed(before: Condition | None, now: Condition) -> bool:
    if before is None:
        return not _is_normal(now)
    return (before.status, before.reason) != (now.status, now.reason)


def _is_normal(condition: Condition) -> bool:
    return condition.reason in {Reason.AS_EXPECTED, Reason.IN_PROGRESS}


def _conditions(observed: ObservedState, verdict: Verdict, now: datetime) -> tuple[Condition, ...]:
    degraded: tuple[Truth, Reason, str] = ("False", Reason.AS_EXPECTED, "")
    if verdict.degraded is not None:
        degraded = ("True", verdict.degraded.reason, verdict.degraded.message)
    found = {
        ConditionType.SUCCEEDED: _succeeded(observed, verdict),
        ConditionType.PROGRESSING: _progressing(observed, verdict.phase),
        ConditionType.DEGRADED: degraded,
    }
    notified = _notified(observed, verdict)
    if notified is not None:
        found[ConditionType.NOTIFIED] = notified
    return tuple(_condition(observed, kind, *judged, now) for kind, judged in found.items())


def _progressing(observed: ObservedState, phase: Phase) -> tuple[Truth, Reason, str]:
    """Return the condition Progressing, whose message names the roles that the scan waits for."""
    truth, reason, message = _PROGRESSING[phase]
    if phase is Phase.PREPARING and _missing(observed, PRODUCER):
        return truth, reason, "waiting for the producer to start"
    if phase is Phase.SCANNING:
        missing = [role for role in JOB_ROLES if _missing(observed, role)]
        return truth, reason, f"{message}; waiting for {' and '.join(missing)} to start" if missing else message
    if phase is Phase.WRITING and _missing(observed, SAVER):
        return truth, reason, "all pixels are fitted; waiting for the saver to start"
    return truth, reason, message


def _missing(observed: ObservedState, role: str) -> bool:
    """Return whether a role has work to do and no pod that has started, unless that has failed."""
    job = observed.children.owned_job(role)
    if job is not None and job.finished:
        return False
    pods = [pod for pod in observed.pods if pod.role == role and not pod.terminating and pod.phase != "Failed"]
    return all(pod.started is None for pod in pods)


def _complete(observed: ObservedState, role: str) -> bool:
    job = observed.children.owned_job(role)
    return job is not None and job.complete is not None


def _succeeded(observed: ObservedState, verdict: Verdict) -> tuple[Truth, Reason, str]:
    if verdict.outcome is not None:
        truth: Truth = "True" if verdict.outcome.reason is Reason.COMPLETED else "False"
        return truth, verdict.outcome.reason, verdict.outcome.message
    before = observed.scan.status.condition(ConditionType.SUCCEEDED)
    if before is not None and (verdict.waits or not observed.scan.corrected):
        return before.status, before.reason, before.message
    return "Unknown", Reason.IN_PROGRESS, ""


def _notified(observed: ObservedState, verdict: Verdict) -> tuple[Truth, Reason, str] | None:
    """Return the condition Notified; None if the scan names no destination. Notices never change the outcome."""
    scan, failed = observed.scan, verdict.phase is Phase.FAILED
    progress = observed.pulsar.progress if isinstance(observed.pulsar, PulsarState) else None
    notices = None if progress is None else progress.notices
    before = scan.status.condition(ConditionType.NOTIFIED)
    decided = before is not None and before.status != "Unknown"
    # A scan that is corrected can still send its result, and one that has failed cannot.
    changes = scan.corrected or verdict.closed or (failed and not decided)
    if before is not None and ((scan.finished and decided) or (notices is None and not changes)):
        return before.status, before.reason, before.message
    if scan.spec is None or scan.spec.notices is None:
        return None
    known = notices or (scan.status.notices if failed else None) or NoticesStatus()
    return judge_notices(known, failed=failed, closed=verdict.closed)


def judge_notices(
    notices: NoticesStatus, *, failed: bool = False, closed: Sequence[str] = ()
) -> tuple[Truth, Reason, str]:
    """Return whether all destinations have got their notices; unknown while some may still get them.

    ``failed``: whether the scan has failed, so that no result follows. ``closed``: destinations that the administrator
    has closed since the scan began.
    """
    left = [one for one in notices.destinations if one.state == "Failed" or (notices.ended and one.state != "Sent")]
    got = ", ".join(f"{one.type} notice to {one.to}" for one in notices.destinations if one.state == "Sent")
    if notices.fault is not None or left or closed:
        reasons = [f"{one.type} notice to {one.to}: {one.message or 'no answer'}" for one in left]
        faults = [] if notices.fault is None else [notices.fault]
        faults += [f"{name} is not open to this namespace (settings.notices of the chart)" for name in closed]
        return "False", Reason.NOTICES_FAILED, printable_line("; ".join(faults + reasons)) + _ADVICE_FOR_NOTICES
    if notices.ended:
        return "True", Reason.NOTICES_SENT, printable_line(f"sent: {got or 'nothing, since nothing was to be sent'}")
    if failed:
        return "False", Reason.NOTICES_FAILED, printable_line(_NO_RESULT.format(got or "nothing"))
    return "Unknown", Reason.IN_PROGRESS, ""


def _condition(
    observed: ObservedState, kind: ConditionType, truth: Truth, reason: Reason, message: str, now: datetime
) -> Condition:
    """Return a condition. Its transition time changes with its status, not with its reason."""
    before = observed.scan.status.condition(kind)
    same = before is not None and before.status == truth
    return Condition(
        type=kind,
        status=truth,
        observed_generation=observed.scan.generation,
        last_transition_time=before.last_transition_time if before is not None and same else now,
        reason=reason,
        message=message[:_LONGEST_MESSAGE],
    )


def _shown_start_time(observed: ObservedState, phase: Phase) -> datetime | None:
    """Return when the scan started. As with Jobs it is reset by a suspension, so that no deadline counts that time."""
    if phase is Phase.SUSPENDED:
        return None
    if observed.scan.finished or phase is Phase.DELETING:
        return observed.scan.status.start_time
    if observed.scan.corrected:  # no deadline counts the time until the correction
        return observed.now.replace(microsecond=0)
    return start_time(observed)


def _completion_time(observed: ObservedState) -> datetime | None:
    """Return when the scan finished; a scan that was corrected has not."""
    return None if observed.scan.corrected else observed.scan.status.completion_time


def _workers(observed: ObservedState, verdict: Verdict) -> WorkersStatus:
    names = Names.of(observed.scan.namespace, observed.scan.name)
    before = observed.scan.status.workers or WorkersStatus()
    pods = [pod for pod in observed.pods if pod.role == WORKER and pod.ready and not pod.terminating]
    decided = verdict.workers or WorkersStatus()
    return decided.model_copy(
        update={
            "ready": len(pods),
            "obstacle": None if verdict.shortage is None else verdict.shortage.message[:1024],
            "selector": ",".join(f"{key}={value}" for key, value in sorted(selector(names, WORKER).items())),
            "seconds_per_task": decided.seconds_per_task or before.seconds_per_task,
        }
    )


def _figures(observed: ObservedState, pulsar: PulsarState) -> dict[str, object]:
    """Return the fields that show how far the scan is."""
    changes: dict[str, object] = {"backlog": None if pulsar.tasks is None else pulsar.tasks.waiting}
    progress = pulsar.progress
    if progress is None:
        return changes | ({"rate": None, "eta": None} if pulsar.progress_fault else {})
    levels = progress.levels
    unfinished = [level.nside for level in levels if level.done < level.planned]
    changes |= {
        "level": unfinished[0] if unfinished else (levels[-1].nside if levels else None),
        "progress": f"{progress.done}/{progress.planned}",
        "pixels": Pixels(done=progress.done, planned=progress.planned, failed=progress.failed, levels=levels),
        "calibration": progress.calibration,
        "left_out": None if progress.left_out is None else printable_line(progress.left_out)[:_LONGEST_LEFT_OUT],
        "best": observed.scan.status.best if progress.best is None else rounded(progress.best),
        "notices": _shown_notices(progress.notices) or observed.scan.status.notices,
        "rate": float(f"{min(progress.rate, _HIGHEST_RATE):.3g}"),
        "eta": _eta(progress, pulsar.progress_time),
    }
    spec = observed.scan.spec
    if progress.outputs and progress.phase is ProgressPhase.DONE and spec is not None:
        names = Names.of(observed.scan.namespace, observed.scan.name)
        changes["outputs"] = Outputs(
            claim=spec.output.claim.name or names.claim,
            path=spec.output.path or observed.scan.name,
            files=tuple(printable_line(name)[:_LONGEST_NAME] for name in progress.outputs),
        )
    return changes


def _shown_notices(notices: NoticesStatus | None) -> NoticesStatus | None:
    """Return the notices with texts that can be shown."""
    if notices is None:
        return None
    shown = [
        one.model_copy(update={"to": _line(one.to, 1024), "message": _line(one.message, 512)})
        for one in notices.destinations
    ]
    return notices.model_copy(update={"destinations": tuple(shown), "fault": _line(notices.fault, 1024)})


def _line(text: str | None, longest: int) -> str | None:
    return None if text is None else printable_line(text)[:longest]


def _eta(progress: Progress, published: datetime | None) -> datetime | None:
    if progress.eta is None or published is None:
        return None
    try:
        return published.replace(microsecond=0) + timedelta(seconds=round(progress.eta))
    except OverflowError:  # the publish time comes from the client and may be anything
        return None


#: Decimals in the columns of ``kubectl get``; a pixel of the finest grid is 26" wide.
_DECIMALS = {"ra": 4, "dec": 4, "llh": 3, "area_90": 4}


def rounded(best: BestFitStatus) -> BestFitStatus:
    """Return the best fit with the decimals that the status shows."""
    values = best.model_dump()
    shown = {name: round(values[name], digits) for name, digits in _DECIMALS.items() if values[name] is not None}
    return best.model_copy(update=shown | {"ra": shown["ra"] % 360.0})
