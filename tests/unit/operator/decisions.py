"""Scans that run in the simulated world, and what is decided about them."""

from __future__ import annotations

from typing import Any

from tests.unit.operator.world import SETTINGS, START, World, resource

from skymap_api.progress import FitCounts, Progress, ProgressPhase
from skymap_api.resource.status import Phase
from skymap_operator.decide.actions import Action, SetStatus
from skymap_operator.decide.plan import decide
from skymap_operator.observe.state import ObservedScan, ObservedState, PulsarState

URL = {"event": {"url": "https://example.org/event.json"}, "seeds": 1}  # in the simulated world a pixel is one task


def running(spec: dict[str, Any] | None = None, passes: int = 3, tasks: int = 400) -> World:
    """A world in which a scan has run for some passes."""
    world = World(resource(spec or URL), tasks=tasks)
    for _ in range(passes):
        for action in decide(world.observe(), SETTINGS).actions:
            world.apply(action)
        world.step()
    return world


def observed(spec: dict[str, Any] | None = None, **changes: Any) -> ObservedState:
    """The state of a new scan, with ``changes``."""
    state = {"now": START, "scan": ObservedScan.of(resource(spec or URL)), "pulsar": PulsarState()}
    return ObservedState(**state | changes)


def snapshot(phase: ProgressPhase, **changes: Any) -> Progress:
    """A progress snapshot without levels."""
    nothing = {
        "name": "a",
        "levels": (),
        "fits": FitCounts(done=0, started=0, planned=0),
        "rate": 0.0,
        "eta": None,
        "elapsed": 1.0,
        "best": None,
    }
    return Progress(phase=phase, **nothing | changes)


def actions(observed: ObservedState) -> list[Action]:
    return list(decide(observed, SETTINGS).actions)


def status(found: list[Action]) -> Any:
    return next(action.status for action in found if isinstance(action, SetStatus))


def reconcile(world: World, actions: int = 1000) -> None:
    """One pass of the operator, which may be killed after some actions."""
    for action in decide(world.observe(), SETTINGS).actions[:actions]:
        world.apply(action)


def fingerprint(world: World) -> str:
    return repr((world.scan, world.objects, world.pods, world.topics, world.work.waiting, world.work.collected))


def settle(world: World, passes: int = 400) -> None:
    """Reconcile until nothing is left to do and nothing changes."""
    quiet = 0
    for _ in range(passes):
        before = fingerprint(world)
        reconcile(world)
        world.step()
        if world.deleted:
            return
        quiet = quiet + 1 if before == fingerprint(world) else 0
        if quiet == 10:
            return
    raise AssertionError(f"still not at rest: {world.scan.get('status')}, {decide(world.observe(), SETTINGS)}")


def scan_of(world: World) -> ObservedScan:
    return ObservedScan.of(world.scan)


def check_succeeded(world: World) -> None:
    scan = scan_of(world)
    assert scan.succeeded
    assert scan.status.phase is Phase.SUCCEEDED
    assert scan.status.progress == "40/40"
    assert scan.status.outputs is not None
    assert (scan.status.outputs.claim, scan.status.outputs.files) == ("alert-results", ("scan.i3.zst",))
    assert ("Deployment", "alert-workers") not in world.objects
    assert not world.topics
    assert not world.frames
    assert not world.live_pods()
    assert decide(world.observe(), SETTINGS).actions == ()


def suspend(world: World) -> None:
    world.scan["spec"]["suspend"] = True
    world.scan["metadata"]["generation"] += 1


def repair(world: World) -> None:
    world.pulsar_up = True
    world.quota = 1000
    world.scan["spec"]["suspend"] = False
