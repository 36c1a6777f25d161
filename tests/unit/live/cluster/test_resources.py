"""The SkymapScans as the API server last reported them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from testing.waiting import consistently, eventually
from tests.unit.live.cluster.conftest import FakeApi, document

from skymap_scanner.errors import ClusterUnavailable
from skymap_scanner.live.cluster import resources as module
from skymap_scanner.live.cluster.resources import Resources


@pytest.fixture
def api() -> Iterator[FakeApi]:
    made = FakeApi()
    yield made
    made.ended = True


def started(api: FakeApi, *namespaces: str) -> Resources:
    resources = Resources(api, namespaces)
    resources.start()
    eventually(lambda: resources.complete)
    return resources


def test_scans_are_listed_then_watched(api: FakeApi) -> None:
    api.scans = [document(name=name) for name in "abc"]
    resources = started(api)
    assert [one.name for one in resources.all()] == ["a", "b", "c"]
    api.changes.put(("ADDED", document(name="d", backlog=4)))
    eventually(lambda: resources.get("north", "d"))
    api.changes.put(("MODIFIED", document(name="d", backlog=2, workers={"desired": 3})))
    found = eventually(lambda: resources.get("north", "d"), lambda one: one is not None and one.backlog == 2)
    assert found is not None
    assert [point[1:] for point in resources.backlog(found)] == [(4, 0), (2, 3)]
    api.changes.put(("DELETED", document(name="d")))
    eventually(lambda: resources.get("north", "d") is None)
    assert resources.backlog(found) == []
    resources.stop()


def test_scan_of_the_same_name_begins_a_new_history(api: FakeApi) -> None:
    api.scans = [document(backlog=4)]
    resources = started(api)
    api.changes.put(("MODIFIED", document(uid="other", backlog=9)))
    found = eventually(lambda: resources.get("north", "alert"), lambda one: one is not None and one.uid == "other")
    assert found is not None
    assert [point[1] for point in resources.backlog(found)] == [9]
    resources.stop()


def test_failed_watch_is_followed_by_a_list(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    watch, failures = api.watch, [ClusterUnavailable("away"), RuntimeError("unforeseen")]

    def failing(*arguments: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        if failures:
            raise failures.pop()
        return watch(*arguments)

    api.scans = [document(name="a")]
    monkeypatch.setattr(api, "watch", failing)
    resources = started(api)
    api.scans = [document(name="b")]
    eventually(lambda: [one.name for one in resources.all()], lambda names: names == ["b"])
    eventually(lambda: api.lists, lambda lists: lists == 3)
    resources.stop()


def test_too_many_scans_are_left_out_and_reported(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SCANS", 2)
    api.scans = [document(name=name) for name in "abc"]
    resources = started(api)
    assert (len(resources.all()), resources.full) == (2, True)
    api.changes.put(("MODIFIED", document(name="a", backlog=1)))
    eventually(lambda: resources.get("north", "a"), lambda one: one is not None and one.backlog == 1)
    resources.stop()


def test_list_of_one_namespace_keeps_the_others(api: FakeApi) -> None:
    resources = Resources(api, ["north", "south"])
    api.scans = [document("north")]
    resources._list("north")
    api.scans = [document("south")]
    resources._list("south")
    api.scans = []
    resources._list("south")
    assert [one.namespace for one in resources.all()] == ["north"]
    assert resources.complete


def test_server_is_not_ready_before_the_first_list(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(namespace: str | None) -> Iterator[Any]:
        raise ClusterUnavailable("away")

    monkeypatch.setattr(api, "pages", fail)
    resources = Resources(api)
    resources.start()
    consistently(lambda: not resources.complete, throughout=0.3)
    resources.stop()
