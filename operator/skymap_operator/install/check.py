"""Is an installation whole? What ``helm test`` asks, from a pod beside the operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from skymap_api.crd import resource_schema
from skymap_api.names import API_VERSION, KIND
from skymap_operator.cluster.client import Cluster, ClusterError
from skymap_operator.pulsar.access import PulsarAccess
from skymap_operator.pulsar.admin import PulsarAdminError
from skymap_operator.pulsar.connections import Pulsars
from skymap_operator.settings import Settings

#: A scan that a cluster with our definition takes.
SPEC = {"event": {"simulate": {}}, "levels": [{"nside": 1}]}

TIMEOUT = 10.0


class CheckError(Exception):
    """Something is not as it should be; the message says what, and what to do."""


async def check_definition(cluster: Cluster) -> str:
    """See that the cluster knows every field of a SkymapScan that this operator knows.

    Raises
    ------
    CheckError
        If it knows no SkymapScan, or one of another version.
    """
    try:
        published = await cluster.schema(KIND)
    except ClusterError as error:
        raise CheckError(f"the cluster does not know what a {KIND} is ({error}): install the definition") from error
    missing = sorted(set(paths(resource_schema())) - set(paths(published)))
    if missing:
        raise CheckError(
            f"the cluster's definition of {KIND} is an older one, without {', '.join(missing)}: upgrade it"
        )
    return f"the cluster knows what a {KIND} is"


async def check_scan(cluster: Cluster, namespace: str) -> str:
    """See that a scan would be taken in a namespace, without making one."""
    meta = {"generateName": "check-", "namespace": namespace}
    scan = {"apiVersion": API_VERSION, "kind": KIND, "metadata": meta, "spec": SPEC}
    try:
        await cluster.create(scan, dry_run=True)
    except ClusterError as error:
        raise CheckError(f"a {KIND} is not taken in the namespace {namespace}: {error}") from error
    return f"a {KIND} would be taken in the namespace {namespace}"


async def check_operator(url: str) -> str:
    """See that the operator answers at ``url``, and reconciles."""
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT) as client:
            answer = await client.get(f"{url}/healthz")
    except httpx.HTTPError as error:
        raise CheckError(f"the operator does not answer at {url}: {str(error) or type(error).__name__}") from error
    if not answer.is_success:
        raise CheckError(f"the operator is not well: {answer.text.strip()}")
    return f"the operator is well at {url}"


async def check_pulsar(pulsars: Pulsars, settings: Settings) -> str:
    """See that Pulsar's admin interface answers, and takes the operator's token."""
    access = PulsarAccess(settings.pulsar_service_url, settings.pulsar_admin_url, settings.pulsar_tenant)
    try:
        async with pulsars.reach("", access) as admin:
            await admin.topics(settings.pulsar_tenant, "skymap")
    except PulsarAdminError as error:
        raise CheckError(str(error)) from error
    return f"Pulsar answers at {settings.pulsar_admin_url}"


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
