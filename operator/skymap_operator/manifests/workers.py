"""The Deployment of the workers."""

from __future__ import annotations

import math

from skymap_api.command_line import worker_words
from skymap_api.names import WORKER
from skymap_api.resource.base import Manifest, to_manifest
from skymap_operator.manifests.additions import additions
from skymap_operator.manifests.labels import OPERATOR, SETTINGS, build, digest, selector
from skymap_operator.manifests.pod import (
    LIVENESS_TIMEOUT,
    access_volumes,
    container,
    pod_template,
    scan_arguments,
    scratch,
)
from skymap_operator.manifests.recipe import Recipe

STATE = "/state"
#: Grace period beyond the longest fit (s), to publish the fit and to exit.
_EXIT = 30


def workers(recipe: Recipe, replicas: int) -> Manifest:
    """Return the Deployment. A terminating worker finishes its task in flight first."""
    scan = recipe.spec
    # The task in flight is noted where it survives the container; the next one reports a task that crashed it.
    volumes = [scratch("tmp", "/tmp"), scratch("state", STATE), *access_volumes(recipe, WORKER)]  # noqa: S108
    words = ["worker", *scan_arguments(recipe, to_be_scanned="-t", scanned="-s"), *worker_words(scan)]
    resources = scan.workers.resources or recipe.settings.worker_resources
    state = [{"name": "SKYMAP_STATE", "value": STATE}]
    main = container(recipe, WORKER, words, volumes, resources, state)
    grace = math.ceil(scan.reconstruction.max_task_seconds) + _EXIT
    # Native code may hold the interpreter for a whole fit, in which the file is not touched.
    template = pod_template(
        recipe, WORKER, main, volumes, restart="Always", grace=grace, liveness_timeout=grace + LIVENESS_TIMEOUT
    )
    # The number of replicas changes all the time, so it is no part of the digest.
    spec = {
        "revisionHistoryLimit": 1,
        "selector": {"matchLabels": selector(recipe.names, WORKER)},
        # Replace a quarter at a time, each worker after its fit, and never exceed the number of replicas.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}},
        "template": template,
    }
    settings = {
        "resources": to_manifest(resources),
        "additions": to_manifest(additions(recipe, WORKER)),
        "pull": recipe.settings.image_pull_policy,
        "grace": grace,
        "token": None if recipe.pulsar.token is None else recipe.pulsar.token.name,
        "tls": recipe.pulsar.tls_secret,
    }
    notes = {SETTINGS: digest(settings), OPERATOR: recipe.operator}
    deployment = build(recipe, "Deployment", recipe.names.workers, WORKER, {"spec": spec}, annotations=notes)
    return deployment | {"spec": {"replicas": replicas} | deployment["spec"]}
