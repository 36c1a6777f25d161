"""How many scans a server follows at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from testing.waiting import eventually

from skymap_api.names import ScanTopics
from skymap_scanner.live import followers as module
from skymap_scanner.live.followers import Followers, TooManyScansError


@pytest.fixture
def reachable() -> Iterator[threading.Event]:
    """Set once the broker can be reached; until then, opening it takes as long as the test."""
    event = threading.Event()
    yield event
    event.set()


def slow(reachable: threading.Event) -> Callable[[], None]:
    def open_broker() -> None:
        reachable.wait(60)

    return open_broker


def followed(followers: Followers, *names: str) -> int:
    """Follow scans; return how many of them could be followed."""
    count = 0
    for name in names:
        try:
            followers.follow(name, ScanTopics.of(name))
        except TooManyScansError:
            continue
        count += 1
    return count


def threads() -> int:
    return sum(thread.name.startswith("follow bounded-") for thread in threading.enumerate())


def test_stopped_followers_take_a_place_until_they_end(reachable: threading.Event) -> None:
    followers, names = Followers(slow(reachable)), [f"bounded-{i}" for i in range(30)]
    most = module.MAX_FOLLOWERS + module.MAX_STOPPING
    assert (followed(followers, *names), threads()) == (most, most)
    reachable.set()
    eventually(threads, lambda count: count == module.MAX_FOLLOWERS)
    assert followed(followers, "bounded-more") == 1
    followers.close()
    eventually(threads, lambda count: count == 0)


def test_all_followers_are_given_the_same_time_to_stop(reachable: threading.Event) -> None:
    followers = Followers(slow(reachable))
    followed(followers, *[f"bounded-{i}" for i in range(6)])
    began = time.monotonic()
    followers.close(0.5)
    assert 0.5 <= time.monotonic() - began < 2


def test_idle_followers_that_cannot_stop_are_stopped_later(
    reachable: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_TIME", 0.0)
    followers = Followers(slow(reachable))
    assert followed(followers, *[f"bounded-{i}" for i in range(5)]) == 5
    followers.stop_idle()
    assert [followers.get(f"bounded-{i}") is None for i in range(5)] == [True, True, False, False, False]
    reachable.set()

    def left() -> int:
        followers.stop_idle()
        return threads()

    eventually(left, lambda count: count == 0)
