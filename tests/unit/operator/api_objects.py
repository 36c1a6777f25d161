"""A scan's objects and Events as the Kubernetes API returns them, and what the operator makes of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.unit.operator.decisions import observed
from tests.unit.operator.world import NAME, NAMESPACE, START

from skymap_api.names import Names
from skymap_operator.decide.diagnose import Finding, find_obstacle, find_shortage
from skymap_operator.observe.children import Children
from skymap_operator.observe.events import current_warnings
from skymap_operator.observe.state import Pod

Resource = dict[str, Any]
NAMES = Names.of(NAMESPACE, NAME)
NOW = START + timedelta(minutes=5)


def stamp(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def owned(name: str, status: Resource, spec: Resource | None = None) -> Resource:
    meta = {"name": name, "uid": f"uid-{name}", "ownerReferences": [{"uid": "uid-1"}]}
    return {"metadata": meta, "spec": spec or {}, "status": status}


def pod(role: str, created: float = 0, name: str = "", **status: Any) -> Resource:
    name = name or f"{NAME}-{role}-x"
    labels = {"app.kubernetes.io/component": role}
    meta = {"name": name, "uid": f"uid-{name}", "labels": labels, "creationTimestamp": stamp(created)}
    return {"metadata": meta, "status": {"phase": "Pending"} | status}


def waiting(reason: str, message: str = "", **more: Any) -> Resource:
    placed = [{"type": "PodScheduled", "status": "True"}]
    state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
    return {"conditions": placed, "containerStatuses": [{"state": state, "restartCount": 0} | more]}


def running(started: float = 5) -> Resource:
    conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]
    state = {"running": {"startedAt": stamp(started)}}
    return {"phase": "Running", "conditions": conditions, "containerStatuses": [{"state": state, "restartCount": 0}]}


def unplaced(message: str, reason: str = "Unschedulable") -> Resource:
    return {"conditions": [{"type": "PodScheduled", "status": "False", "reason": reason, "message": message}]}


def event(kind: str, name: str, reason: str, message: str, at: float = 60) -> Resource:
    about = {"kind": kind, "name": name, "uid": f"uid-{name}"}
    return {"involvedObject": about, "reason": reason, "message": message, "lastTimestamp": stamp(at)}


def find(
    *events: Resource,
    pods: tuple[Resource, ...] = (),
    claim: str = "Bound",
    replicas: int = 1,
    conditions: tuple[Resource, ...] = (),
) -> tuple[Finding | None, Finding | None]:
    """Return obstacle and shortage of a scan with these events and pods; its Jobs have no other pods."""
    parsed = tuple(Pod.of(one) for one in pods)
    live = {one.role for one in parsed if one.live}
    jobs = {role: owned(NAMES.job(role), {"active": int(role in live)}) for role in ("producer", "collector", "saver")}
    children = Children.of(
        "uid-1",
        deployment=owned(NAMES.workers, {"conditions": list(conditions)}, {"replicas": replicas}),
        claim=owned(NAMES.claim, {"phase": claim}),
        jobs=jobs,
    )
    warnings = current_warnings(events, children, parsed)
    state = observed(now=NOW, children=children, pods=parsed, warnings=warnings)
    return find_obstacle(state), find_shortage(state)
