"""Decides whether a live object differs from what it should be, and how a Job is corrected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skymap_api.resource.base import Manifest
from skymap_api.resource.quantities import same_quantity
from skymap_operator.cluster.trim import data_digest
from skymap_operator.decide.actions import Action, Patch
from skymap_operator.manifests.labels import OPERATOR, SETTINGS, TEMPLATE, content
from skymap_operator.observe.children import Job

#: Fields that hold quantities, which the API server rewrites: 1000m becomes 1.
_QUANTITIES = {"requests", "limits"}

#: Fields of a Job that may be changed while it runs. The pod template is immutable.
JOB_FIELDS = ("suspend", "backoffLimit", "activeDeadlineSeconds")


def differs(live: Manifest, wanted: Manifest) -> bool:
    """Return whether the object must be written: because its manifest has changed, or somebody changed the object.

    Fields that the API server and others have added do not count, nor kind and version of the API, which the objects of
    a list lack. In a ConfigMap all of the data counts: the operator keeps its digest alone.
    """
    if "data" in wanted and data_digest(live) != data_digest(wanted):
        return True
    body = {key: value for key, value in wanted.items() if key not in {"apiVersion", "kind", "data"}}
    return content(live) != content(wanted) or not _contains(live, body)


def workers_differ(live: Manifest, wanted: Manifest) -> bool:
    """Return whether the Deployment must be replaced, which restarts all workers.

    For one that another version of the operator made, only settings and containers count: how this version would write
    the rest is no reason to restart workers.
    """
    if content(live, OPERATOR) in {None, content(wanted, OPERATOR)}:
        return differs(live, wanted)
    return content(live, SETTINGS) != content(wanted, SETTINGS) or not _contains(_commands(live), _commands(wanted))


def _commands(deployment: Manifest) -> list[Manifest]:
    """Return what the containers of a Deployment run; nothing for one that was too long to be kept."""
    template = (deployment.get("spec") or {}).get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or ()
    return [{key: one.get(key) for key in ("name", "image", "args", "env")} for one in containers]


def patch_job(job: Job, wanted: Manifest) -> list[Action]:
    """Return the patch of those fields of a Job that differ and can be changed; nothing if there are none."""
    want = wanted["spec"]
    changes = {name: want.get(name) for name in JOB_FIELDS if job.spec.get(name) != want.get(name)}
    return [Patch(job.kind, job.name, {"spec": changes})] if changes else []


def template_differs(job: Job, wanted: Manifest) -> bool:
    """Return whether a Job was created with another pod template, which only a new Job can change."""
    return content(job.manifest, TEMPLATE) not in {None, content(wanted, TEMPLATE)}


def settings_differ(job: Job, wanted: Manifest) -> bool:
    """Return whether a Job was created with other settings of those that may change even while its pod runs."""
    return content(job.manifest, SETTINGS) not in {None, content(wanted, SETTINGS)}


def _contains(live: Any, wanted: Any, *, quantities: bool = False) -> bool:
    """Return whether everything in ``wanted`` is in ``live``."""
    if isinstance(wanted, Mapping):
        if live is None:  # the API server drops empty maps
            return all(_contains(None, value) for value in wanted.values())
        return isinstance(live, Mapping) and all(
            _contains(live.get(key), value, quantities=quantities or key in _QUANTITIES)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        if live is None:
            return not wanted
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(_contains(*pair, quantities=quantities) for pair in zip(live, wanted, strict=True))
        )
    if quantities and isinstance(live, str | int) and isinstance(wanted, str | int):
        return same_quantity(live, wanted)
    # The API server drops empty strings, such as the value of an environment variable.
    return bool(live == wanted) or (live is None and wanted == "")
