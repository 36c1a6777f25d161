"""A scan that runs, and what is decided about it."""

from __future__ import annotations

from typing import Any

from tests.unit.operator.world import SETTINGS, START, World, resource

from skymap_api.progress import Progress, ProgressPhase
from skymap_operator.decide.actions import Action, SetStatus
from skymap_operator.decide.plan import plan
from skymap_operator.observe.state import ObservedScan, ObservedState, PulsarState

URL = {"event": {"url": "https://example.org/event.json"}, "seeds": 1}  # in the simulated world a pixel is one task


def running(spec: dict[str, Any] | None = None, passes: int = 3, tasks: int = 400) -> World:
    """A world in which a scan has run for some passes."""
    world = World(resource(spec or URL), tasks=tasks)
    for _ in range(passes):
        for action in plan(world.observe(), SETTINGS).actions:
            world.apply(action)
        world.step()
    return world


def observed(spec: dict[str, Any] | None = None, **changes: Any) -> ObservedState:
    """The state of a new scan, with ``changes``."""
    state = {"now": START, "scan": ObservedScan.of(resource(spec or URL)), "pulsar": PulsarState()}
    return ObservedState(**state | changes)


def snapshot(phase: ProgressPhase, **changes: Any) -> Progress:
    """A progress snapshot without levels."""
    nothing = {"name": "a", "levels": (), "rate": 0.0, "eta": None, "elapsed": 1.0, "best": None}
    return Progress(phase=phase, **nothing | changes)


def actions(observed: ObservedState) -> list[Action]:
    return list(plan(observed, SETTINGS).actions)


def status(found: list[Action]) -> Any:
    return next(action.status for action in found if isinstance(action, SetStatus))
