"""A scan that goes on, and what is decided about it."""

from __future__ import annotations

from typing import Any

from tests.unit.operator.world import SETTINGS, World, resource

from skymap_operator.decide.actions import (
    Action,
    SetStatus,
)
from skymap_operator.decide.plan import plan
from skymap_operator.observe.state import ObservedState

URL = {"event": {"url": "https://example.org/event.json"}, "seeds": 1}  # in the world a pixel is one task


def running(spec: dict[str, Any] | None = None, passes: int = 3, tasks: int = 400) -> World:
    """A world in which a scan goes on."""
    world = World(resource(spec or URL), tasks=tasks)
    for _ in range(passes):
        for action in plan(world.observe(), SETTINGS).actions:
            world.apply(action)
        world.step()
    return world


def actions(observed: ObservedState) -> list[Action]:
    return list(plan(observed, SETTINGS).actions)


def status(found: list[Action]) -> Any:
    return next(action.status for action in found if isinstance(action, SetStatus))
