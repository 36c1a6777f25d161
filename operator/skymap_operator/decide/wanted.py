"""What the objects of a scan should be: its recipe, with more memory for roles that were ended for their use of it.

The raised limits are in the status, so that they outlive the pods that exceeded the old ones. So is what the scan runs
with, so that it outlives objects that somebody deletes, and upgrades of the operator.
"""

from __future__ import annotations

from collections.abc import Iterable

from skymap_api.names import JOB_ROLES
from skymap_api.resource import SkymapScanSpec
from skymap_api.resource.quantities import amount, compare
from skymap_api.resource.status import RoleMemory, RunsWith
from skymap_operator.manifests.commands import keep_commands, record_commands, valid_image_id
from skymap_operator.manifests.recipe import Recipe
from skymap_operator.observe.state import ObservedState
from skymap_operator.pulsar.access import runs_with
from skymap_operator.settings import Settings

MIB = 2**20


def recipe_of(observed: ObservedState, spec: SkymapScanSpec, settings: Settings) -> Recipe:
    """Return the recipe of the scan's objects, with its recorded commands."""
    limits, keys = _limits(role_memory(observed, settings), settings), observed.tls_keys or frozenset()
    recipe = Recipe.of(observed.scan, spec, settings, keys, limits, observed.operator)
    runs = observed.scan.status.runs_with
    return recipe if runs is None else keep_commands(recipe, runs, access_known=pods_known(observed))


def record(observed: ObservedState, recipe: Recipe, settings: Settings, *, starts: bool) -> RunsWith | None:
    """Return what the scan runs with; None before it starts.

    ``starts``: its objects can be created now, so that nothing of it may change any more.
    """
    runs = observed.scan.status.runs_with
    if starts:
        runs = record_commands(recipe, runs_with(recipe.spec, observed.scan.status, settings), observed.operator)
    if runs is None or runs.image_id is not None:
        return runs
    return runs.model_copy(update={"image_id": _image_id(observed)})


def _image_id(observed: ObservedState) -> str | None:
    """Return the image that the first pod of a Job of the scan runs, as its node names it; None if none runs yet."""
    for role in JOB_ROLES:
        job = observed.children.owned_job(role)
        for pod in observed.pods:
            if job is not None and pod.owner == job.uid and valid_image_id(pod.image_id):
                return pod.image_id
    return None


def pods_known(observed: ObservedState) -> bool:
    """Return whether the pods of the recipe are right: their commands name the certificates in a Secret."""
    return observed.tls_keys is not None


def role_memory(observed: ObservedState, settings: Settings) -> tuple[RoleMemory, ...]:
    """Return the raised memory limits: those of the status, and new ones for roles that have exceeded theirs."""
    before: dict[str, RoleMemory] = {one.role: one for one in observed.scan.status.role_memory or ()}
    found = (_raised(observed, role, settings) or before.get(role) for role in JOB_ROLES)
    return tuple(one for one in found if one is not None)


def newly_raised(observed: ObservedState, settings: Settings) -> tuple[RoleMemory, ...]:
    """Return the raised memory limits that the status does not have yet."""
    before = observed.scan.status.role_memory or ()
    return tuple(one for one in role_memory(observed, settings) if one not in before)


def _raised(observed: ObservedState, role: str, settings: Settings) -> RoleMemory | None:
    """Return twice the limit of a role if a pod of its Job has exceeded it, but no more than the settings allow."""
    job = observed.children.owned_job(role)
    if job is None or job.complete is not None or job.memory_limit is None:
        return None
    if not any(pod.out_of_memory and pod.owner == job.uid for pod in observed.pods):
        return None
    now, most = amount(job.memory_limit), amount(settings.role_memory_max)
    if now is None or most is None or now >= most:
        return None
    limit = settings.role_memory_max if 2 * now >= most else f"{int(2 * now) // MIB}Mi"
    return RoleMemory(role=role, limit=limit, message=f"its memory limit of {job.memory_limit} was too low")


def _limits(raised: Iterable[RoleMemory], settings: Settings) -> dict[str, str]:
    """Return the raised limits by role: those above that of the settings, and none above the maximum of now."""
    given, most = (settings.role_resources.limits or {}).get("memory"), settings.role_memory_max
    if given is None:
        return {}
    bounded = {one.role: most if compare(one.limit, most) > 0 else one.limit for one in raised}
    return {role: limit for role, limit in bounded.items() if compare(limit, given) > 0}
