"""A scan that was deleted: its pods end, then its topics are deleted, then the finalizer is removed."""

from __future__ import annotations

from skymap_api.names import FINALIZER
from skymap_api.resource.status import Phase
from skymap_operator.decide.actions import Decision, RemoveFinalizer
from skymap_operator.decide.cleanup import delete_topics, end_pods, pods_left
from skymap_operator.decide.status import Verdict, update_status
from skymap_operator.observe.state import ObservedState, deletes_topics
from skymap_operator.settings import Settings


def decide_deleting(observed: ObservedState, settings: Settings) -> Decision:
    """Take the next step of the deletion. The finalizer is removed only when the topics are seen to be gone."""
    scan = observed.scan
    if FINALIZER not in scan.finalizers:
        return Decision((), settings.resync_interval)
    actions, fault = end_pods(observed, settings, finished_jobs=True), None
    if not actions and not pods_left(observed):
        if deletes_topics(scan):
            actions, fault = delete_topics(observed, settings)
        if not actions and fault is None:
            return Decision((RemoveFinalizer(),), settings.retry_interval)
    status = update_status(observed, Verdict(Phase.DELETING, degraded=fault))
    return Decision((*status, *actions), settings.retry_interval)
