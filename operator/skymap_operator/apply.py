"""Carry out what was decided: the only writing of the operator.

Each action may be repeated. The first that fails ends the pass; the next begins with a new look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from skymap_api.names import API_VERSION, FINALIZER, KIND
from skymap_api.resource.base import Manifest, to_manifest
from skymap_api.resource.status import Reason
from skymap_operator.cluster.client import Client, Conflict, NotFound, Refused
from skymap_operator.decide.actions import (
    Action,
    AddFinalizer,
    Create,
    Delete,
    DeleteScan,
    DeleteTopics,
    Emit,
    EnsureTopics,
    Patch,
    RemoveFinalizer,
    Replace,
    SetStatus,
)
from skymap_operator.observe.state import ObservedState, ObservedWarning
from skymap_operator.pulsar.access import pulsar_access
from skymap_operator.pulsar.admin import PulsarAdminError, PulsarAway
from skymap_operator.pulsar.connections import Pulsars
from skymap_operator.settings import Settings

log = logging.getLogger(__name__)


class ActionRefused(Exception):  # noqa: N818 - the cluster's answer, not a mistake of ours
    """An action was refused; ``warned`` says which and why, for the scan's status."""

    def __init__(self, warned: ObservedWarning) -> None:
        super().__init__(f"{warned.object}: {warned.message}")
        self.warned = warned


async def apply(
    actions: Sequence[Action], observed: ObservedState, cluster: Client, pulsars: Pulsars, settings: Settings
) -> None:
    """Carry out actions in their order.

    Raises
    ------
    ActionRefused
        If one is not allowed, or Pulsar cannot do it now.
    ClusterError
        If one cannot be done now. What comes after it is left for the next pass.
    """
    for action in actions:
        try:
            if isinstance(action, EnsureTopics | DeleteTopics):
                await _on_pulsar(action, observed, pulsars, settings)
            else:
                await _on_cluster(action, observed, cluster)
        except Refused as error:
            raise ActionRefused(ObservedWarning(_object(action), "Refused", str(error))) from error
        except PulsarAdminError as error:
            reason = Reason.PULSAR_UNAVAILABLE if isinstance(error, PulsarAway) else Reason.PULSAR_REFUSED
            raise ActionRefused(ObservedWarning("Pulsar", reason, str(error))) from error


async def _on_pulsar(
    action: EnsureTopics | DeleteTopics, observed: ObservedState, pulsars: Pulsars, settings: Settings
) -> None:
    access = pulsar_access(observed.scan.spec, observed.scan.status, settings)
    async with pulsars.reach(observed.scan.namespace, access) as admin:
        if isinstance(action, EnsureTopics):
            await admin.prepare(access.tenant, settings.pulsar_role if access.own else None)
            made = (admin.create(topic, subscriptions) for topic, subscriptions in action.topics)
            for error in await asyncio.gather(*made, return_exceptions=True):  # each is waited for
                if error is not None:
                    raise error
        else:
            for name in action.topics:
                await admin.delete(name)


async def _on_cluster(action: Action, observed: ObservedState, cluster: Client) -> None:
    scan = observed.scan
    match action:
        case AddFinalizer() | RemoveFinalizer():
            await _finalizer(observed, cluster, wanted=isinstance(action, AddFinalizer))
        case SetStatus(status):
            await cluster.apply_status(_reference(observed) | {"status": to_manifest(status)})
        case Create(manifest):
            try:
                await cluster.create(manifest)
            except Conflict:
                return  # whose it is will be seen
        case Replace(manifest):
            meta = _live(observed, manifest["kind"], manifest["metadata"]["name"])
            await cluster.replace(manifest, meta["resourceVersion"])
        case Patch(kind, name, patch):
            await cluster.patch(kind, scan.namespace, name, patch)
        case Delete(kind, name, grace):
            uid = _live(observed, kind, name).get("uid")
            await cluster.delete(kind, scan.namespace, name, uid=uid, grace=grace)
        case DeleteScan():
            await cluster.delete(KIND, scan.namespace, scan.name, uid=scan.uid)
        case Emit(kind, reason, message):
            try:
                await cluster.record(_reference(observed), kind, reason, message)
            except (Refused, Conflict, NotFound) as error:  # nothing hangs on it; a namespace that ends takes none
                log.info("%s/%s: Event %s not recorded: %s", scan.namespace, scan.name, reason, error)


async def _finalizer(observed: ObservedState, cluster: Client, *, wanted: bool) -> None:
    """Put our finalizer on the scan, or take it off; others' stay."""
    scan = observed.scan
    live = await cluster.get(KIND, scan.namespace, scan.name)
    if live is None or live["metadata"]["uid"] != scan.uid:
        return
    meta = live["metadata"]
    others = [one for one in meta.get("finalizers", ()) if one != FINALIZER]
    finalizers = [*others, FINALIZER] if wanted else others
    # The version makes it a conflict if somebody else changes them at the same time.
    change = {"metadata": {"finalizers": finalizers, "resourceVersion": meta["resourceVersion"]}}
    await cluster.patch(KIND, scan.namespace, scan.name, change)


def _live(observed: ObservedState, kind: str, name: str) -> Manifest:
    """Return the metadata of an object as it was seen; nothing is known of pods beyond their names."""
    found = observed.children.get((kind, name))
    meta: Manifest = {} if found is None else found["metadata"]
    return meta


def _reference(observed: ObservedState) -> Manifest:
    """Return what names this scan, and no other of its name that came later."""
    scan = observed.scan
    meta = {"namespace": scan.namespace, "name": scan.name, "uid": scan.uid}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": meta}


def _object(action: Action) -> str:
    match action:
        case Create(manifest) | Replace(manifest):
            return f"{manifest['kind']} {manifest['metadata']['name']}"
        case Patch(kind, name) | Delete(kind, name):
            return f"{kind} {name}"
        case _:
            return KIND
