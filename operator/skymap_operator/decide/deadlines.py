"""The scan's times: when it started, by when it must start and finish, and how long its record is kept."""

from __future__ import annotations

from datetime import datetime, timedelta

from skymap_api.resource import SkymapScanSpec
from skymap_api.resource.status import ConditionType, Reason
from skymap_operator.decide.diagnose import Finding, find_obstacle
from skymap_operator.observe.state import ObservedState


def start_time(observed: ObservedState) -> datetime | None:
    """Return when the first pod of the scan started, None if none has.

    A suspension resets it. Pods of Jobs that were complete before are still there, so it is at earliest the resumption.
    The time of a start comes from the clock of a node, which may differ from that of the API server: it is not before
    the creation of the pod, nor after now.
    """
    if observed.scan.status.start_time is not None:
        return observed.scan.status.start_time
    times = [max(pod.started, pod.created or pod.started) for pod in observed.pods if pod.started is not None]
    if not times:
        return None
    return min(max(min(times), _waiting_since(observed)), observed.now).replace(microsecond=0)


def deadline_exceeded(observed: ObservedState, spec: SkymapScanSpec) -> Finding | None:
    """Return which deadline the scan missed, None if it missed none."""
    start = start_time(observed)
    if start is None:
        return _never_started(observed, spec)
    limit = spec.active_deadline_seconds
    if limit is None or observed.now - start <= timedelta(seconds=limit):
        return None
    return Finding(Reason.DEADLINE_EXCEEDED, f"the scan did not finish within activeDeadlineSeconds: {limit}")


def time_to_live(observed: ObservedState) -> timedelta | None:
    """Return how long the SkymapScan is still kept after the scan has finished; None: forever."""
    scan = observed.scan
    if scan.spec is None or scan.status.completion_time is None:
        return None
    limits = scan.spec.ttl_seconds_after_finished
    limit = limits.succeeded if scan.succeeded else limits.failed
    return None if limit is None else timedelta(seconds=limit) - (observed.now - scan.status.completion_time)


def _never_started(observed: ObservedState, spec: SkymapScanSpec) -> Finding | None:
    limit, status = spec.starting_deadline_seconds, observed.scan.status
    if limit is None:
        return None
    if status.pixels is not None:  # it started before its suspension, which reset the start time
        return None
    if observed.now - _waiting_since(observed) <= timedelta(seconds=limit):
        return None
    why, shown = find_obstacle(observed), status.condition(ConditionType.DEGRADED)
    message = why.message if why is not None else "" if shown is None else shown.message
    reason = f": {message}" if message else ""
    return Finding(Reason.NEVER_STARTED, f"no pod started within startingDeadlineSeconds: {limit}{reason}")


def _waiting_since(observed: ObservedState) -> datetime:
    """Return since when the scan could have started: its creation, or its last resumption.

    Until the status reports the resumption, that is now, so that no deadline counts the suspension.
    """
    progressing = observed.scan.status.condition(ConditionType.PROGRESSING)
    if progressing is None:
        return observed.scan.created
    if progressing.status != "True":
        return observed.now
    return max(observed.scan.created, progressing.last_transition_time)
