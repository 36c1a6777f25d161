from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable

import hypothesis.strategies as st
import pytest
from hypothesis import given

from skymap_scanner.errors import BrokerError, InputError
from skymap_scanner.roles.tasks import task_properties
from skymap_scanner.scan import plan as plan_module
from skymap_scanner.scan.pixels import Pixel, resimulation, spread_over_sky, whole_sky
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import (
    AheadEntry,
    CalibrationEntry,
    EndEntry,
    EventFacts,
    LevelEntry,
    OnlineEntry,
    PlanEntry,
    ScanEntry,
    SeedsEntry,
    ahead_entry,
    check_same_scan,
    decode_entry,
    level_entry,
    seeds_entry,
)
from skymap_scanner.scan.seeds import Round

FACTS = EventFacts(name="event", run=1, event=2, mjd=60000.5, kind="HESE", real=True, metadata_topics=("mf_a", "mf_b"))
SCAN = ScanEntry(
    name="scan",
    event=FACTS,
    levels="1:0 2:1",
    seeds=7,
    reconstruction="dummy",
    parameters={"ra": 1.5},
    software="skymap-scanner 0.1.0, dummy",
)


@pytest.mark.parametrize(
    "entry",
    [
        SCAN,
        level_entry(1, whole_sky(1), []),
        ahead_entry(2, [Pixel(2, 5), Pixel(2, 6)]),
        CalibrationEntry(nside=2, pixel=5),
        EndEntry(levels=2),
    ],
)
def test_entries_round_trip(entry: object) -> None:
    assert decode_entry(entry.encode()) == entry  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "value", [math.inf, -math.inf, math.nan, [1, {"a": math.inf}], 2**70, 0.1 + 0.2, 1e22, "é", None]
)
def test_all_roles_read_the_same_parameters(value: object) -> None:
    """Otherwise workers would reject the tasks, which the producer makes from its own entry."""
    entry = SCAN.model_copy(update={"parameters": {"ra": value}})
    decoded = decode_entry(entry.encode())
    assert isinstance(decoded, ScanEntry)
    assert task_properties(decoded) == task_properties(entry)


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[]", b'{"kind": "level", "nside": 1}', b'{"kind": "end", "more": 1}', b"\xff"]
)
def test_invalid_entries_are_rejected(payload: bytes) -> None:
    with pytest.raises(BrokerError, match="plan topic"):
        decode_entry(payload)


@pytest.mark.parametrize(
    "wrong", [{"ra": -1}, {"ra": 361}, {"dec": 95}, {"error": 0}, {"error": -1}, {"error": 1e308}, {"ra": math.nan}]
)
def test_impossible_online_direction_is_rejected(wrong: dict[str, float]) -> None:
    """Neither the summary nor the result could hold it, and the saver would fail again and again."""
    online = OnlineEntry(name="online", ra=360, dec=-90, error=180)
    entry = SCAN.model_copy(update={"event": FACTS.model_copy(update={"online": online})})
    assert decode_entry(entry.encode()) == entry
    crafted = json.loads(entry.encode())
    crafted["event"]["online"].update(wrong)
    with pytest.raises(BrokerError, match="online"):
        decode_entry(json.dumps(crafted).encode())


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
    assert not plan.complete(lambda _: True)
    plan.add(EndEntry(levels=2))
    assert plan.complete({Round(pixel, 0) for pixel in plan.planned()}.__contains__)
    assert not plan.complete({Round(pixel, 0) for pixel in [*whole_sky(1), *guess]}.__contains__)


def test_first_scan_entry_of_a_plan_counts() -> None:
    with pytest.raises(BrokerError, match="does not begin with the scan"):
        Plan().add(EndEntry(levels=1))
    plan = Plan()
    plan.add(SCAN)
    plan.add(SCAN.model_copy(update={"seeds": 3}))
    assert plan.scan == SCAN


def test_pixels_of_the_first_level_are_spread_over_the_sky() -> None:
    plan = Plan()
    plan.add(SCAN.model_copy(update={"levels": "2:0 4:3"}))
    plan.add(level_entry(2, whole_sky(2), []))
    assert plan.started == spread_over_sky(whole_sky(2)) != whole_sky(2)
    plan.add(level_entry(4, whole_sky(4), []))
    assert plan.started[48:] == whole_sky(4)


def by_need(*entries: PlanEntry) -> Plan:
    plan = Plan()
    for entry in (SCAN.model_copy(update={"first_seeds": 1}), level_entry(1, whole_sky(1), []), *entries):
        plan.add(entry)
    return plan


def test_second_rounds_follow_in_the_order_of_the_plan() -> None:
    four, five, six = Pixel(1, 4), Pixel(1, 5), Pixel(1, 6)
    plan = by_need(seeds_entry(1, [four, five]), seeds_entry(1, [five, six]))
    assert [plan.round_at(place) for place in range(12, 15)] == [Round(four, 1), Round(five, 1), Round(six, 1)]
    assert [plan.round_at(place) for place in range(12)] == [Round(pixel, 0) for pixel in whole_sky(1)]
    assert [plan.sweep_of(pixel) for pixel in (Pixel(1, 3), four, five, six)] == [0, 1, 1, 2]
    assert [plan.rounds_of(pixel) for pixel in (Pixel(1, 3), four, Pixel(2, 0))] == [1, 2, 0]
    assert (plan.has_started(four, 1), plan.has_started(Pixel(1, 3), 1), plan.sweeps(1)) == (True, False, 2)
    plan.add(EndEntry(levels=1))
    first = {Round(pixel, 0) for pixel in whole_sky(1)}
    assert not plan.complete(first.__contains__)
    assert plan.complete({*first, Round(four, 1), Round(five, 1), Round(six, 1)}.__contains__)


def test_seeds_count_for_pixels_of_the_newest_level_only() -> None:
    guess = ahead_entry(2, [Pixel(2, 9)])
    plan = by_need(guess, level_entry(2, [Pixel(2, 4)], []), seeds_entry(1, [Pixel(1, 4)]))
    plan.add(seeds_entry(2, [Pixel(2, 9)]))
    assert (plan.rounds_of(Pixel(1, 4)), plan.rounds_of(Pixel(2, 9))) == (1, 1)
    plan.add(EndEntry(levels=2))
    plan.add(seeds_entry(2, [Pixel(2, 4)]))
    assert plan.rounds_of(Pixel(2, 4)) == 1


def test_wider_entry_of_the_newest_level_adds_pixels() -> None:
    four, five, six = (Pixel(2, index) for index in (4, 5, 6))
    plan = Plan()
    for entry in (
        SCAN.model_copy(update={"first_seeds": 1, "levels": "1:0 2:0.9:9"}),
        level_entry(1, whole_sky(1), []),
    ):
        plan.add(entry)
    plan.add(level_entry(2, [five], []))
    plan.add(seeds_entry(2, [five]))
    plan.add(level_entry(2, [four, five, six], plan.started))
    for stale in (level_entry(2, [five], []), level_entry(2, [four, six], []), level_entry(1, [Pixel(1, 3)], [])):
        plan.add(stale)
    assert plan.levels == {1: whole_sky(1), 2: [four, five, six]}
    assert [plan.round_at(place) for place in range(12, 16)] == [
        Round(five, 0),
        Round(five, 1),
        Round(four, 0),
        Round(six, 0),
    ]
    plan.add(seeds_entry(2, [six]))
    assert plan.rounds_of(six) == 2
    plan.add(EndEntry(levels=2))
    plan.add(level_entry(2, whole_sky(2), plan.started))
    assert plan.levels[2] == [four, five, six]


def test_level_of_a_fixed_number_is_never_widened() -> None:
    plan = by_need(level_entry(2, [Pixel(2, 5)], []))
    plan.add(level_entry(2, [Pixel(2, 4), Pixel(2, 5)], plan.started))
    assert plan.levels == {1: whole_sky(1), 2: [Pixel(2, 5)]}


def test_end_of_a_producer_that_knew_fewer_levels_is_ignored() -> None:
    plan = by_need(level_entry(2, [Pixel(2, 4)], []), EndEntry(levels=1))
    assert not plan.ended
    plan.add(EndEntry(levels=2))
    assert plan.ended


GUESS = [Pixel(2, 5), Pixel(2, 6)]
SECOND = [Pixel(2, 4), Pixel(2, 5)]
ENTRIES: list[PlanEntry] = [
    SCAN.model_copy(update={"first_seeds": 1}),
    level_entry(1, whole_sky(1), []),
    ahead_entry(2, GUESS),
    level_entry(2, SECOND, [*whole_sky(1), *GUESS]),
    seeds_entry(2, [Pixel(2, 4)]),
    EndEntry(levels=2),
]


def state(entries: Iterable[PlanEntry]) -> object:
    plan = Plan()
    for entry in entries:
        plan.add(entry)
    assert all(plan.has_started(pixel) for pixel in plan.started)
    rounds = [plan.round_at(place) for place in range(len(plan.started))]
    return plan.scan, plan.levels, plan.started, plan.ended, rounds


@given(st.data())
def test_duplicate_entries_change_nothing(data: st.DataObject) -> None:
    """Return the entries as a broker without deduplication stores them: repeated after their first, in any order."""
    log: list[PlanEntry] = []
    for number, entry in enumerate(ENTRIES):
        log.append(entry)
        log += data.draw(st.lists(st.sampled_from(ENTRIES[: number + 1]), max_size=4))
        assert state(log) == state(ENTRIES[: number + 1])


def test_entries_of_a_lagging_producer_are_not_renumbered() -> None:
    late = [ahead_entry(2, [Pixel(2, 6), Pixel(2, 7)]), level_entry(2, SECOND, whole_sky(1)), EndEntry(levels=2)]
    _, levels, started, _, _ = state([*ENTRIES[:3], late[0], ENTRIES[3], *late])  # type: ignore[misc]
    assert levels == {1: whole_sky(1), 2: SECOND}
    assert started == [*whole_sky(1), Pixel(2, 5), Pixel(2, 6), Pixel(2, 7), Pixel(2, 4)]
    assert state([*ENTRIES, *late]) == state(ENTRIES)


def test_different_scan_of_the_same_name_is_rejected() -> None:
    check_same_scan(SCAN, SCAN.model_copy())
    with pytest.raises(InputError, match="with seeds 7, not 3"):
        check_same_scan(SCAN, SCAN.model_copy(update={"seeds": 3}))
    with pytest.raises(
        InputError, match=r"with software skymap-scanner 0\.1\.0, dummy, not skymap-scanner 0\.2\.0, dummy"
    ):
        check_same_scan(SCAN, SCAN.model_copy(update={"software": "skymap-scanner 0.2.0, dummy"}))


def test_calibration_follows_the_levels_and_is_started_once() -> None:
    plan = Plan()
    for entry in (SCAN.model_copy(update={"calibrate": 60}), level_entry(1, whole_sky(1), [])):
        plan.add(entry)
    plan.add(CalibrationEntry(nside=1, pixel=12))  # not a pixel of the map
    assert (plan.resimulated, plan.resimulations, plan.tasks) == (None, [], 12 * 7)
    plan.add(CalibrationEntry(nside=1, pixel=4))
    plan.add(CalibrationEntry(nside=1, pixel=5))  # of a second producer
    assert plan.resimulated == Pixel(1, 4)
    assert plan.resimulations == [resimulation(number) for number in range(60)]
    assert plan.started[12:] == plan.resimulations
    assert plan.tasks == 12 * 7 + 60  # a re-simulation has one seed
    assert plan.round_at(12 + 59) == Round(resimulation(59), 0)
    assert [plan.rounds_of(resimulation(number)) for number in (-1, 0, 59, 60)] == [0, 1, 1, 0]
    assert (list(plan.planned()), plan.guessed, plan.newest) == (whole_sky(1), 0, 1)
    plan.add(EndEntry(levels=1))
    assert plan.complete(lambda _: True)
    assert not plan.complete(lambda one: one.pixel != resimulation(7))


def test_calibration_without_request_or_after_the_end_starts_nothing() -> None:
    unasked, late = Plan(), Plan()
    for plan, calibrate in ((unasked, 0), (late, 60)):
        plan.add(SCAN.model_copy(update={"calibrate": calibrate}))
        plan.add(level_entry(1, whole_sky(1), []))
    late.add(EndEntry(levels=1))
    for plan in (unasked, late):
        plan.add(CalibrationEntry(nside=1, pixel=4))
        assert (plan.resimulations, plan.tasks) == ([], 12 * 7)


#: A scan of two levels and one round, with its first level, and what no producer of it writes.
IMPOSSIBLE = {
    "a level that the scan does not have": (level_entry(4, [Pixel(4, 1)], []), "has pixels of nside 4, and the scan"),
    "an early start of such a level": (ahead_entry(8, [Pixel(8, 1)]), "has pixels of nside 8"),
    "seeds of such a level": (seeds_entry(16, [Pixel(16, 1)]), "has pixels of nside 16"),
    "no nside": (LevelEntry(nside=3, pixels="1", tasks="1"), "has pixels of nside 3"),
    "a negative nside": (LevelEntry(nside=-2, pixels="1", tasks="1"), "has pixels of nside -2"),
    "a pixel that does not exist": (level_entry(2, [Pixel(2, 48)], []), "pixel 48 does not exist at nside 2"),
    "an early start of one": (ahead_entry(2, [Pixel(2, 4_000)]), "pixel 4000 does not exist"),
    "no ranges": (LevelEntry(nside=2, pixels="1", tasks="a"), "neither a pixel nor a range"),
    "more pixels than there are": (AheadEntry(nside=2, tasks="0-9999999"), "more than the 3145728 pixels"),
    "pixels twice": (LevelEntry(nside=2, pixels="1,1", tasks="1"), "whose pixels are not ascending"),
    "descending pixels": (LevelEntry(nside=2, pixels="1,2", tasks="2,1"), "whose pixels are not ascending"),
    "pixels that are never started": (LevelEntry(nside=2, pixels="1-3", tasks="2"), "never starts 2 of 3 pixels"),
    "a level without pixels": (LevelEntry(nside=2, pixels="", tasks="1"), "never starts 0 of 0 pixels"),
    "a second round": (seeds_entry(1, [Pixel(1, 4)]), "and the scan has one round"),
}


@pytest.mark.parametrize(("entry", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_entry_that_no_producer_writes_is_an_error(entry: PlanEntry, message: str) -> None:
    plan = Plan()
    plan.add(SCAN)
    plan.add(level_entry(1, whole_sky(1), []))
    before = (dict(plan.levels), list(plan.started), plan.tasks, plan.guessed)
    with pytest.raises(BrokerError, match=message):
        plan.add(decode_entry(entry.encode()))
    assert (plan.levels, plan.started, plan.tasks, plan.guessed) == before


def test_level_after_the_next_is_an_error() -> None:
    plan = Plan()
    plan.add(SCAN)
    for entry in (level_entry(2, [Pixel(2, 1)], []), ahead_entry(2, [Pixel(2, 1)])):
        with pytest.raises(BrokerError, match="goes on with nside 2, not with 1"):
            plan.add(entry)


def test_early_starts_are_limited_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "MAX_PIXELS", 20)
    plan = Plan()
    plan.add(SCAN)
    plan.add(level_entry(1, whole_sky(1), []))
    plan.add(ahead_entry(2, [Pixel(2, index) for index in range(20)]))
    plan.add(ahead_entry(2, [Pixel(2, index) for index in range(10, 20)]))  # started already
    with pytest.raises(BrokerError, match="starts more than the 20 pixels"):
        plan.add(ahead_entry(2, [Pixel(2, 20)]))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("levels", "8:4", "no level before it"),
        ("levels", "", "level"),
        ("levels", "3:0", "not a power of two"),
        ("seeds", 0, "choose 1 to 7"),
        ("first_seeds", 8, "first seeds 8"),
        ("area", "8,417", "is not NSIDE,PIXEL,COUNT"),
        ("area", "1,12,5", "does not exist"),
        ("pixels", "12", "does not exist"),
        ("pixels", "0-99999999", "more than the 3145728 pixels"),
        ("calibrate", 2000, "calibrate"),
        ("event", {"mjd": math.nan}, "mjd"),
        ("event", {"run": -1}, "run"),
        ("event", {"event": 2**63}, "event"),
        ("event", {"metadata_topics": ["x"] * 17}, "metadata_topics"),
        ("event", {"metadata_topics": ["a\x1b[2J"]}, "metadata_topics.*control characters"),
        ("event", {"name": "a\nCAUTION"}, "event.name: control characters or line ends"),
        ("event", {"choice": "\x9b2J"}, "event.choice: control"),
        ("event", {"caution": "\u202e"}, "event.caution: control"),
        ("reconstruction", "\x07", "reconstruction: control"),
    ],
)
def test_scan_that_no_producer_begins_is_an_error(field: str, value: object, message: str) -> None:
    entry = SCAN.model_dump(mode="json")
    entry[field] = entry[field] | value if isinstance(value, dict) else value
    with pytest.raises(BrokerError, match=message):
        decode_entry(json.dumps(entry).encode())


ANY_TEXT = st.text("0123456789-, :", max_size=12)
ANY_ENTRY = st.one_of(
    st.builds(LevelEntry, nside=st.sampled_from([1, 2, 4, 0, -1]), pixels=ANY_TEXT, tasks=ANY_TEXT),
    st.builds(AheadEntry, nside=st.sampled_from([1, 2, 4]), tasks=ANY_TEXT),
    st.builds(SeedsEntry, nside=st.sampled_from([1, 2, 4]), tasks=ANY_TEXT),
    st.builds(CalibrationEntry, nside=st.integers(-1, 4), pixel=st.integers(-1, 99)),
    st.builds(EndEntry, levels=st.integers(1, 3)),
    st.sampled_from([level_entry(1, whole_sky(1), []), ahead_entry(2, [Pixel(2, 4)]), seeds_entry(1, [Pixel(1, 2)])]),
)


@given(st.lists(ANY_ENTRY, max_size=8), st.sampled_from([1, 7]))
def test_any_plan_is_consistent_or_an_error(entries: list[PlanEntry], first: int) -> None:
    plan = Plan()
    plan.add(SCAN.model_copy(update={"first_seeds": first, "calibrate": 60}))
    for entry in entries:
        with contextlib.suppress(BrokerError):
            plan.add(entry)
    for level in plan.levels.values():
        assert level == sorted(set(level))
        assert all(plan.has_started(pixel) for pixel in level)
    for place in range(len(plan.started)):
        one = plan.round_at(place)
        assert plan.rounds_of(one.pixel) > one.number
    plan.complete(lambda _: True)


@pytest.mark.parametrize("count", [-1, 1001])
def test_number_of_resimulations_is_bounded(count: int) -> None:
    payload = SCAN.encode().replace(b'"calibrate":0', b'"calibrate":%d' % count)
    with pytest.raises(BrokerError, match="calibrate"):
        decode_entry(payload)
