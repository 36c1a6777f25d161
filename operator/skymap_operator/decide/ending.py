"""The end of a scan: what is removed when it is done, and when it is deleted. The results on the claim always stay."""

from __future__ import annotations

from datetime import timedelta

from skymap_api.metadata_topics import decide_deletion
from skymap_api.names import FINALIZER, JOB_ROLES, WORKER, Names
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import Phase
from skymap_operator.decide.actions import (
    Action,
    Delete,
    DeleteScan,
    DeleteTopics,
    Plan,
    RemoveFinalizer,
    SetStatus,
)
from skymap_operator.decide.diagnose import Finding, owned
from skymap_operator.decide.status import Verdict, news, next_status
from skymap_operator.observe.state import (
    ObservedScan,
    ObservedState,
    PulsarFault,
    job_condition,
    topics_go,
)
from skymap_operator.pulsar.access import runs_with
from skymap_operator.settings import Settings


def plan_finished(observed: ObservedState, settings: Settings) -> Plan:
    """Remove what a scan that is done needs no more; in the end the scan itself, where it has a time to live."""
    scan = observed.scan
    pods = "Never" if scan.spec is None else scan.spec.cleanup_policy.pods
    remove = pods == "Always" or (pods == "OnSuccess" and scan.succeeded)
    actions: list[Action] = [*_end_pods(observed, settings, finished_jobs=remove)]
    waits, fault = bool(actions) or _pods_left(observed), None
    if topics_go(scan) and not waits:
        topics, fault = _delete_topics(observed, settings)
        actions += topics
        waits = bool(topics) or fault is not None
    phase = Phase.SUCCEEDED if scan.succeeded else Phase.FAILED
    status = next_status(observed, Verdict(phase, degraded=fault))
    told = _told(scan, status)
    left = _time_left(observed)
    if left is not None and left <= timedelta(0) and not waits:
        return Plan((*told, DeleteScan()), settings.retry_interval)
    later = settings.retry_interval if waits else settings.resync_interval
    return Plan((*told, *actions), later if left is None else min(later, max(left.total_seconds(), 1.0)))


def plan_deletion(observed: ObservedState, settings: Settings) -> Plan:
    """End the pods, then delete the topics, see that they are gone, then let the scan go."""
    scan = observed.scan
    if FINALIZER not in scan.finalizers:
        return Plan((), settings.resync_interval)
    actions: list[Action] = [*_end_pods(observed, settings, finished_jobs=True)]
    fault = None
    if not actions and not _pods_left(observed):
        if topics_go(scan):
            topics, fault = _delete_topics(observed, settings)
            actions += topics
        if not actions and fault is None:
            return Plan((RemoveFinalizer(),), settings.retry_interval)
    status = next_status(observed, Verdict(Phase.DELETING, degraded=fault))
    return Plan((*_told(scan, status), *actions), settings.retry_interval)


def _told(scan: ObservedScan, status: SkymapScanStatus) -> tuple[Action, ...]:
    return () if status == scan.status else (SetStatus(status), *news(scan.status, status))


def _delete_topics(observed: ObservedState, settings: Settings) -> tuple[list[Action], Finding | None]:
    """Return the deletion that is left to do; without Pulsar there is none, but a reason why."""
    scan, pulsar = observed.scan, observed.pulsar
    if isinstance(pulsar, PulsarFault):
        how = "its topics are deleted when Pulsar is back; cleanupPolicy.topics: Never leaves them"
        return [], Finding(pulsar.reason, f"{pulsar.message} - {how}")
    tenant = runs_with(scan.spec, scan.status, settings).tenant
    own = Names.of(scan.namespace, scan.name).topics(tenant)
    doomed = decide_deletion(own, {*pulsar.topics, *pulsar.metadata}, pulsar.metadata, pulsar.elsewhere).topics
    return ([DeleteTopics(doomed)] if doomed else []), None


def _end_pods(observed: ObservedState, settings: Settings, *, finished_jobs: bool) -> list[Action]:
    """Return what ends the scan's pods. The workers' fits serve nobody any more, so they are not waited for.

    The workers come before their Deployment, which would give them the time for a whole fit: once a pod ends, no
    kubelet takes a shorter time (kubernetes/kubernetes#113606).
    """
    names = Names.of(observed.scan.namespace, observed.scan.name)
    doomed = [
        ("Deployment", names.workers),
        *(("Job", names.job(role)) for role in JOB_ROLES),
    ]
    workers = [pod for pod in observed.pods if pod.role == WORKER and not pod.deleting and not pod.over]
    actions: list[Action] = [Delete("Pod", pod.name, settings.grace_seconds) for pod in workers]
    for kind, name in doomed:
        live = observed.children.get((kind, name))
        if live is None or not owned(observed, live) or "deletionTimestamp" in live["metadata"]:
            continue
        over = kind == "Job" and any(job_condition(live, how) is not None for how in ("Complete", "Failed"))
        if finished_jobs or not over:
            actions.append(Delete(kind, name))
    return actions


def _pods_left(observed: ObservedState) -> bool:
    return any(not pod.over for pod in observed.pods)


def _time_left(observed: ObservedState) -> timedelta | None:
    """Return how long the SkymapScan still stays; None: for ever."""
    scan = observed.scan
    if scan.spec is None or scan.status.completion_time is None:
        return None
    lives = scan.spec.ttl_seconds_after_finished
    seconds = lives.succeeded if scan.succeeded else lives.failed
    return None if seconds is None else scan.status.completion_time + timedelta(seconds=seconds) - observed.now
