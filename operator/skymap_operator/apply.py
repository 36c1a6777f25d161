"""Performs the decided actions. Nothing else in the operator writes.

Every action may be repeated. The first that fails ends the pass; the next pass starts from what it observes.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from skymap_api.names import API_VERSION, FINALIZER, KIND, Names, metadata_namespace
from skymap_api.permissions import METADATA_PERMISSIONS, PAGE_PERMISSIONS, topic_permissions
from skymap_api.pulsar_admin import PERMISSIONS, PulsarAdminError, PulsarUnavailable
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.base import Manifest, to_manifest
from skymap_api.resource.status import Reason
from skymap_operator.cluster.client import Cluster, Conflict, Invalid, NotFound, Refused
from skymap_operator.decide.actions import (
    Action,
    AddFinalizer,
    Create,
    Delete,
    DeleteScan,
    DeleteTopics,
    Emit,
    EnlargeClaim,
    EnsureTopics,
    IssueTokens,
    Patch,
    RemoveFinalizer,
    Replace,
    SetStatus,
)
from skymap_operator.observe.children import Claim
from skymap_operator.observe.state import INVALID, REFUSED, ObservedScan, ObservedState, ObservedWarning
from skymap_operator.pulsar.access import PulsarAccess, pulsar_access
from skymap_operator.pulsar.admin import PulsarAdmin
from skymap_operator.pulsar.connections import Pulsars
from skymap_operator.pulsar.tokens import read_key, sign_all, subjects
from skymap_operator.settings import Settings

log = logging.getLogger(__name__)


class ActionRefused(Exception):  # noqa: N818 - the cluster's answer, not a mistake of ours
    """An action was refused. ``warning`` names its object and gives the reason, for the scan's status."""

    def __init__(self, action: Action, warning: ObservedWarning) -> None:
        super().__init__(f"{warning.object}: {warning.message}")
        self.action = action
        self.warning = warning


async def apply(
    actions: Sequence[Action], observed: ObservedState, cluster: Cluster, pulsars: Pulsars, settings: Settings
) -> None:
    """Perform actions in their order.

    Raises ActionRefused if the cluster or Pulsar refuses one, or Pulsar cannot be reached; ClusterError if one fails.
    The actions after it are left to the next pass.
    """
    for action in actions:
        try:
            if isinstance(action, EnsureTopics | DeleteTopics):
                await _on_pulsar(action, observed, pulsars, settings)
            elif isinstance(action, IssueTokens):
                tokens = await asyncio.to_thread(_tokens, observed.scan.uid, observed.now, settings)
                await cluster.put(action.manifest | {"data": tokens})
            else:
                await _on_cluster(action, observed, cluster)
        except Refused as error:
            kind = INVALID if isinstance(error, Invalid) else REFUSED
            raise ActionRefused(action, ObservedWarning.of(_object(action), kind, str(error))) from error
        except PulsarAdminError as error:
            reason = Reason.PULSAR_UNAVAILABLE if isinstance(error, PulsarUnavailable) else Reason.PULSAR_REFUSED
            raise ActionRefused(action, ObservedWarning.of("Pulsar", reason, str(error))) from error


async def _on_pulsar(
    action: EnsureTopics | DeleteTopics, observed: ObservedState, pulsars: Pulsars, settings: Settings
) -> None:
    access = pulsar_access(observed.scan.namespace, observed.scan.spec, observed.scan.status, settings)
    async with pulsars.reach(observed.scan.namespace, access) as admin:
        if isinstance(action, EnsureTopics):
            await admin.prepare(access.tenant, observed.scan.namespace, _roles(settings) if access.own else {})
            made = (admin.create(topic, subscriptions) for topic, subscriptions in action.topics)
            for error in await asyncio.gather(*made, return_exceptions=True):  # all must end before one raises
                if error is not None:
                    raise error
            if access.signed:
                await _grant(action, observed.scan, access, admin)
        else:
            if access.signed:  # first, since nothing is left to do once the topics are gone
                await admin.revoke(_metadata_place(observed.scan, access), subjects(observed.scan.uid).values())
            for name in action.topics:
                await admin.delete(name)


def _roles(settings: Settings) -> dict[str, Sequence[str]]:
    """Return what the roles of the settings may do in the Pulsar namespaces of scans."""
    wanted = {settings.pulsar_role: PERMISSIONS, settings.pulsar_page_role: PAGE_PERMISSIONS}
    return {role: actions for role, actions in wanted.items() if role is not None}


async def _grant(action: EnsureTopics, scan: ObservedScan, access: PulsarAccess, admin: PulsarAdmin) -> None:
    """Let the roles of the scan use its topics, each as far as it must."""
    topics, names = Names.of(scan.namespace, scan.name).topics(access.tenant), subjects(scan.uid)
    permissions = topic_permissions(topics)
    given = {topic: permissions[topic] for topic, _ in action.topics if topic in permissions}
    for place, actions in {_metadata_place(scan, access): METADATA_PERMISSIONS, **given}.items():
        await admin.grant(place, {names[role]: what for role, what in actions.items()})


def _metadata_place(scan: ObservedScan, access: PulsarAccess) -> str:
    return f"{access.tenant}/{metadata_namespace(scan.namespace)}"


def _tokens(uid: str, now: datetime, settings: Settings) -> dict[str, str]:
    """Return the content of the Secret with the tokens of a scan. Raises PulsarAdminError without a key."""
    if settings.pulsar_signing_key_file is None:
        raise PulsarAdminError("there is no key to sign tokens with")
    key = read_key(Path(settings.pulsar_signing_key_file))
    tokens = sign_all(key, uid, now.timestamp() + settings.pulsar_token_seconds)
    return {role: base64.b64encode(token.encode()).decode() for role, token in tokens.items()}


async def _on_cluster(action: Action, observed: ObservedState, cluster: Cluster) -> None:
    scan = observed.scan
    match action:
        case AddFinalizer() | RemoveFinalizer():
            await _finalizer(observed, cluster, wanted=isinstance(action, AddFinalizer))
        case SetStatus(status):
            await cluster.apply_status(_reference(observed) | {"status": _written(observed, status)})
        case Create(manifest):
            try:
                await cluster.create(manifest)
            except Conflict:
                return  # the next pass observes who owns it
        case Replace(manifest):
            meta = _live(observed, manifest["kind"], manifest["metadata"]["name"])
            await cluster.replace(manifest, meta["resourceVersion"])
        case Patch(kind, name, patch):
            await cluster.patch(kind, scan.namespace, name, patch)
        case EnlargeClaim(name, size):
            change = {"spec": {"resources": {"requests": {"storage": size}}}}
            await cluster.patch(Claim.kind, scan.namespace, name, change)
        case Delete(kind, name, grace):
            uid = _live(observed, kind, name).get("uid")
            await cluster.delete(kind, scan.namespace, name, uid=uid, grace=grace)
        case DeleteScan():
            await cluster.delete(KIND, scan.namespace, scan.name, uid=scan.uid)
        case Emit(kind, reason, message):
            try:
                await cluster.record(_reference(observed), kind, reason, message)
            except (Refused, Conflict, NotFound) as error:  # not essential; a terminating namespace takes none
                log.info("%s/%s: Event %s not recorded: %s", scan.namespace, scan.name, reason, error)


def _written(observed: ObservedState, status: SkymapScanStatus) -> Manifest:
    """Return a status as it is written, with what the scan runs with as another version has recorded it."""
    scan, written = observed.scan, to_manifest(status)
    if scan.recorded is not None and status.runs_with == scan.status.runs_with:
        written["runsWith"] = dict(scan.recorded)
    return written


async def _finalizer(observed: ObservedState, cluster: Cluster, *, wanted: bool) -> None:
    """Add or remove the operator's finalizer; those of others stay."""
    scan = observed.scan
    live = await cluster.get(KIND, scan.namespace, scan.name)
    if live is None or live["metadata"]["uid"] != scan.uid:
        return
    meta = live["metadata"]
    others = [one for one in meta.get("finalizers", ()) if one != FINALIZER]
    finalizers = [*others, FINALIZER] if wanted else others
    # With the version, a change by somebody else at the same time is a conflict.
    change = {"metadata": {"finalizers": finalizers, "resourceVersion": meta["resourceVersion"]}}
    await cluster.patch(KIND, scan.namespace, scan.name, change)


def _live(observed: ObservedState, kind: str, name: str) -> Manifest:
    """Return the observed metadata of an object; empty for pods, whose metadata is not observed."""
    found = observed.children.find(kind, name)
    return {} if found is None else dict(found.manifest["metadata"])


def _reference(observed: ObservedState) -> Manifest:
    """Return a reference to this scan, with its uid, so that it names no later scan of the same name."""
    scan = observed.scan
    meta = {"namespace": scan.namespace, "name": scan.name, "uid": scan.uid}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": meta}


def _object(action: Action) -> str:
    match action:
        case Create(manifest) | Replace(manifest) | IssueTokens(manifest):
            return f"{manifest['kind']} {manifest['metadata']['name']}"
        case Patch(kind, name) | Delete(kind, name):
            return f"{kind} {name}"
        case EnlargeClaim(name):
            return f"{Claim.kind} {name}"
        case _:
            return KIND
