"""A scan that has ended: its outcome is recorded, then what it no longer needs is removed."""

from __future__ import annotations

from datetime import timedelta

from skymap_api.names import SAVER
from skymap_api.resource import SkymapScanSpec
from skymap_api.resource.status import Phase, Reason
from skymap_operator.decide.actions import Decision, Delete, DeleteScan, Emit
from skymap_operator.decide.allowed import closed_destinations
from skymap_operator.decide.cleanup import delete_topics, end_pods, pods_left
from skymap_operator.decide.deadlines import time_to_live
from skymap_operator.decide.diagnose import Finding
from skymap_operator.decide.status import Verdict, update_status
from skymap_operator.observe.state import ObservedState, deletes_topics
from skymap_operator.settings import Settings


def decide_ended(observed: ObservedState, spec: SkymapScanSpec, outcome: Finding, settings: Settings) -> Decision:
    """Record how the scan ended. The next pass follows at once and removes what the scan no longer needs."""
    phase = Phase.SUCCEEDED if outcome.reason is Reason.COMPLETED else Phase.FAILED
    closed = closed_destinations(observed.scan.namespace, spec, settings)
    return Decision(update_status(observed, Verdict(phase, outcome=outcome, closed=closed)), 0.0)


def run_saver_again(observed: ObservedState, settings: Settings) -> Decision | None:
    """Delete the Job of the saver that could not write the results; None once it is gone, so that the scan goes on."""
    job = observed.children.owned_job(SAVER)
    if job is None or job.failed is None:
        return None
    message = "the scan was corrected after its saver failed: the saver runs again"
    again = (Emit("Normal", "RunAgain", message), Delete(job.kind, job.name)) if job.managed else ()
    return Decision(again, settings.retry_interval)


def decide_finished(observed: ObservedState, settings: Settings) -> Decision:
    """End the pods, then delete the topics, as the cleanup policy says; finally the scan, if it has a time to live."""
    scan = observed.scan
    policy = "Never" if scan.spec is None else scan.spec.cleanup_policy.pods
    remove = policy == "Always" or (policy == "OnSuccess" and scan.succeeded)
    actions, fault = end_pods(observed, settings, finished_jobs=remove), None
    waiting = bool(actions) or pods_left(observed)
    if deletes_topics(scan) and not waiting:
        actions, fault = delete_topics(observed, settings)
        waiting = bool(actions) or fault is not None
    verdict = Verdict(Phase.SUCCEEDED if scan.succeeded else Phase.FAILED, degraded=fault)
    status = update_status(observed, verdict)
    left = time_to_live(observed)
    if left is not None and left <= timedelta(0) and not waiting:
        return Decision((*status, DeleteScan()), settings.retry_interval)
    later = settings.retry_interval if waiting else settings.resync_interval
    return Decision((*status, *actions), later if left is None else min(later, max(left.total_seconds(), 1.0)))
