"""Look at everything that a decision about one scan is made of: the only reading of the operator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from skymap_operator.cluster import Cluster, Refused
from skymap_operator.ending import needs_other_plans
from skymap_operator.manifests import Manifest, PulsarAccess
from skymap_operator.manifests.common import SCAN_LABEL
from skymap_operator.models.status import Reason
from skymap_operator.names import (
    COLLECTOR_SUBSCRIPTION,
    JOB_ROLES,
    METADATA_NAMESPACE,
    TOPICS_NAMESPACE,
    WORKERS_SUBSCRIPTION,
    Names,
    Topics,
)
from skymap_operator.observed import Backlog, Observed, Pod, Progress, Pulsar, PulsarFault, Scan, Warned
from skymap_operator.pulsar_admin import PulsarAdmin, PulsarAdminError, PulsarAway, Stored, Subscription
from skymap_operator.pulsars import Pulsars
from skymap_operator.resolve import pulsar_access
from skymap_operator.settings import Settings
from skymap_operator.warned import current_warnings


async def observe(
    resource: Manifest, cluster: Cluster, pulsars: Pulsars, settings: Settings, refused: Iterable[Warned] = ()
) -> Observed:
    """Look at the scan that ``resource`` describes; ``refused``: what the operator met when it acted last.

    Raises
    ------
    ClusterError
        If Kubernetes cannot be asked. That Pulsar cannot is part of what is seen.
    """
    scan = Scan.of(resource)
    names, access = Names.of(scan.namespace, scan.name), pulsar_access(scan, settings)
    children, claim, pods, events, tls_keys, pulsar = await asyncio.gather(
        _children(cluster, scan.namespace, names, settings),
        _claim(cluster, scan, names),
        cluster.list("Pod", scan.namespace, labels=f"{SCAN_LABEL}={names.base}"),
        _events(cluster, scan),
        _keys(cluster, scan.namespace, access.tls_secret),
        _pulsar(scan, names, pulsars, access),
    )
    return Observed(
        now=datetime.now(UTC),
        scan=scan,
        pulsar=pulsar,
        children=children,
        claim=claim,
        pods=tuple(Pod.of(pod) for pod in pods),
        warnings=(*refused, *current_warnings(events, children, claim, pods)),
        tls_keys=tls_keys,
    )


async def _children(
    cluster: Cluster, namespace: str, names: Names, settings: Settings
) -> dict[tuple[str, str], Manifest]:
    """Return the objects that have the names of the scan's, whoever owns them."""
    wanted = [("ConfigMap", names.config_map), ("Deployment", names.workers)]
    wanted += [("Job", names.job(role)) for role in JOB_ROLES]
    wanted += [("ScaledObject", names.workers)] if settings.scaling == "Keda" else []
    found = await asyncio.gather(*(cluster.get(kind, namespace, name) for kind, name in wanted))
    return {where: child for where, child in zip(wanted, found, strict=True) if child is not None}


async def _claim(cluster: Cluster, scan: Scan, names: Names) -> Manifest | None:
    given = None if scan.spec is None else scan.spec.output.claim.name
    return await cluster.get("PersistentVolumeClaim", scan.namespace, given or names.claim)


async def _events(cluster: Cluster, scan: Scan) -> list[Manifest]:
    """Return the namespace's warnings; a scan that is done or goes does not need them."""
    if scan.finished or scan.deleting:
        return []
    return await cluster.warnings(scan.namespace)


async def _keys(cluster: Cluster, namespace: str, secret: str | None) -> frozenset[str] | None:
    if secret is None:
        return frozenset()
    try:
        found = await cluster.get("Secret", namespace, secret)
    except Refused:  # as if it were not there: where Pulsar is asked with it, it is said why not
        return None
    return None if found is None else frozenset(found.get("data") or ())


async def _pulsar(scan: Scan, names: Names, pulsars: Pulsars, access: PulsarAccess) -> Pulsar | PulsarFault:
    """Look at the scan's topics, or return why that cannot be."""
    topics = Topics.of(names.scan, access.tenant)
    try:
        async with pulsars.reach(scan.namespace, access) as admin:
            return await _topics(scan, topics, access.tenant, admin)
    except PulsarAway as error:
        return PulsarFault(Reason.PULSAR_UNAVAILABLE, str(error))
    except PulsarAdminError as error:
        return PulsarFault(Reason.PULSAR_REFUSED, str(error))
    except ValueError as error:
        return PulsarFault(Reason.PULSAR_REFUSED, f"{topics.progress}: {error}")


async def _topics(scan: Scan, topics: Topics, tenant: str, admin: PulsarAdmin) -> Pulsar:
    there = await admin.topics(tenant, TOPICS_NAMESPACE)
    own = [topic for topic in topics.all() if topic in there]
    queues = [topic for topic in (topics.to_be_scanned, topics.scanned) if topic in there]
    found, end, snapshot, frames = await asyncio.gather(
        asyncio.gather(*(admin.subscriptions(topic) for topic in queues)),
        _last(admin, topics.plan, there),
        _last(admin, topics.progress, there),
        _frames(scan, topics, tenant, there, admin),
    )
    subscriptions = dict(zip(queues, found, strict=True))
    tasks = subscriptions.get(topics.to_be_scanned, {}).get(WORKERS_SUBSCRIPTION)
    return Pulsar(
        topics={topic: frozenset(subscriptions.get(topic, ())) for topic in own},
        tasks=_backlog(tasks),
        fits=_backlog(subscriptions.get(topics.scanned, {}).get(COLLECTOR_SUBSCRIPTION)),
        busy=frozenset() if tasks is None else tasks.busy,
        plan_ended=end is not None and entry(end.payload).get("kind") == "end",
        progress=None if snapshot is None else Progress.of(entry(snapshot.payload), snapshot.published),
        metadata=frames[0],
        elsewhere=frames[1],
    )


async def _last(admin: PulsarAdmin, topic: str, there: frozenset[str]) -> Stored | None:
    return await admin.last(topic) if topic in there else None


async def _frames(
    scan: Scan, topics: Topics, tenant: str, there: frozenset[str], admin: PulsarAdmin
) -> tuple[tuple[str, ...], frozenset[str] | None]:
    """Return the topics with the event's frames, and those that other scans use: looked at only where they may go."""
    if not needs_other_plans(scan) or topics.plan not in there:
        return (), None
    named = frames_of(await admin.first(topics.plan)) or ()
    existing = await admin.topics(tenant, METADATA_NAMESPACE) if named else frozenset()
    found = tuple(topic for topic in named if topic in existing)
    if not found:
        return (), frozenset()
    others = [topic for topic in sorted(there) if topic.endswith("-plan") and topic != topics.plan]
    used: set[str] = set()
    for first in await asyncio.gather(*(admin.first(topic) for topic in others)):
        frames = frames_of(first)
        if frames is None:
            return found, None
        used.update(frames)
    return found, frozenset(used)


def frames_of(first: Stored | None) -> tuple[str, ...] | None:
    """Return the topics with frames that a plan's first entry names: none before it begins, None if unreadable."""
    if first is None:
        return ()
    try:
        begun = entry(first.payload)
        named = begun["event"]["metadata_topics"]
    except (ValueError, KeyError, TypeError):
        return None
    readable = isinstance(named, list) and all(isinstance(topic, str) for topic in named)
    return tuple(named) if readable else None


def entry(payload: bytes) -> dict[str, Any]:
    """Read a message of the plan or the progress.

    Raises
    ------
    ValueError
        If it is no JSON object.
    """
    found = json.loads(payload)
    if not isinstance(found, dict):
        raise ValueError("the last message is none of the scanner's")  # noqa: TRY004 - wrong data, not a wrong call
    return found


def _backlog(found: Subscription | None) -> Backlog | None:
    return None if found is None else Backlog(found.waiting, found.unacked)
