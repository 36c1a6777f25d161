"""When scans are reconciled: one reconcile at a time, no event missed, no scan that stops the others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from testing.waiting import eventually_async

from skymap_api.names import NamespacedName
from skymap_operator.runtime import fairness
from skymap_operator.runtime import workqueue as module
from skymap_operator.runtime.fairness import LONGEST, NAMED_PER_SECOND, Lane, Places
from skymap_operator.runtime.workqueue import Load, Trigger, WorkQueue

A, B = NamespacedName("ns", "a"), NamespacedName("ns", "b")


class Clock:
    """The running loop's clock, which can be set ahead (s)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        loop = asyncio.get_running_loop()
        time = loop.time
        monkeypatch.setattr(loop, "time", lambda: time() + self.ahead)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_scan_added_while_reconciled_is_reconciled_once_more() -> None:
    async def test() -> None:
        going, reconciles, free = 0, 0, asyncio.Event()

        async def reconcile(_: NamespacedName) -> float | None:
            nonlocal going, reconciles
            going, reconciles = going + 1, reconciles + 1
            assert going == 1
            await free.wait()
            going -= 1
            return 1000.0

        queue = WorkQueue(reconcile, pause=0)
        for _ in range(3):
            queue.add(A)
        await eventually_async(lambda: reconciles == 1)
        for _ in range(3):
            queue.add(A)
        free.set()
        await eventually_async(lambda: reconciles == 2 and going == 0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert reconciles == 2, "events that come together are handled together"
        assert queue.load() == Load(), "the next reconcile is not due"
        await queue.close()

    run(test)


def test_scan_is_requeued_until_it_no_longer_exists() -> None:
    async def test() -> None:
        answers = [0.0, 0.001, None]

        async def reconcile(_: NamespacedName) -> float | None:
            return answers.pop(0)

        queue = WorkQueue(reconcile, pause=0)
        queue.add(A)
        await eventually_async(lambda: len(queue._scans) == 0)
        assert answers == []

    run(test)


def test_concurrent_reconciles_are_limited() -> None:
    async def test() -> None:
        going, most, seen = 0, 0, 0

        async def reconcile(_: NamespacedName) -> float | None:
            nonlocal going, most, seen
            going, seen = going + 1, seen + 1
            most = max(most, going)
            await asyncio.sleep(0)
            going -= 1
            return None

        queue = WorkQueue(reconcile, places=Places(total=3), pause=0)
        for number in range(100):
            queue.add(NamespacedName("ns", str(number)))
        await eventually_async(lambda: len(queue._scans) == 0)
        assert (most, seen) == (3, 100)

    run(test)


def test_error_in_one_scan_is_retried_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        reconciles: Counter[NamespacedName] = Counter()

        async def reconcile(key: NamespacedName) -> float | None:
            reconciles[key] += 1
            if key == A and reconciles[A] < 3:
                raise ZeroDivisionError("ours")
            return None

        queue = WorkQueue(reconcile, pause=0)
        queue.add(A)
        queue.add(B)
        await eventually_async(lambda: len(queue._scans) == 0)
        assert reconciles == {A: 3, B: 1}

    monkeypatch.setattr(module, "FIRST_BACKOFF", 0.001)
    run(test)
    assert caplog.text.count("ns/a: reconcile failed") == 2


def test_hanging_reconcile_is_reported_and_cancelled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)

        async def reconcile(key: NamespacedName) -> float | None:
            if key == A:
                await asyncio.Event().wait()
            return None

        queue = WorkQueue(reconcile, pause=0)
        assert queue.load() == Load()
        queue.add(A)
        await asyncio.sleep(0)
        clock.ahead = LONGEST - 20.0
        load = queue.load()
        assert min(load.longest_overdue, load.stalled, load.longest_running) > LONGEST - 21.0
        queue.add(B)
        await eventually_async(lambda: len(queue._scans) == 1)
        assert queue.load().longest_overdue > LONGEST - 21.0
        assert queue.load().stalled < LONGEST / 2, "others go on"
        clock.ahead = LONGEST + 10.0
        await eventually_async(lambda: "ns/a: reconcile failed" in caplog.text)
        await queue.close()
        assert len(queue._scans) == 0

    run(test)


def test_events_and_urgent_scans_go_first_but_no_scan_starves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)
        reconciled: list[str] = []
        held = asyncio.Event()

        async def reconcile(key: NamespacedName) -> float | None:
            reconciled.append(key.name)
            if key.name == "busy":
                await held.wait()
            return 100.0

        queue = WorkQueue(reconcile, urgent=lambda key: key.name == "alert", places=Places(total=1), pause=0)
        queue.add(NamespacedName("ns", "requeue"))
        await eventually_async(lambda: reconciled == ["requeue"])
        clock.ahead = 99.0
        queue.add(NamespacedName("ns", "busy"))  # takes the only slot
        await eventually_async(lambda: reconciled == ["requeue", "busy"])
        clock.ahead = 102.0  # the first has been due for two seconds
        await asyncio.sleep(0.01)
        for name in ("event", "alert"):
            queue.add(NamespacedName("ns", name))
        clock.ahead = 133.0
        queue.add(NamespacedName("ns", "later"))
        held.set()
        await eventually_async(lambda: len(reconciled) == 6)
        assert reconciled[2:] == ["alert", "event", "requeue", "later"]
        await queue.close()

    run(test)


def test_many_scans_are_requeued_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)
        reconciles: Counter[NamespacedName] = Counter()
        late: dict[Trigger, list[float]] = {Trigger.EVENT: [], Trigger.REQUEUE: []}

        async def reconcile(key: NamespacedName) -> float | None:
            reconciles[key] += 1
            return 0.0 if key == A and reconciles[A] == 1 else 10.0

        monkeypatch.setattr(fairness, "REQUEUES_PER_SECOND", 2)
        queue = WorkQueue(reconcile, lambda trigger, _, seconds: late[trigger].append(seconds), pause=0)
        queue.add(A)
        for number in range(59):
            queue.add(NamespacedName("ns", str(number)))
        await eventually_async(lambda: reconciles.total() == 61)
        assert reconciles[A] == 2
        for ahead in range(9, 42):
            clock.ahead = ahead
            await asyncio.sleep(0.01)
            # Each of 60 scans is due after 10 s, and two requeues fit into a second.
            assert 2 * (ahead - 12) <= reconciles.total() - 61 <= max(2 * (ahead - 8), 0)
        assert min(reconciles.values()) == 2, "every scan was requeued"
        assert [len(late[by]) for by in (Trigger.EVENT, Trigger.REQUEUE)] == [61, reconciles.total() - 61]
        assert max(late[Trigger.EVENT]) < 10.0
        assert max(late[Trigger.REQUEUE]) < 2.0
        await queue.close()

    run(test)


def test_event_of_an_overdue_scan_is_timed_from_its_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)
        late: list[tuple[Trigger, float, float]] = []
        held = asyncio.Event()
        held.set()

        async def reconcile(_: NamespacedName) -> float | None:
            await held.wait()
            return 10.0

        queue = WorkQueue(
            reconcile,
            lambda trigger, queued, seconds: late.append((trigger, queued, seconds)),
            places=Places(total=1),
            pause=0,
        )
        queue.add(A)
        await eventually_async(lambda: len(late) == 1)
        held.clear()
        queue.add(B)  # takes the only slot
        await asyncio.sleep(0.01)
        clock.ahead = 30.0
        await asyncio.sleep(0.01)
        assert 19.0 < queue.load().longest_overdue < 31.0
        assert queue.load().depth == 1, "A waits, B runs"
        queue.add(A)
        queue.add(A)
        clock.ahead = 35.0
        held.set()
        await eventually_async(lambda: len(late) == 4)
        assert [trigger for trigger, _, _ in late[1:]] == [Trigger.EVENT, Trigger.EVENT, Trigger.REQUEUE], (
            "B, and A by both"
        )
        assert [seconds for _, _, seconds in late[1:]] == pytest.approx([35.0, 5.0, 25.0], abs=0.9)
        assert [queued for _, queued, _ in late[1:]] == pytest.approx([0.0, 5.0, 25.0], abs=0.9)
        assert queue.load() == Load()
        await queue.close()

    run(test)


def named(key: NamespacedName) -> Lane:
    """Scans called x-1, x-2, ... name the Pulsar x."""
    pulsar, dash, _ = key.name.partition("-")
    return Lane(key.namespace, pulsar if dash else None)


def test_scans_with_hanging_pulsars_of_their_own_delay_no_other() -> None:
    async def test() -> None:
        hanging: Counter[str] = Counter()
        done: list[str] = []

        async def reconcile(key: NamespacedName) -> float | None:
            if (pulsar := named(key).endpoint) is not None:
                hanging[pulsar] += 1
                await asyncio.Event().wait()
            done.append(key.name)
            return None

        queue = WorkQueue(reconcile, lane=named, pause=0)
        for number in range(100):
            queue.add(NamespacedName("hostile", f"{'abcdef'[number % 6]}-{number}"))
        for number in range(20):
            queue.add(NamespacedName("honest", str(number)))
        await eventually_async(lambda: len(done) == 20)
        assert hanging.total() == Places().named
        assert max(hanging.values()) <= Places().same
        assert queue.load().depth == 96
        assert queue.load().longest_overdue == 0.0, "of the operator's Pulsar"
        await queue.close()

    run(test)


def test_waiting_scan_that_names_another_pulsar_changes_lanes() -> None:
    async def test() -> None:
        free, reconciled = asyncio.Event(), []
        lanes = {"moving": Lane("ns"), "hanging": Lane("ns", "x"), "first": Lane("ns")}

        async def reconcile(key: NamespacedName) -> float | None:
            reconciled.append(key.name)
            await free.wait()
            return None

        places = Places(total=2, named=1, same=1)
        queue = WorkQueue(reconcile, lane=lambda key: lanes[key.name], places=places, pause=0)
        for name in ("hanging", "first", "moving"):
            queue.add(NamespacedName("ns", name))
        lanes["moving"] = Lane("ns", "x")
        await eventually_async(lambda: reconciled == ["hanging", "first"])
        queue._running -= Counter([Lane("ns")])  # a place becomes free, though not that of the hanging one
        queue._start_next()
        await asyncio.sleep(0)
        assert reconciled == ["hanging", "first"]
        assert queue.load().depth == 1
        queue._running[Lane("ns")] += 1
        free.set()
        await eventually_async(lambda: len(queue._scans) == 0)
        assert reconciled == ["hanging", "first", "moving"]

    run(test)


def test_reconciles_of_named_pulsars_hide_no_standstill_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)
        ended = 0

        async def reconcile(key: NamespacedName) -> float | None:
            nonlocal ended
            if named(key).endpoint is None:
                await asyncio.Event().wait()
            ended += 1
            return 1000.0

        queue = WorkQueue(reconcile, lane=named, pause=0)
        queue.add(NamespacedName("ns", "honest"))
        await asyncio.sleep(0)
        clock.ahead = LONGEST - 20.0
        queue.add(NamespacedName("ns", "x-1"))
        await eventually_async(lambda: ended == 1)
        assert queue.load().stalled > LONGEST - 21.0
        await queue.close()

    run(test)


def test_requeues_of_named_pulsars_take_nothing_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)
        reconciles: Counter[str | None] = Counter()

        async def reconcile(key: NamespacedName) -> float | None:
            reconciles[named(key).endpoint] += 1
            return 10.0

        queue, loop = WorkQueue(reconcile, lane=named, pause=0), asyncio.get_running_loop()
        began = loop.time()
        for number in range(200):
            queue.add(NamespacedName("hostile", f"x-{number}"))
        for number in range(20):
            queue.add(NamespacedName("honest", str(number)))
        await eventually_async(lambda: reconciles.total() == 220)
        clock.ahead = 12.0
        await eventually_async(lambda: reconciles[None] == 40)
        assert reconciles["x"] <= 200 + NAMED_PER_SECOND * (loop.time() - began - 10.0 + 2.0)
        await queue.close()

    run(test)
