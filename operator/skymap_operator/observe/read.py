"""Reads everything that a decision about one scan depends on. Nothing else in the operator reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from skymap_api.names import (
    COLLECTOR_SUBSCRIPTION,
    JOB_ROLES,
    TOPICS_NAMESPACE,
    WORKERS_SUBSCRIPTION,
    Names,
    ScanTopics,
)
from skymap_api.progress import decode_progress
from skymap_api.pulsar_admin import PulsarAdminError, PulsarUnavailable, UnreadableMessage, split_topic
from skymap_api.pulsar_statistics import Subscription
from skymap_api.resource.base import Manifest
from skymap_api.resource.status import Reason
from skymap_api.validation_errors import describe_errors
from skymap_operator.cluster.cached import Reads
from skymap_operator.cluster.client import Refused
from skymap_operator.observe.children import Children
from skymap_operator.observe.events import current_warnings, waiting_objects
from skymap_operator.observe.state import (
    ObservedScan,
    ObservedState,
    ObservedWarning,
    Pod,
    PulsarFault,
    PulsarState,
    topics_end,
)
from skymap_operator.pulsar.access import PulsarAccess, pulsar_access, refusal
from skymap_operator.pulsar.admin import PulsarAdmin
from skymap_operator.pulsar.connections import Pulsars
from skymap_operator.settings import Settings

T = TypeVar("T")


async def observe(
    resource: Manifest,
    cluster: Reads,
    pulsars: Pulsars,
    settings: Settings,
    refused: Iterable[ObservedWarning] = (),
) -> ObservedState:
    """Observe the scan that ``resource`` describes.

    ``refused``: the actions that were refused in the last pass.

    Raises ClusterError if Kubernetes cannot be reached. An unreachable Pulsar is part of the observed state.
    """
    scan = ObservedScan.of(resource)
    names = Names.of(scan.namespace, scan.name)
    access = pulsar_access(scan.namespace, scan.spec, scan.status, settings)
    last = topics_end(scan)
    children, pods, tls_keys = await asyncio.gather(
        _children(cluster, scan, names),
        # Topics are deleted when no pod is left. A cache may lag behind, so the API server is asked.
        cluster.pods(scan.namespace, names.base, fresh=last),
        _keys(cluster, scan.namespace, None if access.refused else access.tls_secret),
    )
    pulsar: PulsarState | PulsarFault = PulsarState()
    if not scan.finished or scan.deleting or last:
        pulsar = await _pulsar(scan, names, pulsars, access, children)
    observed_pods = tuple(Pod.of(pod) for pod in pods)
    waiting = {} if scan.finished or scan.deleting else waiting_objects(children, observed_pods)
    found = await cluster.warnings(scan.namespace) if waiting else {}
    events = [event for uid in waiting.values() for event in found.get(uid, ())]
    return ObservedState(
        now=cluster.now(),
        scan=scan,
        pulsar=pulsar,
        children=children,
        pods=observed_pods,
        warnings=(*refused, *current_warnings(events, children, observed_pods)),
        tls_keys=tls_keys,
    )


async def _children(cluster: Reads, scan: ObservedScan, names: Names) -> Children:
    """Return the objects that have the scan's names, whoever owns them."""
    given = None if scan.spec is None else scan.spec.output.claim.name
    wanted = [
        ("ConfigMap", names.config_map),
        ("Deployment", names.workers),
        ("PersistentVolumeClaim", given or names.claim),
        *(("Job", names.job(role)) for role in JOB_ROLES),
    ]
    config_map, deployment, claim, *jobs = await asyncio.gather(
        *(cluster.get(kind, scan.namespace, name) for kind, name in wanted)
    )
    return Children.of(scan.uid, config_map, deployment, claim, dict(zip(JOB_ROLES, jobs, strict=True)))


async def _keys(cluster: Reads, namespace: str, secret: str | None) -> frozenset[str] | None:
    if secret is None:
        return frozenset()
    try:
        found = await cluster.get("Secret", namespace, secret)
    except Refused:  # counts as missing; the connection to Pulsar, which needs it too, reports the reason
        return None
    return None if found is None else frozenset(found.get("data") or ())


async def _pulsar(
    scan: ObservedScan,
    names: Names,
    pulsars: Pulsars,
    access: PulsarAccess,
    children: Children,
) -> PulsarState | PulsarFault:
    """Read the scan's topics, or return why they cannot be read."""
    if access.refused:
        return PulsarFault(Reason.NOT_ALLOWED, refusal(access.refused))
    topics = names.topics(access.tenant)
    # The work of a finished Job is checked without a cache.
    exact = any(job.finished for job in children.jobs.values())
    try:
        async with pulsars.reach(scan.namespace, access) as admin:
            there = await admin.topics(access.tenant, TOPICS_NAMESPACE, cached=True)
            own = {topic for topic in topics.all() if topic in there}
            if scan.finished or scan.deleting:
                state = PulsarState(topics={topic: frozenset() for topic in own})
            else:
                state = await _queues(topics, own, admin, exact=exact)
            if topics_end(scan):
                tenant, namespace, _ = split_topic(topics.metadata)
                state = replace(state, metadata=topics.frames(await admin.topics(tenant, namespace)))
            return state
    except PulsarUnavailable as error:
        return PulsarFault(Reason.PULSAR_UNAVAILABLE, str(error))
    except PulsarAdminError as error:
        return PulsarFault(Reason.PULSAR_REFUSED, str(error))


async def _queues(topics: ScanTopics, own: Collection[str], admin: PulsarAdmin, *, exact: bool) -> PulsarState:
    """Read which topics exist and how far the scan is; ``exact``: without a cache."""
    tasks, fits, (ended, _, plan_fault), (progress, published, progress_fault) = await asyncio.gather(
        _subscriptions(admin, topics.to_be_scanned, own, cached=False),
        _subscriptions(admin, topics.scanned, own, cached=not exact),
        _last(admin, topics.plan, own if exact else (), _is_end),
        _last(admin, topics.progress, own, decode_progress),
    )
    found = {topics.to_be_scanned: tasks, topics.scanned: fits}
    return PulsarState(
        topics={topic: frozenset(found.get(topic, ())) for topic in own},
        tasks=tasks.get(WORKERS_SUBSCRIPTION),
        fits=fits.get(COLLECTOR_SUBSCRIPTION),
        plan_ended=bool(ended),
        progress=progress,
        progress_time=published,
        progress_fault=progress_fault,
        plan_fault=plan_fault,
    )


async def _subscriptions(
    admin: PulsarAdmin, topic: str, there: Collection[str], *, cached: bool
) -> Mapping[str, Subscription]:
    return await admin.subscriptions(topic, cached=cached) if topic in there else {}


async def _last(
    admin: PulsarAdmin, topic: str, there: Collection[str], decode: Callable[[bytes], T]
) -> tuple[T | None, datetime | None, str]:
    """Read the last message of a topic, which anybody with a token may have written.

    Return its value and when it was published, None without one; and why it cannot be read.
    """
    try:
        message = await admin.last(topic) if topic in there else None
        return (None, None, "") if message is None else (decode(message.payload), message.published, "")
    except UnreadableMessage as error:
        return None, None, str(error)
    except ValueError as error:
        return None, None, f"{topic}: {error}"


class _PlanEntry(BaseModel):
    kind: str


def _is_end(entry: bytes) -> bool:
    """Return whether the last entry of a plan is its end. Raises ValueError if it is not an entry of a plan."""
    try:
        return _PlanEntry.model_validate_json(entry).kind == "end"
    except ValidationError as error:
        raise ValueError(f"not an entry of a plan: {describe_errors(error, most=1)}") from error
