"""What the site and the user add to the pods of a scan.

Templates are laid over each other, the later over the earlier: the operator's setting for all scans, that for the
namespace, the scan's podTemplate, and for workers their own. Labels, annotations, node labels and user and group ids
are merged by key; tolerations and pull secrets add up; each kind of affinity and each name replaces the one before it.
What the operator itself needs takes precedence over all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skymap_api.names import WORKER
from skymap_api.resource.base import Manifest, Model, to_manifest
from skymap_api.resource.pods import PodTemplate
from skymap_operator.manifests.recipe import Recipe

_MAPS = ("labels", "annotations", "node_selector")
_LISTS = ("tolerations", "image_pull_secrets")
_NAMES = ("priority_class_name", "service_account_name")
_OBJECTS = ("affinity", "security_context")


def additions(recipe: Recipe, role: str) -> PodTemplate:
    """Return what is added to the pods of a role."""
    merged = PodTemplate()
    for template in _templates(recipe, role):
        merged = lay_over(merged, template)
    return merged


def _templates(recipe: Recipe, role: str) -> Iterator[PodTemplate]:
    """Yield the templates that apply to the pods of a role, each over those before it."""
    settings, spec = recipe.settings, recipe.spec
    yield settings.pod_template
    if recipe.namespace in settings.namespace_pod_templates:
        yield settings.namespace_pod_templates[recipe.namespace]
    if spec.priority == "Realtime" and settings.realtime_priority_class is not None:
        yield PodTemplate(priority_class_name=settings.realtime_priority_class)
    if spec.pod_template is not None:
        yield spec.pod_template
    if role == WORKER and spec.workers.pod_template is not None:
        yield spec.workers.pod_template


def lay_over(below: PodTemplate, above: PodTemplate) -> PodTemplate:
    """Return a template with everything of both; where they differ, ``above`` counts."""
    merged: dict[str, Any] = {name: (getattr(below, name) or {}) | (getattr(above, name) or {}) for name in _MAPS}
    merged |= {
        name: tuple(dict.fromkeys((*(getattr(below, name) or ()), *(getattr(above, name) or ())))) for name in _LISTS
    }
    merged |= {name: getattr(above, name) or getattr(below, name) for name in _NAMES}
    merged |= {name: _object(getattr(below, name), getattr(above, name)) for name in _OBJECTS}
    # The sum may be longer than the bounds of one template.
    return PodTemplate.model_construct(**{name: value or None for name, value in merged.items()})


def _object(below: Model | None, above: Model | None) -> Model | None:
    """Merge two objects by field."""
    if below is None or above is None:
        return above or below
    given = {name: value for name in type(above).model_fields if (value := getattr(above, name)) is not None}
    return below.model_copy(update=given)


def add(template: Manifest, more: PodTemplate) -> Manifest:
    """Return a pod template with the additions. The operator's own labels, annotations and security settings win."""
    given = to_manifest(more)
    meta, spec = template["metadata"], template["spec"]
    for kind in ("labels", "annotations"):
        meta = meta | {kind: given.pop(kind, {}) | meta[kind]}
    security = given.pop("securityContext", {}) | spec["securityContext"]
    added = given.pop("tolerations", [])
    # Of several tolerations of a taint the first counts, so ours come before one that tolerates everything.
    tolerations = [one for one in spec["tolerations"] if not any(_replaces(other, one) for other in added)] + added
    return {"metadata": meta, "spec": spec | given | {"securityContext": security, "tolerations": tolerations}}


def _replaces(given: Manifest, ours: Manifest) -> bool:
    """Return whether a toleration names the taint of one of ours, which has no value."""
    return given.get("key") == ours["key"] and given.get("effect") in {None, ours["effect"]} and not given.get("value")
