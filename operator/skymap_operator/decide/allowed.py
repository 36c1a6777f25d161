"""What a scan asks for and the administrator does not allow, such as another Pulsar, or additions to its pods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from skymap_api.resource import SkymapScanSpec
from skymap_api.resource.pods import PodTemplate, SecurityContext
from skymap_api.resource.status import Reason
from skymap_operator.decide.diagnose import Finding
from skymap_operator.manifests.notices import destinations
from skymap_operator.pulsar.access import refusal
from skymap_operator.settings import AllowedInPods, Settings, matches


def not_allowed(
    namespace: str, spec: SkymapScanSpec, settings: Settings, pulsar: Sequence[str] = (), *, begun: bool = False
) -> Finding | None:
    """Return what a scan of the namespace may not ask for, with what to do; None if all is allowed.

    ``pulsar``: what of its Pulsar is refused, see `PulsarAccess`. ``begun``: whether the scan has begun: then its
    notices do not hold it up, and it goes on without the destinations that are closed to it.
    """
    templates = (("podTemplate", spec.pod_template), ("workers.podTemplate", spec.workers.pod_template))
    allowed = settings.allowed_in_pods
    urgent = spec.priority == "Realtime" and not is_realtime(namespace, spec, settings)
    found = {
        "settings.notices": [] if begun else list(_excess_notices(namespace, spec, settings)),
        "settings.allowedPulsars": list(pulsar),
        "settings.realtimeNamespaces": [f"priority (Realtime in the namespace {namespace})"] if urgent else [],
        "settings.allowedInPods": [
            f"{path}.{item}" for path, template in templates if template for item in _excess(template, allowed)
        ],
    }
    items = [item for some in found.values() for item in some]
    if not items:
        return None
    return Finding(Reason.NOT_ALLOWED, refusal(items, [setting for setting, some in found.items() if some]))


def is_realtime(namespace: str, spec: SkymapScanSpec, settings: Settings) -> bool:
    """Return whether a scan of the namespace has the priority Realtime, and may have it."""
    return spec.priority == "Realtime" and may_be_realtime(namespace, settings)


def may_be_realtime(namespace: str, settings: Settings) -> bool:
    """Return whether scans of the namespace may have the priority Realtime."""
    return matches(namespace, settings.realtime_namespaces)


def _excess(template: PodTemplate, allowed: AllowedInPods) -> Iterator[str]:
    """Yield the fields of a template, with their keys or values, that are not allowed."""
    names: dict[str, tuple[Iterable[str], tuple[str, ...]]] = {
        "labels": (template.labels or (), allowed.labels),
        "annotations": (template.annotations or (), allowed.annotations),
        "nodeSelector": (template.node_selector or (), allowed.node_selector),
        # Without a key every taint is tolerated.
        "tolerations": ([one.key or "" for one in template.tolerations or ()], allowed.tolerations),
        "priorityClassName": (_given(template.priority_class_name), allowed.priority_class_name),
        "serviceAccountName": (_given(template.service_account_name), allowed.service_account_name),
        "imagePullSecrets": ([one.name for one in template.image_pull_secrets or ()], allowed.image_pull_secrets),
    }
    for field, (given, patterns) in names.items():
        yield from (f"{field} ({name or 'every taint'})" for name in given if not matches(name, patterns))
    if template.affinity is not None and not allowed.affinity:
        yield "affinity"
    if template.security_context is not None:
        yield from _excess_ids(template.security_context, allowed)


def closed_destinations(namespace: str, spec: SkymapScanSpec, settings: Settings) -> tuple[str, ...]:
    """Return the names of destinations of notices that the scan names and is not open to its namespace."""
    names = () if spec.notices is None else spec.notices.to
    found = {one.name for one in destinations(namespace, spec, settings)}
    return tuple(name for name in dict.fromkeys(names) if name not in found)


def _excess_notices(namespace: str, spec: SkymapScanSpec, settings: Settings) -> Iterator[str]:
    """Yield the destinations of notices that scans of the namespace may not have."""
    yield from (f"notices.to ({name})" for name in closed_destinations(namespace, spec, settings))
    found = destinations(namespace, spec, settings)
    if sum(one.kind == "gcn" for one in found) > 1:
        yield "notices.to (two destinations of the kind gcn)"
    # The saver has one file of certificates that it trusts for all URLs, and one outbox, where `to` names them.
    if len({one.trusted_key for one in found} - {None}) > 1:
        yield "notices.to (two destinations with different trustedKey)"
    others = [one.to for one in found if one.kind != "gcn"]
    yield from (f"notices.to (two names of {to})" for to in dict.fromkeys(others) if others.count(to) > 1)


def _given(name: str | None) -> list[str]:
    return [] if name is None else [name]


def _excess_ids(given: SecurityContext, allowed: AllowedInPods) -> Iterator[str]:
    groups = {"runAsGroup": given.run_as_group, "fsGroup": given.fs_group}
    ids = [("runAsUser", given.run_as_user, allowed.user_ids)]
    ids += [(name, value, allowed.group_ids) for name, value in groups.items()]
    ids += [("supplementalGroups", value, allowed.group_ids) for value in given.supplemental_groups or ()]
    for name, value, ranges in ids:
        if value is not None and not any(first <= value <= last for first, last in map(_range, ranges)):
            yield f"securityContext.{name} ({value})"


def _range(text: str) -> tuple[int, int]:
    """Parse an id or a range of ids."""
    first, _, last = text.partition("-")
    return int(first), int(last or first)
