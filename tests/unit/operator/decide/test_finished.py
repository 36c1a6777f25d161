"""What a finished scan removes."""

from __future__ import annotations

import pytest
from tests.unit.operator.decisions import settle
from tests.unit.operator.world import SETTINGS, World, resource

from skymap_operator.decide.plan import decide

URL = {"event": {"url": "https://example.org/event.json"}}


@pytest.mark.parametrize("policy", ["Always", "OnSuccess", "OnDelete", "Never"])
@pytest.mark.parametrize("bad_event", [False, True])
def test_topics_are_deleted_by_the_cleanup_policy(policy: str, bad_event: bool) -> None:
    world = World(resource(URL | {"cleanupPolicy": {"topics": policy}}), bad_event=bad_event)
    settle(world)
    deleted = policy == "Always" or (policy == "OnSuccess" and not bad_event)
    assert (not world.topics) is deleted
    world.delete()
    settle(world)
    assert world.deleted
    assert (not world.topics) is (policy != "Never")


@pytest.mark.parametrize(
    ("policy", "bad_event", "left"),
    [
        ("OnDelete", False, ["collector", "producer", "saver", "scan"]),
        ("OnDelete", True, ["producer", "scan"]),
        ("OnSuccess", False, ["scan"]),
        ("OnSuccess", True, ["producer", "scan"]),
        ("Always", False, ["scan"]),
        ("Always", True, ["scan"]),
    ],
)
def test_pods_are_deleted_by_the_cleanup_policy(policy: str, bad_event: bool, left: list[str]) -> None:
    world = World(resource(URL | {"cleanupPolicy": {"pods": policy}}), bad_event=bad_event)
    settle(world)
    assert sorted(key[1].removeprefix("alert-") for key in world.objects) == left


@pytest.mark.parametrize("bad_event", [False, True])
def test_scan_is_deleted_after_its_time_to_live(bad_event: bool) -> None:
    outcome = "failed" if bad_event else "succeeded"
    world = World(resource(URL | {"ttlSecondsAfterFinished": {outcome: 3600}}), bad_event=bad_event)
    settle(world)
    assert not world.deleted
    later = decide(world.observe(), SETTINGS)
    assert (later.actions, later.requeue_after) == ((), SETTINGS.resync_interval)
    world.step(3600)
    settle(world)
    assert world.deleted
    assert not world.topics
    assert world.claim is not None
