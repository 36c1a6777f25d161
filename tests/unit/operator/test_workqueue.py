"""When scans are looked at: one look at a time, none overlooked, none that stops the others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from skymap_api.names import NamespacedName
from skymap_operator.runtime import workqueue as module
from skymap_operator.runtime.workqueue import By, WorkQueue

A, B = NamespacedName("ns", "a"), NamespacedName("ns", "b")


async def until(probe: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not probe():
            await asyncio.sleep(0)


class Clock:
    """The running loop's clock, which can be put ahead (s)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        loop = asyncio.get_running_loop()
        time = loop.time
        monkeypatch.setattr(loop, "time", lambda: time() + self.ahead)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_a_scan_is_looked_at_once_at_a_time_and_again_for_what_came_meanwhile() -> None:
    async def test() -> None:
        going, looks, free = 0, 0, asyncio.Event()

        async def reconcile(_: NamespacedName) -> float | None:
            nonlocal going, looks
            going, looks = going + 1, looks + 1
            assert going == 1
            await free.wait()
            going -= 1
            return 1000.0

        queue = WorkQueue(reconcile, rest=0)
        for _ in range(3):
            queue.add(A)
        await until(lambda: looks == 1)
        for _ in range(3):
            queue.add(A)
        free.set()
        await until(lambda: looks == 2 and going == 0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert looks == 2, "what came together is seen together"
        assert queue.overdue() == queue.stalled() == 0.0, "the next look is not due"
        await queue.close()

    run(test)


def test_a_look_is_due_again_when_it_said_so_and_a_scan_that_is_gone_is_forgotten() -> None:
    async def test() -> None:
        answers = [0.0, 0.001, None]

        async def reconcile(_: NamespacedName) -> float | None:
            return answers.pop(0)

        queue = WorkQueue(reconcile, rest=0)
        queue.add(A)
        await until(lambda: len(queue._scans) == 0)
        assert answers == []

    run(test)


def test_no_more_looks_at_a_time_than_allowed() -> None:
    async def test() -> None:
        going, most, seen = 0, 0, 0

        async def reconcile(_: NamespacedName) -> float | None:
            nonlocal going, most, seen
            going, seen = going + 1, seen + 1
            most = max(most, going)
            await asyncio.sleep(0)
            going -= 1
            return None

        queue = WorkQueue(reconcile, at_a_time=3, rest=0)
        for number in range(100):
            queue.add(NamespacedName("ns", str(number)))
        await until(lambda: len(queue._scans) == 0)
        assert (most, seen) == (3, 100)

    run(test)


def test_a_fault_in_one_look_stops_no_other_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        looks: Counter[NamespacedName] = Counter()

        async def reconcile(key: NamespacedName) -> float | None:
            looks[key] += 1
            if key == A and looks[A] < 3:
                raise ZeroDivisionError("ours")
            return None

        queue = WorkQueue(reconcile, rest=0)
        queue.add(A)
        queue.add(B)
        await until(lambda: len(queue._scans) == 0)
        assert looks == {A: 3, B: 1}

    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    run(test)
    assert caplog.text.count("ns/a: the look at it failed") == 2


def test_looks_that_hang_are_seen_and_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)

        async def reconcile(key: NamespacedName) -> float | None:
            if key == A:
                await asyncio.Event().wait()
            return None

        queue = WorkQueue(reconcile, rest=0)
        assert queue.overdue() == queue.stalled() == 0.0
        queue.add(A)
        await asyncio.sleep(0)
        clock.ahead = 200.0
        assert min(queue.overdue(), queue.stalled()) > 199.0
        queue.add(B)
        await until(lambda: len(queue._scans) == 1)
        assert queue.overdue() > 199.0
        assert queue.stalled() < 100.0, "others go on"
        clock.ahead = 250.0
        await until(lambda: "ns/a: the look at it failed" in caplog.text)
        await queue.close()
        assert len(queue._scans) == 0

    run(test)


def test_news_come_before_rounds_and_urgent_scans_before_others_but_nobody_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)
        looked: list[str] = []
        held = asyncio.Event()

        async def reconcile(key: NamespacedName) -> float | None:
            looked.append(key.name)
            if key.name == "busy":
                await held.wait()
            return 100.0

        queue = WorkQueue(reconcile, urgent=lambda key: key.name == "alert", at_a_time=1, rest=0)
        queue.add(NamespacedName("ns", "round"))
        await until(lambda: looked == ["round"])
        clock.ahead = 99.0
        queue.add(NamespacedName("ns", "busy"))  # has the only hand
        await until(lambda: looked == ["round", "busy"])
        clock.ahead = 102.0  # the time of the first has come two seconds ago
        await asyncio.sleep(0.01)
        for name in ("news", "alert"):
            queue.add(NamespacedName("ns", name))
        clock.ahead = 133.0
        queue.add(NamespacedName("ns", "later"))
        held.set()
        await until(lambda: len(looked) == 6)
        assert looked[2:] == ["alert", "news", "round", "later"]
        await queue.close()

    run(test)


def test_of_many_scans_each_is_looked_at_less_often_and_what_follows_at_once_is_not_held_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)
        looks: Counter[NamespacedName] = Counter()
        late: dict[By, list[float]] = {By.NEWS: [], By.TIME: []}

        async def reconcile(key: NamespacedName) -> float | None:
            looks[key] += 1
            return 0.0 if key == A and looks[A] == 1 else 10.0

        monkeypatch.setattr(module, "PACE", 2)
        queue = WorkQueue(reconcile, lambda seconds, by: late[by].append(seconds), rest=0)
        queue.add(A)
        for number in range(59):
            queue.add(NamespacedName("ns", str(number)))
        await until(lambda: looks.total() == 61)
        assert looks[A] == 2
        for ahead in range(9, 42):
            clock.ahead = ahead
            await asyncio.sleep(0.01)
            # Of 60 scans each is to be looked at after 10 s, and two in a second can be.
            assert 2 * (ahead - 12) <= looks.total() - 61 <= max(2 * (ahead - 8), 0)
        assert min(looks.values()) == 2, "none is left out"
        assert [len(late[by]) for by in (By.NEWS, By.TIME)] == [61, looks.total() - 61]
        assert max(late[By.NEWS]) < 10.0
        assert max(late[By.TIME]) < 2.0
        await queue.close()

    run(test)


def test_news_of_a_scan_whose_round_is_late_are_timed_from_when_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)
        late: list[tuple[By, float]] = []
        held = asyncio.Event()
        held.set()

        async def reconcile(_: NamespacedName) -> float | None:
            await held.wait()
            return 10.0

        queue = WorkQueue(reconcile, lambda seconds, by: late.append((by, seconds)), at_a_time=1, rest=0)
        queue.add(A)
        await until(lambda: len(late) == 1)
        held.clear()
        queue.add(B)  # has the only hand
        await asyncio.sleep(0.01)
        clock.ahead = 30.0
        await asyncio.sleep(0.01)
        assert 19.0 < queue.overdue() < 31.0
        queue.add(A)
        queue.add(A)
        clock.ahead = 35.0
        held.set()
        await until(lambda: len(late) == 4)
        assert [by for by, _ in late[1:]] == [By.NEWS, By.NEWS, By.TIME], "B, and A by both"
        assert [seconds for _, seconds in late[1:]] == pytest.approx([35.0, 5.0, 25.0], abs=0.9)
        assert queue.overdue() == 0.0
        await queue.close()

    run(test)
