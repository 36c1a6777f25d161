"""A suspended scan, and how it resumes."""

from __future__ import annotations

from tests.unit.operator.decisions import check_succeeded, reconcile, repair, scan_of, settle, suspend
from tests.unit.operator.world import World, resource

from skymap_api.resource.status import Phase

URL = {"event": {"url": "https://example.org/event.json"}}


def test_suspended_scan_resumes_where_it_stopped() -> None:
    world = World(resource(URL))
    for _ in range(5):
        reconcile(world)
        world.step()
    done = world.work.sent
    assert done
    suspend(world)
    settle(world)
    assert not world.live_pods()
    assert set(world.topics) == set(world.own.all())
    assert world.work.sent == done
    scan = scan_of(world)
    assert scan.status.phase is Phase.SUSPENDED
    assert scan.status.start_time is None
    repair(world)
    settle(world)
    check_succeeded(world)


def test_scan_created_suspended_creates_nothing() -> None:
    world = World(resource(URL | {"suspend": True}))
    settle(world)
    assert not world.objects
    assert not world.topics
    world.delete()
    settle(world)
    assert world.deleted
