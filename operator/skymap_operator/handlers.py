"""What is heard of SkymapScans, by kopf. No decision is made here.

Only raw events are asked for: so kopf keeps no notes on the resources, in annotations or finalizers of its own. What a
scan consists of is followed by `followed`: kopf follows all objects of a kind, and of a cluster's pods few are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import kopf

from skymap_api.names import GROUP, VERSION
from skymap_api.resource.base import Manifest

#: kopf would make one of the user's name, which a user of a pod need not have.
IDENTITY: Any = "skymap-operator"


def registry(heard: Callable[[str | None, Manifest], None]) -> kopf.OperatorRegistry:
    """Return kopf's registry; ``heard`` is told of changes: ADDED, MODIFIED, DELETED or None (listed), and the scan."""
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
    async def scan_changed(event: Mapping[str, Any], **_: Any) -> None:
        heard(event["type"], event["object"])

    return handlers
