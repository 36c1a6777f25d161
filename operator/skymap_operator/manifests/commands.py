"""The commands of a scan's containers: recorded in its status when it starts, and kept from then on.

An upgrade of the operator may give other arguments and variables to new scans, which the image of a running one does
not know. So a recorded command is kept as it is, unless what may change while a scan runs and determines the command
has changed, such as the formats of its results: then this version of the operator writes it anew.

The paths at which volumes are mounted and the keys of the scan's ConfigMap stand in recorded commands. A test holds
them fixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from skymap_api.names import COLLECTOR, PRODUCER, SAVER, WORKER
from skymap_api.resource.base import Manifest
from skymap_api.resource.status import Command, RunsWith
from skymap_operator.manifests.jobs import jobs
from skymap_operator.manifests.labels import digest
from skymap_operator.manifests.notices import notice_inputs
from skymap_operator.manifests.recipe import Recipe
from skymap_operator.manifests.workers import workers

_DIGEST = re.compile(r"(?P<place>[^@\s]+@)?(?P<digest>sha256:[0-9a-f]{64})", re.ASCII)


def keep_commands(recipe: Recipe, runs: RunsWith, *, access_known: bool) -> Recipe:
    """Return the recipe with those recorded commands that still hold: with all of them if access is not known now."""
    now = _inputs(recipe)
    kept = {one.container: one for one in runs.commands if not access_known or one.inputs == now.get(one.container)}
    return replace(recipe, commands=kept)


def record_commands(recipe: Recipe, runs: RunsWith, operator: str) -> RunsWith:
    """Return what a scan runs with, with the commands of this recipe; ``operator``: the version that records them."""
    inputs = _inputs(recipe)
    if set(inputs) <= set(recipe.commands):
        return runs
    commands = tuple(
        Command.model_validate(
            {
                "container": one["name"],
                "arguments": one["args"],
                "environment": one["env"],
                "inputs": inputs[one["name"]],
            }
        )
        for one in _containers(recipe)
    )
    return runs.model_copy(update={"commands": commands, "operator": operator})


def with_image(manifest: Manifest, image: str | None) -> Manifest:
    """Return a Job or Deployment whose containers run an image; unchanged without one.

    Its digests stay, so that an object with the image's name and one with its digest count as equal.
    """
    if image is None:
        return manifest
    template = manifest["spec"]["template"]
    kinds = [kind for kind in ("initContainers", "containers") if kind in template["spec"]]
    changed = {kind: [one | {"image": image} for one in template["spec"][kind]] for kind in kinds}
    template = template | {"spec": template["spec"] | changed}
    return manifest | {"spec": manifest["spec"] | {"template": template}}


def image_by_digest(runs: RunsWith) -> str | None:
    """Return the image with the digest that the first pod ran, so that its name can no longer mean another.

    None if that is not known, if the image has a digest already, or if it comes from no registry: an image that was
    loaded into a node has only an id of its own.
    """
    found = None if runs.image_id is None else _DIGEST.fullmatch(runs.image_id)
    if found is None or found["place"] is None or "@" in runs.image:
        return None
    folder, slash, name = runs.image.rpartition("/")
    return f"{folder}{slash}{name.partition(':')[0]}@{found['digest']}"


def valid_image_id(text: str) -> bool:
    """Return whether a node's text is the id of an image: a digest, with or without a repository."""
    return len(text) <= 1024 and _DIGEST.fullmatch(text) is not None


def _containers(recipe: Recipe) -> Iterator[Manifest]:
    for manifest in (*jobs(recipe).values(), workers(recipe, 0)):
        pod = manifest["spec"]["template"]["spec"]
        yield from (*pod.get("initContainers", ()), *pod["containers"])


def _inputs(recipe: Recipe) -> dict[str, str]:
    """Return by container a digest of what determines its command and may change while the scan runs.

    Another version must compute the same of the same scan: a new value is added only where it is not the default.
    """
    spec, pulsar, output = recipe.spec, recipe.pulsar, recipe.spec.output
    tls = [] if pulsar.tls_secret is None else sorted(recipe.tls_keys)
    access: Manifest = {"token": None if pulsar.token is None else pulsar.token.key, "tls": tls}
    access |= {"signed": True} if pulsar.signed else {}
    download = {} if spec.event.url is None else {"addresses": list(recipe.settings.event_addresses)}
    own: dict[str, Manifest] = {
        PRODUCER: download,
        COLLECTOR: {},
        SAVER: {"folder": recipe.folder, "formats": output.formats, "compression": output.compression},
        WORKER: {"attempts": spec.retries.task_attempts},
    }
    if notices := notice_inputs(recipe.namespace, spec, recipe.settings):
        own[SAVER] |= {"notices": notices}
    own |= {} if spec.event.simulate is None else {"simulate": {}}
    return {container: digest(access | more) for container, more in own.items()}
