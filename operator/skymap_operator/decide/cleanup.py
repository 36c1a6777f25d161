"""Decides how the pods of a scan end and which topics are deleted. The results on the claim are never deleted."""

from __future__ import annotations

from skymap_api.names import WORKER, Names, ScanTopics
from skymap_operator.decide.actions import Action, Delete, DeleteTopics, Replace
from skymap_operator.decide.diagnose import Finding
from skymap_operator.observe.state import ObservedScan, ObservedState, PulsarFault
from skymap_operator.pulsar.access import runs_with
from skymap_operator.settings import Settings


def end_pods(observed: ObservedState, settings: Settings, *, finished_jobs: bool) -> list[Action]:
    """Return the deletions that end the scan's pods; ``finished_jobs``: delete finished Jobs with their pods, too.

    The worker pods are deleted first, with a short grace period, since nobody needs their fits any more. Deleting the
    Deployment starts the grace period of a whole fit, which cannot be shortened (kubernetes/kubernetes#113606).
    Until the Deployment is gone, each worker pod is replaced at once. The ConfigMap is emptied before, so that the new
    pod cannot start its container, receive a task, and use that grace period.
    """
    workers = [pod for pod in observed.pods if pod.role == WORKER and not pod.terminating and not pod.finished]
    children, config_map = observed.children, observed.children.config_map
    actions: list[Action] = []
    if workers and config_map is not None and config_map.managed and not config_map.empty:
        meta = config_map.manifest["metadata"]
        actions.append(Replace({"apiVersion": "v1", "kind": config_map.kind, "metadata": meta, "data": {}}))
    actions += [Delete("Pod", pod.name, settings.grace_seconds) for pod in workers]
    deployment = children.owned_deployment()
    jobs = [job for job in children.jobs.values() if finished_jobs or not job.finished]
    doomed = [child for child in (deployment, *jobs) if child is not None and child.managed]
    return actions + [Delete(child.kind, child.name) for child in doomed]


def pods_left(observed: ObservedState) -> bool:
    """Return whether a pod of the scan may still run."""
    return any(not pod.finished for pod in observed.pods)


def delete_topics(observed: ObservedState, settings: Settings) -> tuple[list[Action], Finding | None]:
    """Return the deletion of the topics that still exist, and why it must wait if Pulsar cannot be reached."""
    pulsar = observed.pulsar
    if isinstance(pulsar, PulsarFault):
        advice = "the topics are deleted once Pulsar answers; set cleanupPolicy.topics to Never to keep them"
        return [], Finding(pulsar.reason, f"{pulsar.message} - {advice}")
    own = _topics(observed.scan, settings)
    doomed = own.deletion({*pulsar.topics, *pulsar.metadata})
    return ([DeleteTopics(doomed)] if doomed else []), None


def _topics(scan: ObservedScan, settings: Settings) -> ScanTopics:
    tenant = runs_with(scan.spec, scan.status, settings).tenant
    return Names.of(scan.namespace, scan.name).topics(tenant)
