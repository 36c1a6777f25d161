from __future__ import annotations

from collections.abc import Iterable

import hypothesis.strategies as st
import pytest
from hypothesis import given

from skymap_scanner.errors import BrokerError, InputError
from skymap_scanner.scan.pixels import Pixel, whole_sky
from skymap_scanner.scan.plan import (
    EndEntry,
    EventFacts,
    Plan,
    PlanEntry,
    ScanEntry,
    ahead_entry,
    check_same_scan,
    decode_entry,
    level_entry,
)

FACTS = EventFacts(name="event", run=1, event=2, mjd=60000.5, kind="HESE", real=True, metadata_topics=("mf_a", "mf_b"))
SCAN = ScanEntry(name="scan", event=FACTS, levels="1:0 2:1", seeds=7, reconstruction="dummy", parameters={"ra": 1.5})


@pytest.mark.parametrize(
    "entry", [SCAN, level_entry(1, whole_sky(1), []), ahead_entry(2, [Pixel(2, 5), Pixel(2, 6)]), EndEntry()]
)
def test_entries_round_trip(entry: object) -> None:
    assert decode_entry(entry.encode()) == entry  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[]", b'{"kind": "level", "nside": 1}', b'{"kind": "end", "more": 1}', b"\xff"]
)
def test_invalid_entries_are_rejected(payload: bytes) -> None:
    with pytest.raises(BrokerError, match="plan topic"):
        decode_entry(payload)


def test_plan_numbers_tasks_in_order_and_knows_its_end() -> None:
    plan = Plan()
    plan.add(SCAN)
    plan.add(level_entry(1, whole_sky(1), []))
    guess = [Pixel(2, 5), Pixel(2, 6)]
    plan.add(ahead_entry(2, guess))
    second = [Pixel(2, 4), Pixel(2, 5)]
    plan.add(level_entry(2, second, plan.started))
    assert plan.started == [*whole_sky(1), *guess, Pixel(2, 4)]
    assert list(plan.planned()) == [*whole_sky(1), *second]
    assert not plan.complete(set(plan.planned()))
    plan.add(EndEntry())
    assert plan.complete(set(plan.planned()))
    assert not plan.complete({*whole_sky(1), *guess})


def test_first_scan_entry_of_a_plan_counts() -> None:
    with pytest.raises(BrokerError, match="does not begin with the scan"):
        Plan().add(EndEntry())
    plan = Plan()
    plan.add(SCAN)
    plan.add(SCAN.model_copy(update={"seeds": 3}))
    assert plan.scan == SCAN


GUESS = [Pixel(2, 5), Pixel(2, 6)]
SECOND = [Pixel(2, 4), Pixel(2, 5)]
ENTRIES: list[PlanEntry] = [
    SCAN,
    level_entry(1, whole_sky(1), []),
    ahead_entry(2, GUESS),
    level_entry(2, SECOND, [*whole_sky(1), *GUESS]),
    EndEntry(),
]


def state(entries: Iterable[PlanEntry]) -> object:
    plan = Plan()
    for entry in entries:
        plan.add(entry)
    assert all(plan.has_started(pixel) for pixel in plan.started)
    return plan.scan, plan.levels, plan.started, plan.ended


@given(st.data())
def test_duplicate_entries_change_nothing(data: st.DataObject) -> None:
    """Return the entries as a broker without deduplication stores them: repeated after their first, in any order."""
    log: list[PlanEntry] = []
    for number, entry in enumerate(ENTRIES):
        log.append(entry)
        log += data.draw(st.lists(st.sampled_from(ENTRIES[: number + 1]), max_size=4))
        assert state(log) == state(ENTRIES[: number + 1])


def test_entries_of_a_lagging_producer_are_not_renumbered() -> None:
    late = [ahead_entry(2, [Pixel(2, 6), Pixel(2, 7)]), level_entry(2, SECOND, whole_sky(1)), EndEntry()]
    _, levels, started, _ = state([*ENTRIES[:3], late[0], ENTRIES[3], *late])  # type: ignore[misc]
    assert levels == {1: whole_sky(1), 2: SECOND}
    assert started == [*whole_sky(1), Pixel(2, 5), Pixel(2, 6), Pixel(2, 7), Pixel(2, 4)]
    assert state([*ENTRIES, *late]) == state(ENTRIES)


def test_different_scan_of_the_same_name_is_rejected() -> None:
    check_same_scan(SCAN, SCAN.model_copy())
    with pytest.raises(InputError, match="with seeds 7, not 3"):
        check_same_scan(SCAN, SCAN.model_copy(update={"seeds": 3}))
