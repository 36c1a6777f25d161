"""What wakes the operator: changes of a scan and of its objects, as kopf hears of them. No decision is made here.

Only raw events are asked for: so kopf keeps no notes on the resources, in annotations or finalizers of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import kopf

from skymap_operator.manifests.common import FULL_NAME, SCAN_LABEL
from skymap_operator.models import GROUP, VERSION
from skymap_operator.rounds import Key

#: Objects whose status tells of the pods; what it does not tell is seen at the next look.
_CHILDREN = (("batch", "v1", "jobs"), ("apps", "v1", "deployments"))


def registry(wake: Callable[[Key], None]) -> kopf.OperatorRegistry:
    """Return kopf's registry with handlers that call ``wake``."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**known: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**known) or kopf.login_with_kubeconfig(**known)

    @kopf.on.startup(registry=handlers)
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = True  # needs no right to list namespaces and definitions
        settings.queueing.idle_timeout = 1.0  # its end waits for this

    @kopf.on.event(GROUP, VERSION, "skymapscans", registry=handlers)
    async def scan_changed(namespace: str | None, name: str, **_: Any) -> None:
        wake(Key(str(namespace), name))

    async def child_changed(namespace: str | None, annotations: Mapping[str, str], **_: Any) -> None:
        if FULL_NAME in annotations:
            wake(Key(str(namespace), annotations[FULL_NAME]))

    for group, version, plural in _CHILDREN:
        kopf.on.event(group, version, plural, labels={SCAN_LABEL: kopf.PRESENT}, registry=handlers)(child_changed)
    return handlers
