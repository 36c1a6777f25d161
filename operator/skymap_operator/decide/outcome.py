"""Decides whether a scan has ended, with success or without, and why."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from skymap_api.exit_codes import PERMANENT
from skymap_api.names import JOB_ROLES, PRODUCER, SAVER, WORKER
from skymap_api.progress import ProgressPhase
from skymap_api.resource import SkymapScanSpec
from skymap_api.resource.base import Manifest
from skymap_api.resource.status import Reason
from skymap_operator.decide.deadlines import deadline_exceeded
from skymap_operator.decide.diagnose import Finding, software_mismatch, termination_message
from skymap_operator.decide.drift import settings_differ
from skymap_operator.decide.wanted import newly_raised, recipe_of
from skymap_operator.manifests import jobs
from skymap_operator.observe.children import Job
from skymap_operator.observe.state import ObservedState, Pod, PulsarState
from skymap_operator.settings import Settings

#: What the scanner writes about an event that it could not download.
_DOWNLOAD_FAILED = re.compile(
    r"https?://[^ ]+: (\d{3}\b|.*\(attempts: |.*not finished after|Exceeded maximum|events may not be fetched)"
)

#: When a pod without a time counts as created.
_NEVER = datetime.min.replace(tzinfo=UTC)

#: What follows the error of a saver, and of one that is not the software that began the scan.
_FITS_ARE_KEPT = (
    "no fit is lost: change spec.output, or remove the cause and run skymap-scanner abort --resume, and the saver runs "
    "again"
)
_RESTORE_THE_IMAGE = (
    "no fit is lost: restore the image that began the scan and run skymap-scanner abort --resume, and the saver runs "
    "again"
)


def scan_outcome(observed: ObservedState, spec: SkymapScanSpec, settings: Settings) -> Finding | None:
    """Return how the scan ended; None while it can still succeed."""
    if _results_written(observed, spec, settings):
        return Finding(Reason.COMPLETED, "the results are written")
    found = scan_failure(observed, spec, settings)
    if found is not None or spec.suspend:
        return found
    return deadline_exceeded(observed, spec)


def scan_failure(observed: ObservedState, spec: SkymapScanSpec, settings: Settings) -> Finding | None:
    """Return why the scan cannot succeed any more; None while it can."""
    for role in JOB_ROLES:
        job = observed.children.owned_job(role)
        if job is not None and job.failed is not None and not _runs_again(observed, spec, role, job, settings):
            return _role_failed(observed, spec, role, job.failed)
    return _workers_failed(observed, spec.retries.role_restarts)


def _runs_again(observed: ObservedState, spec: SkymapScanSpec, role: str, job: Job, settings: Settings) -> bool:
    """Return whether a Job that has finished is created anew, since its settings have changed or its memory grows."""
    if job.failed is not None and job.failed.get("reason") == "DeadlineExceeded":
        return False
    if observed.begun_by_newer:  # how that one writes the settings is not known here
        return any(one.role == role for one in newly_raised(observed, settings))
    return settings_differ(job, jobs(recipe_of(observed, spec, settings))[role])


def _results_written(observed: ObservedState, spec: SkymapScanSpec, settings: Settings) -> bool:
    """Return whether the saver is done and its Job has finished; before that its last snapshot could still change.

    If its last snapshot cannot be read, its Job decides alone: a saver succeeds only after it has written the results.
    """
    pulsar, saver = observed.pulsar, observed.children.owned_job(SAVER)
    if saver is None or not saver.finished or not isinstance(pulsar, PulsarState):
        return False
    done = pulsar.progress is not None and pulsar.progress.phase is ProgressPhase.DONE
    if not done and not (pulsar.progress_fault and saver.complete is not None):
        return False
    return not _runs_again(observed, spec, SAVER, saver, settings)


def _role_failed(observed: ObservedState, spec: SkymapScanSpec, role: str, condition: Manifest) -> Finding:
    if condition.get("reason") == "DeadlineExceeded":
        return Finding(Reason.DEADLINE_EXCEEDED, f"{role} did not finish within activeDeadlineSeconds")
    ends = [pod for pod in observed.pods if pod.role == role and _failed(pod)]
    last = max(ends, key=lambda pod: pod.created or _NEVER, default=None)  # it made the Job fail
    message = "" if last is None else termination_message(last)
    mismatch = last is not None and software_mismatch(last)
    why = message or condition.get("message", condition.get("reason", ""))
    if role == SAVER:
        advice = _RESTORE_THE_IMAGE if mismatch else _FITS_ARE_KEPT
        return Finding(Reason.OUTPUT_FAILED, f"{role} failed: {why} - {advice}")
    if mismatch:
        return Finding(Reason.SOFTWARE_MISMATCH, f"{role} failed: {message}")
    if last is None or not message:
        return Finding(Reason.ROLE_FAILED, f"{role} failed: {why}")
    reported = last.termination is not None and last.termination.code == 1
    reason = _event_reason(spec, message) if role == PRODUCER and reported else Reason.ROLE_FAILED
    return Finding(reason, f"{role} failed: {message}")


def _failed(pod: Pod) -> bool:
    """Return whether a container of the pod ended with an error, or its node evicted or refused the pod."""
    return pod.failure is not None or (pod.termination is not None and pod.termination.code != 0)


def _event_reason(spec: SkymapScanSpec, message: str) -> Reason:
    """Distinguish an event that cannot be downloaded from one that cannot be used, by the producer's error."""
    if "the topic" in message or "another scan" in message.lower():
        return Reason.ROLE_FAILED
    if spec.event.url is not None and _DOWNLOAD_FAILED.search(message):
        return Reason.EVENT_UNREACHABLE
    return Reason.EVENT_UNUSABLE


def _workers_failed(observed: ObservedState, restarts: int) -> Finding | None:
    """Return the error if every worker has exceeded its restarts with a reported error: new ones would fail, too."""
    pods = [pod for pod in observed.pods if pod.role == WORKER and not pod.terminating]
    hopeless = [pod for pod in pods if not pod.ready and pod.restarts > restarts and _reported_error(pod)]
    if not pods or len(hopeless) < len(pods):
        return None
    reason = Reason.SOFTWARE_MISMATCH if all(map(software_mismatch, hopeless)) else Reason.ROLE_FAILED
    return Finding(reason, f"every worker failed: {termination_message(hopeless[0])}")


def _reported_error(pod: Pod) -> bool:
    return pod.termination is not None and pod.termination.code in PERMANENT
