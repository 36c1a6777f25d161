"""What kopf does for the operator, part by part.

Lifecycle: used. `kopf.operator` runs until SIGTERM or SIGINT, gives tasks five seconds to end and cancels the others.
Startup: used for kopf's own settings alone. The operator's parts start before kopf does, in `main.run`: if they cannot,
a plain exception ends the process with one line, where kopf would retry and report an error of its own.
Shutdown: not used. The parts stop when the ``async with`` of `main.run` ends, after kopf has returned.
Login: used. kopf reads the API server's discovery documents when it starts, and so checks the access once more.
Watching resources, with its annotations, finalizers and handlers: not used. kopf watches all objects of a kind, without
a label selector, and its raw events do not report what was deleted while a watch was down. `cluster.informer` watches
SkymapScans as it watches their children; reconciling is level-based and needs no diff of an object.
Probes: not used. kopf's endpoint answers 200 as long as its event loop runs; `runtime.health` answers 503 when
reconciling has stopped.
Peering: not used. It needs a resource of its own, and one priority for all namespaces. `runtime.scope` lets operators
of the same namespace notice each other by Leases.
Posting log lines as Events: off. `apply` records the Events that a user needs.
"""

from __future__ import annotations

from typing import Any

import kopf

#: kopf's default holds the user's name, which the user of a pod need not have.
IDENTITY: Any = "skymap-operator"


async def run_until_signalled() -> None:
    """Run kopf until SIGTERM or SIGINT."""
    await kopf.operator(registry=_registry(), identity=IDENTITY, standalone=True, clusterwide=True)


def _registry() -> kopf.OperatorRegistry:
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**known: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**known) or kopf.login_with_kubeconfig(**known)

    @kopf.on.startup(registry=handlers)
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = True  # without the permission to list namespaces and definitions

    return handlers
