"""The checker of histories accepts that of a scan, with what crashes repeat, and finds every broken promise."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from testing.history import History, read_history, violations
from tests.unit.roles.conftest import Scan

from skymap_scanner.broker import open_broker
from skymap_scanner.broker.protocol import Backlog
from skymap_scanner.i3 import Frame, I3Double
from skymap_scanner.roles.task_frames import LLH, decode_fits

Change = Callable[[History], History]
Bytes = Sequence[bytes]


@pytest.fixture(scope="module")
def kept() -> dict[str, History]:
    return {}


@pytest.fixture
def history(kept: dict[str, History], scan: Callable[..., Scan]) -> History:
    """The history of a scan with two rounds of a pixel and two levels, made once."""
    if not kept:
        one = scan("1:0 4:3", seeds=3, first_seeds=1)
        one.run()
        with open_broker(one.url) as broker:
            kept["scan"] = read_history(broker, one.topics, one.folder / "scan.i3")
    return kept["scan"]


def without(found: Bytes, place: int) -> Bytes:
    return [*found[:place], *found[place + 1 :]]


def entry(history: History, kind: str) -> tuple[int, dict[str, object]]:
    """Return the last entry of a kind and its place in the plan."""
    entries = [json.loads(one) for one in history.plan]
    return next((place, one) for place, one in reversed(list(enumerate(entries))) if one["kind"] == kind)


def changed_entry(history: History, kind: str, **change: object) -> bytes:
    return json.dumps(entry(history, kind)[1] | change).encode()


def with_llh(payload: bytes, llh: float) -> bytes:
    frame = Frame.from_bytes(payload)
    frame[LLH] = I3Double(llh)
    return frame.to_bytes()


def test_history_of_a_scan_keeps_every_promise(history: History) -> None:
    assert violations(history) == []
    assert {json.loads(one)["kind"] for one in history.plan} == {"scan", "level", "seeds", "end"}
    assert len(history.map) == 12 + 48
    assert len(history.fits) == len(history.tasks) > 60


REPEATS: dict[str, Change] = {
    "the scan": lambda one: replace(one, plan=[one.plan[0], *one.plan]),
    "a level": lambda one: replace(one, plan=[*one.plan, one.plan[1]]),
    "the end": lambda one: replace(one, plan=[*one.plan, one.plan[-1]]),
    "an end of before the last level": lambda one: replace(one, plan=[*one.plan, changed_entry(one, "end", levels=1)]),
    "a task": lambda one: replace(one, tasks=[*one.tasks, one.tasks[3]]),
    "a fit": lambda one: replace(one, fits=[one.fits[5], *one.fits, one.fits[0]]),
    "a best fit": lambda one: replace(one, best_fits=[*one.best_fits, one.best_fits[2]]),
}


@pytest.mark.parametrize("what", REPEATS)
def test_repeats_after_a_crash_break_nothing(history: History, what: str) -> None:
    assert violations(REPEATS[what](history)) == []


def inserted(found: Bytes, place: int, payload: bytes) -> Bytes:
    return [*found[:place], payload, *found[place:]]


def swapped(found: Bytes) -> Bytes:
    return [found[1], found[0], *found[2:]]


def with_better_fit(history: History) -> History:
    """Let a fit be stored whose round was collected without it."""
    return replace(history, fits=[with_llh(history.fits[0], -1e9), *history.fits[1:]])


BROKEN: dict[str, tuple[Change, str]] = {
    "plan without its end": (lambda one: replace(one, plan=one.plan[:-1]), "the plan has not ended"),
    "plan without its beginning": (lambda one: replace(one, plan=one.plan[1:]), "does not begin with the scan"),
    "plan without anything": (lambda one: replace(one, plan=[]), "the plan is empty"),
    "plan without a level": (lambda one: replace(one, plan=without(one.plan, 1)), "goes on with nside 4, not with 1"),
    "plan of two scans": (
        lambda one: replace(one, plan=[*one.plan, changed_entry(one, "scan", seeds=2)]),
        "another scan than that of the first entry",
    ),
    "plan with two decisions about a level": (
        lambda one: replace(one, plan=[*one.plan, changed_entry(one, "level", pixels="0-3")]),
        "other pixels of nside 4 than before",
    ),
    "plan that goes on after its end": (
        lambda one: replace(one, plan=inserted(one.plan, entry(one, "level")[0], changed_entry(one, "end", levels=1))),
        "a level nside 4 after the end",
    ),
    "plan with an end that another producer has decided": (
        lambda one: replace(one, plan=[*one.plan, changed_entry(one, "end", levels=3)]),
        "an end after 3 levels",
    ),
    "lost task": (lambda one: replace(one, tasks=without(one.tasks, 4)), "planned, but no task is stored"),
    "task without a plan": (
        lambda one: replace(one, plan=[one.plan[0], *(e for e in one.plan[1:] if b'"seeds",' not in e[:20])]),
        "a task that the plan does not have",
    ),
    "tasks in another order": (lambda one: replace(one, tasks=swapped(one.tasks)), "not in the order of the plan"),
    "lost fit": (lambda one: replace(one, fits=without(one.fits, 4)), "no fit is stored"),
    "fit that the collector lost": (with_better_fit, "collected as the best of its round, which it is not"),
    "fit that differs when it is repeated": (
        lambda one: replace(one, fits=[*one.fits, with_llh(one.fits[7], 5.0)]),
        "fitted again with other bytes",
    ),
    "lost best fit": (lambda one: replace(one, best_fits=without(one.best_fits, 4)), "is fitted, but not collected"),
    "pixel twice in the map": (lambda one: replace(one, map=[*one.map, one.map[9]]), "twice in the map"),
    "pixel not in the map": (lambda one: replace(one, map=without(one.map, 9)), "not in the map"),
    "map with another fit": (
        lambda one: replace(one, map=[with_llh(one.map[0], 1.5), *one.map[1:]]),
        "the map has another fit than the best",
    ),
    "unacknowledged message": (
        lambda one: replace(one, left={"fits": Backlog(waiting=1, unacked=2)}),
        "3 fits are not acknowledged",
    ),
    "message of another program": (lambda one: replace(one, fits=[*one.fits, b"?"]), "a message cannot be read"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_promise_is_named(history: History, what: str) -> None:
    change, message = BROKEN[what]
    found = violations(change(history))
    assert any(message in one for one in found), found


def test_messages_name_pixel_and_seed(history: History) -> None:
    fit = decode_fits(history.fits[4])[0].fit
    name = f"nside {fit.pixel.nside} pixel {fit.pixel.index} seed {fit.seed}"
    assert f"{name}: no fit is stored" in violations(replace(history, fits=without(history.fits, 4)))
