"""The Jobs of the producer, the collector and the saver."""

from __future__ import annotations

from collections.abc import Sequence

from skymap_api.command_line import ScanOptions, format_words, i3_suffix, simulate_words
from skymap_api.exit_codes import NOT_COUNTED, PERMANENT
from skymap_api.names import COLLECTOR, PRODUCER, SAVER
from skymap_api.resource import EventSource
from skymap_api.resource.base import Manifest, to_manifest
from skymap_operator.manifests.labels import SETTINGS, TEMPLATE, build, digest
from skymap_operator.manifests.notices import notice_environment, notice_inputs, notice_volumes, notice_words
from skymap_operator.manifests.pod import (
    Volume,
    access_volumes,
    container,
    pod_template,
    scan_arguments,
    scratch,
    secret,
)
from skymap_operator.manifests.recipe import Recipe
from skymap_operator.observe.children import MEMORY_LIMIT

EVENT, RESULTS, TMP = "/event", "/results", "/tmp"  # noqa: S108 - a volume of each pod alone
SIMULATED = f"{EVENT}/event.i3.zst"

#: Grace period of a role (s), in which it stores its work in progress. It computes the rest again from its topics.
GRACE = 30

#: Kubernetes retries the Job without counting a lost node, an unavailable broker or a role that was stopped. Errors
#: that would occur again fail it at once. Everything else is retried as often as the scan allows.
FAILURE_POLICY = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": sorted(map(int, NOT_COUNTED))}},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": sorted(map(int, PERMANENT))}},
    ]
}


def jobs(recipe: Recipe) -> dict[str, Manifest]:
    """Return the Jobs, keyed by role."""
    return {PRODUCER: _producer(recipe), COLLECTOR: _collector(recipe), SAVER: _saver(recipe)}


def producer_arguments(recipe: Recipe) -> list[str]:
    """Return the producer's command, with everything that determines the map."""
    spec = recipe.spec
    words = ["producer", event_argument(spec.event)]
    words += scan_arguments(recipe, to_be_scanned="-t", collected="-c", metadata="-m")
    words += ScanOptions.of(spec).words()
    return words if spec.event.select is None else [*words, "--select", spec.event.select]


def event_argument(event: EventSource) -> str:
    """Return the path or URL at which the producer's pod finds the event."""
    if event.config_map is not None:
        return f"{EVENT}/{event.config_map.key}"
    if event.persistent_volume_claim is not None:
        return f"{EVENT}/{event.persistent_volume_claim.path}"
    return SIMULATED if event.simulate is not None else str(event.url)


def saver_arguments(recipe: Recipe) -> list[str]:
    """Return the saver's command."""
    output = recipe.spec.output
    words = ["saver", *scan_arguments(recipe, collected="-c", to_be_scanned="-t")]
    words += ["-o", f"{RESULTS}/{recipe.folder}/{{stem}}{i3_suffix(output)}", *format_words(output)]
    return [*words, *notice_words(recipe.namespace, recipe.spec, recipe.settings)]


def _producer(recipe: Recipe) -> Manifest:
    event = recipe.spec.event
    volumes = [scratch("tmp", TMP), *access_volumes(recipe, PRODUCER), *_event_volumes(event)]
    first = []
    if event.simulate is not None:
        words = ["simulate", SIMULATED, *simulate_words(event.simulate)]
        first = [container(recipe, "simulate", words, volumes, recipe.role_resources(PRODUCER))]
    return _job(recipe, PRODUCER, producer_arguments(recipe), volumes, _event_environment(recipe), first)


def _event_volumes(event: EventSource) -> list[Volume]:
    if event.config_map is not None:
        return [Volume("event", {"configMap": {"name": event.config_map.name}}, EVENT, read_only=True)]
    if event.persistent_volume_claim is not None:
        claim = {"claimName": event.persistent_volume_claim.claim_name}
        return [Volume("event", {"persistentVolumeClaim": claim}, EVENT, read_only=True)]
    if event.simulate is not None:
        return [scratch("event", EVENT)]
    if event.credentials_secret is not None:
        # The command reads the credentials from its environment. The volume makes the pod wait until the Secret exists,
        # which optional variables alone would not.
        return [secret("event-credentials", event.credentials_secret.name, "/credentials")]
    return []


def _event_environment(recipe: Recipe) -> list[Manifest]:
    """Return the addresses that a URL may resolve to, and the credentials. The keys of the Secret are not known."""
    event = recipe.spec.event
    if event.url is None:
        return []
    allowed = [{"name": "SKYMAP_EVENT_ADDRESSES", "value": " ".join(recipe.settings.event_addresses)}]
    if event.credentials_secret is None:
        return allowed
    name = event.credentials_secret.name
    keys = {"SKYMAP_EVENT_TOKEN": "token", "SKYMAP_EVENT_USER": "username", "SKYMAP_EVENT_PASSWORD": "password"}
    return allowed + [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key, "optional": True}}}
        for variable, key in keys.items()
    ]


def _collector(recipe: Recipe) -> Manifest:
    words = ["collector", *scan_arguments(recipe, scanned="-s", collected="-c", to_be_scanned="-t")]
    return _job(recipe, COLLECTOR, words, [scratch("tmp", TMP), *access_volumes(recipe, COLLECTOR)])


def _saver(recipe: Recipe) -> Manifest:
    results = Volume("results", {"persistentVolumeClaim": {"claimName": recipe.claim}}, RESULTS)
    asked = (recipe.namespace, recipe.spec, recipe.settings)
    volumes = [scratch("tmp", TMP), *access_volumes(recipe, SAVER), results, *notice_volumes(*asked)]
    return _job(recipe, SAVER, saver_arguments(recipe), volumes, notice_environment(*asked))


def _job(
    recipe: Recipe,
    role: str,
    arguments: Sequence[str],
    volumes: Sequence[Volume],
    environment: Sequence[Manifest] = (),
    first: Sequence[Manifest] = (),
) -> Manifest:
    resources = recipe.role_resources(role)
    main = container(recipe, role, arguments, volumes, resources, environment)
    template = pod_template(recipe, role, main, volumes, restart="Never", grace=GRACE, first=first)
    spec = {
        "backoffLimit": recipe.spec.retries.role_restarts,
        "completions": 1,
        "parallelism": 1,
        "podFailurePolicy": FAILURE_POLICY,
        "podReplacementPolicy": "Failed",
        "suspend": False,
        "template": template,
    }
    if recipe.spec.active_deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = recipe.spec.active_deadline_seconds
    settings = {"resources": to_manifest(resources)} | (_output_settings(recipe) if role == SAVER else {})
    notes = {TEMPLATE: digest(template), SETTINGS: digest(settings)}
    if (limit := (resources.limits or {}).get("memory")) is not None:
        notes[MEMORY_LIMIT] = limit
    return build(recipe, "Job", recipe.names.job(role), role, {"spec": spec}, annotations=notes)


def _output_settings(recipe: Recipe) -> Manifest:
    """Return what may change of the output and the notices while the scan runs."""
    output = recipe.spec.output
    notices = notice_inputs(recipe.namespace, recipe.spec, recipe.settings)
    return ({"notices": notices} if notices else {}) | {
        "claim": recipe.claim,
        "folder": recipe.folder,
        "formats": output.formats,
        "compression": output.compression,
    }
