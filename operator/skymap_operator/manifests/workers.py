"""The Deployment of the workers."""

from __future__ import annotations

import math

from skymap_api.names import WORKER
from skymap_api.resource.base import Manifest, to_manifest
from skymap_api.resource.workers import PodTemplate
from skymap_operator.manifests.labels import metadata, selector, signed
from skymap_operator.manifests.pod import SILENCE, access_volumes, container, pod_template, scan_arguments, scratch
from skymap_operator.manifests.recipe import Recipe

STATE = "/state"
#: Beyond the longest fit: to send it off and to leave (s).
_LEAVE = 30


def workers(recipe: Recipe, replicas: int) -> Manifest:
    """Return the Deployment. A worker that is asked to end finishes the fit in hand first."""
    spec = recipe.spec
    # What a worker has in hand must outlive its container: the next one reports a task that ended it.
    volumes = [scratch("tmp", "/tmp"), scratch("state", STATE), *access_volumes(recipe)]  # noqa: S108
    seconds = float(spec.reconstruction.max_task_seconds)
    words = ["worker", *scan_arguments(recipe, to_be_scanned="-t", scanned="-s")]
    words += ["--max-attempts", str(spec.retries.task_attempts), "--max-task-seconds", repr(seconds)]
    resources = spec.workers.resources or recipe.settings.worker_resources
    state = [{"name": "SKYMAP_STATE", "value": STATE}]
    main = container(recipe, WORKER, words, volumes, resources, state)
    grace = math.ceil(seconds) + _LEAVE
    # Native code may keep the interpreter for a whole fit, and with it the sign of life.
    template = pod_template(recipe, WORKER, main, volumes, restart="Always", grace=grace, silence=grace + SILENCE)
    # How many there are changes all the time and is no part of what they are made to be.
    deployment = signed(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata(recipe, recipe.names.workers, WORKER),
            "spec": {
                "revisionHistoryLimit": 1,
                "selector": {"matchLabels": selector(recipe.names, WORKER)},
                # No more pods than wanted while they are replaced; a few at a time, each after its fit.
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}},
                "template": _with(template, spec.workers.pod_template),
            },
        }
    )
    return deployment | {"spec": {"replicas": replicas} | deployment["spec"]}


def _with(template: Manifest, more: PodTemplate | None) -> Manifest:
    """Return the template with what the user gave beside it; the operator's own labels win."""
    if more is None:
        return template
    given = to_manifest(more)
    meta, spec = template["metadata"], template["spec"]
    for kind in ("labels", "annotations"):
        meta = meta | {kind: given.pop(kind, {}) | meta[kind]}
    given.pop("imagePullSecrets", None)  # are there for all pods
    tolerations = given.setdefault("tolerations", [])
    tolerations += [one for one in spec["tolerations"] if not any(_tolerates(other, one) for other in tolerations)]
    return {"metadata": meta, "spec": spec | given}


def _tolerates(given: Manifest, ours: Manifest) -> bool:
    """Tell whether the user's toleration says what is to hold for a taint that we tolerate, too."""
    return given.get("key") in {None, ours["key"]} and given.get("effect") in {None, ours["effect"]}
