"""Versions of the operator for tests of upgrades: each gives containers what no other version's image knows.

A version is a name, an image of the scanner, and an option and a variable of its own for every container.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import pytest
from tests.unit.operator.decisions import fingerprint, scan_of
from tests.unit.operator.world import SETTINGS, World, resource

from skymap_api.resource.status import ConditionType
from skymap_operator.decide.actions import Action
from skymap_operator.decide.plan import decide

URL = {"event": {"url": "https://example.org/event.json"}}
DIGEST = "sha256:" + "ab" * 32
Commands = dict[tuple[str, str], list[Any]]


@dataclass(frozen=True)
class Version:
    """A version of the operator."""

    name: str

    def decide(self, world: World) -> list[Action]:
        """Return what this version decides about the scan."""
        observed = replace(world.observe(), operator=self.name)
        with self._written():
            given = SETTINGS.model_copy(update={"image": f"registry.example/scanner:{self.name}"})
            return list(decide(observed, given).actions)

    def run(self, world: World, passes: int = 1, actions: int = 1000) -> None:
        """Reconcile; it may be killed after some actions of each pass."""
        for _ in range(passes):
            for action in self.decide(world)[:actions]:
                world.apply(action)
            world.step()

    @contextmanager
    def _written(self) -> Iterator[None]:
        """Let manifests have what this version gives its containers."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("jobs", "workers"):
                module = import_module(f"skymap_operator.manifests.{name}")
                patch.setattr(module, "container", self._own(module.container))
            yield

    def _own(self, build: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        def container(*given: Any) -> dict[str, Any]:
            made = build(*given)
            more = {"name": f"ONLY_{self.name}", "value": "1"}
            return made | {"args": [*made["args"], f"--only-{self.name}"], "env": [*made["env"], more]}

        return container


OLD, NEW = Version("0.1.0"), Version("0.2.0")
VERSIONS = [OLD, NEW]


def commands(world: World) -> Commands:
    """The images and arguments of the containers of all Jobs and of the Deployment."""
    return {
        key: [(one["image"], one["args"], one["env"]) for one in found["spec"]["template"]["spec"]["containers"]]
        for key, found in world.objects.items()
        if key[0] != "ConfigMap"
    }


def begun(by: Version, passes: int = 4, tasks: int = 150, image_id: str = "") -> World:
    """A scan that this version began."""
    world = World(resource(URL), tasks=tasks, image_id=image_id)
    by.run(world, passes)
    assert all(f"--only-{by.name}" in args for [(_, args, _)] in commands(world).values())
    return world


def condition(world: World, kind: ConditionType) -> tuple[str, str, str]:
    found = scan_of(world).status.condition(kind)
    assert found is not None
    return found.status, found.reason, found.message


def finish(world: World, version: Version) -> None:
    """Reconcile with one version until nothing changes any more."""
    for _ in range(400):
        before = fingerprint(world)
        version.run(world)
        if before == fingerprint(world) and scan_of(world).finished:
            return
    raise AssertionError(f"still not at rest: {world.scan.get('status')}")


def lose(kind: str, name: str) -> Callable[[World], None]:
    def delete(world: World) -> None:
        found = world.objects.get((kind, name))
        if found is not None:
            found["metadata"]["deletionTimestamp"] = world.now.isoformat()

    return delete


def crash(world: World) -> None:
    for pod in world.live_pods()[:2]:
        world.end_pod(pod, 70, "Internal error")


def pulsar_loses_all(world: World) -> None:
    world.topics.clear()
