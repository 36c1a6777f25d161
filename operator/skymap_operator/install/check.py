"""Checks of an installation, which ``helm test`` runs in a pod beside the operator.

Each check returns a sentence on what works, or raises CheckError with a sentence for each fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from skymap_api.crd import resource_schema
from skymap_api.names import API_VERSION, KIND, METADATA_NAMESPACE, TOPICS_NAMESPACE
from skymap_api.pulsar_admin import PulsarAdminError
from skymap_api.pulsar_policies import policy_faults
from skymap_api.text import INVALID_PROXY
from skymap_operator.cluster.client import Cluster, ClusterError
from skymap_operator.pulsar.access import PulsarAccess
from skymap_operator.pulsar.connections import Pulsars
from skymap_operator.runtime.scope import list_operators
from skymap_operator.settings import Settings

#: The spec of a scan that a cluster with our definition accepts.
SPEC = {"event": {"simulate": {}}, "levels": [{"nside": 1}]}

TIMEOUT = 10.0

#: Most namespaces that one message names.
MAX_NAMED = 10


class CheckError(Exception):
    """A check failed; each argument is one fault and what to do about it."""


async def check_definition(cluster: Cluster) -> str:
    """Check that the cluster has a definition of SkymapScan with every field that this operator uses."""
    try:
        published = await cluster.schema(KIND)
    except ClusterError as error:
        raise CheckError(f"the cluster has no definition of {KIND} ({error}): install it") from error
    missing = sorted(set(paths(resource_schema())) - set(paths(published)))
    if missing:
        raise CheckError(f"the cluster's definition of {KIND} is outdated, it lacks {', '.join(missing)}: upgrade it")
    return f"the cluster has the definition of {KIND}"


async def check_scan(cluster: Cluster, namespace: str) -> str:
    """Check that a namespace accepts scans, without creating one."""
    meta = {"generateName": "check-", "namespace": namespace}
    scan = {"apiVersion": API_VERSION, "kind": KIND, "metadata": meta, "spec": SPEC}
    try:
        await cluster.dry_run(scan)
    except ClusterError as error:
        raise CheckError(f"the namespace {namespace} does not accept a {KIND}: {error}") from error
    return f"the namespace {namespace} accepts a {KIND}"


async def check_operator(url: str) -> str:
    """Check that the operator answers at ``url`` and reconciles."""
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT) as client:
            answer = await client.get(f"{url}/healthz")
    except (ImportError, ValueError, httpx.InvalidURL):
        raise CheckError(f"the operator cannot be asked: {INVALID_PROXY}") from None
    except httpx.HTTPError as error:
        raise CheckError(f"the operator does not answer at {url}: {str(error) or type(error).__name__}") from error
    if not answer.is_success:
        raise CheckError(f"the operator is unhealthy: {answer.text.strip()}")
    return f"the operator is healthy at {url}"


async def check_scope(cluster: Cluster, settings: Settings) -> str:
    """Check that no other operator watches the same namespaces."""
    try:
        found = await list_operators(cluster, settings.namespaces)
    except ClusterError as error:
        raise CheckError(f"the Leases of operators cannot be listed: {error}") from error
    places: dict[tuple[str, ...], list[str]] = {}
    for namespace, operators in sorted(found.items()):
        if len(operators) > 1:
            places.setdefault(operators, []).append(namespace)
    if places:
        raise CheckError(*(_shared(operators, namespaces) for operators, namespaces in places.items()))
    return "no other operator watches the same namespaces"


def _shared(operators: tuple[str, ...], namespaces: Sequence[str]) -> str:
    where = ", ".join(namespaces[:MAX_NAMED]) + (", ..." if len(namespaces) > MAX_NAMED else "")
    return (
        f"the operators {' and '.join(operators)} watch the same namespaces: {where}. Only {operators[0]} reconciles "
        "there. Give each release namespaces of its own (values scope and namespaces), or uninstall one"
    )


async def check_pulsar(pulsars: Pulsars, settings: Settings) -> str:
    """Check that Pulsar answers, accepts the operator's token, and keeps the messages of scans.

    The operator creates the namespaces of scans with the right policies, and changes none of those that exist.
    """
    tenant = settings.pulsar_tenant
    access = PulsarAccess(settings.pulsar_service_url, settings.pulsar_admin_url, tenant)
    try:
        async with pulsars.reach("", access) as admin:
            await admin.topics(tenant, TOPICS_NAMESPACE)
            await admin.check_broker()
            policies = await admin.policies(tenant)
    except PulsarAdminError as error:
        raise CheckError(str(error)) from error
    ours = re.compile(f"{re.escape(tenant)}/({TOPICS_NAMESPACE}|{METADATA_NAMESPACE}(-.*)?)")
    faults = [fault for place in policies if ours.fullmatch(place) for fault in policy_faults(place, policies[place])]
    if faults:
        raise CheckError(*faults)
    where = f"{settings.pulsar_admin_url} and {settings.pulsar_service_url}"
    return f"Pulsar answers at {where} and keeps what scans send"


def paths(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the fields below a schema, such as ``spec.levels[].nside``."""
    for name, inner in schema.get("properties", {}).items():
        if not path and name == "metadata":  # Kubernetes' own
            continue
        where = f"{path}.{name}" if path else name
        yield where
        yield from paths(inner, where)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from paths(schema[key], f"{path}[]")
