"""Which physics event of a file is scanned, and what is said about the others."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.errors import I3Error, InputError
from skymap_scanner.event import selection
from skymap_scanner.event.model import Event, event_label
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.prepared_frames import event_frames, prepared_from_frames
from skymap_scanner.event.selection import Choice, EventSelection, SubEvent, choose, stream_name
from skymap_scanner.event.sources import read_event
from skymap_scanner.i3 import Frame, I3EventHeader, I3String, I3Time

ICE_TOP = (90, 1)  # no string of the ice
IN_ICE = (1, 10)
HOW = "--select RUN/EVENT/STREAM/SUB (event.select of a SkymapScan) chooses another"


@pytest.fixture
def physics(make_event: Callable[..., Event]) -> Callable[..., dict[str, Frame]]:
    """Return a function that makes the frames of a physics event with one pulse."""

    def make(
        sub_event: int = 0,
        charge: float = 5.0,
        *,
        event: int = 2,
        stream: str = "InIceSplit",
        dom: tuple[int, int] = IN_ICE,
        series: str = "SplitInIcePulses",
    ) -> dict[str, Frame]:
        frames = dict(make_event({dom: [(10_000.0, charge, 8.0, 7)]}, series=series).frames)
        frames["P"]["I3EventHeader"] = I3EventHeader(
            run_id=1,
            event_id=event,
            sub_event_id=sub_event,
            sub_event_stream=stream,
            start_time=I3Time(2024, 10**15),
        )
        return frames

    return make


def without_pulses(frames: dict[str, Frame]) -> dict[str, Frame]:
    del frames["P"]["SplitInIcePulses"]
    return frames


def chosen(choice: Choice) -> str:
    return str(SubEvent.of(choice.frames["P"].expect("I3EventHeader", I3EventHeader)))


Physics = Callable[..., dict[str, Frame]]


# --- sub-events of one event ------------------------------------------------------------------------------------------


def test_brightest_sub_event_is_chosen_and_the_other_is_named(physics: Physics) -> None:
    for events in ([physics(0, 18.5), physics(1, 867.0)], [physics(1, 867.0), physics(0, 18.5)]):
        choice = choose(iter(events))
        assert chosen(choice) == "1/2/InIceSplit/1"
        (note,) = choice.notes
        assert "2 sub-events have light under SplitInIcePulses" in note
        assert "1/2/InIceSplit/0 (18.5 pe)" in note
        assert "1/2/InIceSplit/1 (867 pe)" in note
        assert "1/2/InIceSplit/1 is scanned, as the brightest; --select RUN/EVENT/STREAM/SUB" in note


@pytest.mark.parametrize("select", [None, EventSelection(1, 2)])
def test_sub_event_without_light_is_passed_over(physics: Physics, select: EventSelection | None) -> None:
    dark = [physics(0, 0.0), physics(1, 900.0, dom=ICE_TOP), without_pulses(physics(2, stream="NullSplit"))]
    choice = choose(iter([*dark, physics(3, 1.0)]), select)
    assert (chosen(choice), choice.notes) == ("1/2/InIceSplit/3", ())


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("1/2/0", "1/2/InIceSplit/0"),
        ("1/2/InIceSplit/0", "1/2/InIceSplit/0"),
        ("1/2/1", "1/2/Other/1"),  # the brightest of both streams
        ("1/2/InIceSplit/1", "1/2/InIceSplit/1"),
        ("1/3", "1/3/InIceSplit/0"),
    ],
)
def test_sub_event_is_selected(physics: Physics, select: str, expected: str) -> None:
    events = [physics(0, 1.0), physics(1, 2.0), physics(1, 3.0, stream="Other"), physics(0, 9.0, event=3)]
    choice = choose(iter(events), EventSelection.parse(select))
    assert chosen(choice) == expected
    assert len(choice.notes) == (select == "1/2/1")


def test_selected_sub_event_without_light_is_returned(physics: Physics) -> None:
    choice = choose(iter([physics(0, 0.0), physics(1, 5.0)]), EventSelection.parse("1/2/0"))
    assert chosen(choice) == "1/2/InIceSplit/0"
    with pytest.raises(InputError, match="no charge in the ice"):
        prepare(Event("e", choice.frames))


def test_light_is_that_of_the_given_key(physics: Physics) -> None:
    first, second = physics(0, 1.0), physics(1, 9.0)
    first["P"]["Mine"] = physics(0, 7.0)["P"]["SplitInIcePulses"]
    second["P"]["Mine"] = physics(0, 2.0)["P"]["SplitInIcePulses"]
    assert chosen(choose(iter([first, second]), pulse_series="Mine")) == "1/2/InIceSplit/0"
    assert chosen(choose(iter([first, second]))) == "1/2/InIceSplit/1"


def test_own_pulses_decide_between_sub_events_of_equal_light(physics: Physics) -> None:
    whole = physics(0, 7.0)["P"]["SplitInIcePulses"]
    null, split = without_pulses(physics(0, stream="NullSplit")), physics(0, 7.0)
    for frames in (null, split):
        frames["Q"]["InIcePulses"] = whole
    assert chosen(choose(iter([null, split]), pulse_series="InIcePulses")) == "1/2/InIceSplit/0"


# --- events of one file -----------------------------------------------------------------------------------------------


def test_first_event_with_light_is_chosen_and_others_mentioned(physics: Physics) -> None:
    events = [physics(event=1, charge=0.0), physics(event=2), physics(event=3, charge=99.0)]
    choice = choose(iter(events))
    assert chosen(choice) == "1/2/InIceSplit/0"
    assert choice.notes == (
        "1/2/InIceSplit/0 is the first event with light; events before it have none: 1",
        f"the file holds several events; 1/2/InIceSplit/0, the first with light, is scanned; {HOW}",
    )


def test_event_with_the_key_is_chosen_where_none_has_light(physics: Physics) -> None:
    events = [without_pulses(physics(event=1)), physics(event=2, charge=0.0), physics(event=3, charge=0.0)]
    assert chosen(choose(iter(events))) == "1/2/InIceSplit/0"
    assert chosen(choose(iter(events[:1]))) == "1/1/InIceSplit/0"


def test_event_that_is_missing_is_reported_with_those_there_are(physics: Physics) -> None:
    events = [physics(number) for number in range(12)]
    with pytest.raises(InputError, match=r"^holds no event 1/2/77; it holds 1/2/InIceSplit/0, .*/9, \.\.\.$"):
        choose(iter(events), EventSelection.parse("1/2/77"))


def test_search_ends_with_the_stored_event_of_a_scan(physics: Physics) -> None:
    stored = physics(1, 5.0)
    stored["P"] = stored["P"].copy("p")

    def output() -> object:
        yield stored
        raise AssertionError("the frames of the pixels are read")

    assert chosen(choose(output())) == "1/2/InIceSplit/1"  # type: ignore[arg-type]


def test_damage_behind_an_event_with_light_is_noted(tmp_path: Path, physics: Physics) -> None:
    good, later = physics(0), physics(1, 99.0)
    content = good["Q"].to_bytes() + good["P"].to_bytes() + later["P"].to_bytes()[:-4]
    (tmp_path / "cut.i3").write_bytes(content)
    event = read_event(str(tmp_path / "cut.i3"))
    assert chosen(Choice(event.frames, ())) == "1/2/InIceSplit/0"
    (tmp_path / "dark.i3").write_bytes(physics(0, 0.0)["P"].to_bytes() + later["P"].to_bytes()[:-4])
    with pytest.raises(I3Error):
        read_event(str(tmp_path / "dark.i3"))


def test_number_of_compared_sub_events_is_limited(physics: Physics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MAX_COMPARED", 3)
    events = [physics(number) for number in range(4)]
    with pytest.raises(InputError, match=r"more than 3 physics frames .* --select RUN/EVENT/STREAM/SUB"):
        choose(iter(events))
    assert chosen(choose(iter(events), EventSelection.parse("1/2/3"))) == "1/2/InIceSplit/3"


def test_size_of_compared_frames_is_limited(physics: Physics, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [physics(number) for number in range(4)]
    size = sum(len(frame.blob(key)) for frame in (events[0]["Q"], events[0]["P"]) for key in frame)
    monkeypatch.setattr(selection, "MAX_COMPARED_BYTES", 4 * size)
    assert chosen(choose(iter(events))) == "1/2/InIceSplit/0"
    monkeypatch.setattr(selection, "MAX_COMPARED_BYTES", 3 * size)
    with pytest.raises(InputError, match=r"MiB of frames .* --select RUN/EVENT/STREAM/SUB"):
        choose(iter(events))
    monkeypatch.setattr(selection, "MAX_COMPARED_BYTES", 0)
    assert chosen(choose(iter(events[:1]))) == "1/2/InIceSplit/0"


def test_choice_is_logged_with_the_file(tmp_path: Path, physics: Physics, caplog: pytest.LogCaptureFixture) -> None:
    few, many = physics(0, 1.0), physics(1, 9.0)
    (tmp_path / "two.i3.gz").write_bytes(
        gzip.compress(few["Q"].to_bytes() + few["P"].to_bytes() + many["P"].to_bytes())
    )
    with caplog.at_level(logging.WARNING):
        event = read_event(str(tmp_path / "two.i3.gz"))
    assert event.name == "run00000001.evt000000000002-1"
    assert "two.i3.gz: 2 sub-events have light" in caplog.text
    assert event.choice.startswith("2 sub-events have light under SplitInIcePulses: 1/2/InIceSplit/0 (1 pe), ")


def test_choice_is_kept_in_the_frames_of_a_scan(tmp_path: Path, physics: Physics) -> None:
    few, many = physics(0, 1.0), physics(1, 9.0)
    (tmp_path / "two.i3").write_bytes(few["Q"].to_bytes() + few["P"].to_bytes() + many["P"].to_bytes())
    event = read_event(str(tmp_path / "two.i3"))
    frames = event_frames(event, prepare(event))
    assert prepared_from_frames(frames).choice == event.choice != ""
    (tmp_path / "scan.i3").write_bytes(b"".join(frame.to_bytes() for frame in frames))
    assert read_event(str(tmp_path / "scan.i3")).choice == event.choice
    selected = read_event(str(tmp_path / "two.i3"), select=EventSelection(1, 2, sub_event=1))
    assert selected.choice == ""


def test_stored_choice_is_printable_and_limited(tmp_path: Path, physics: Physics) -> None:
    one = physics()
    one["P"]["SCAN_EventChoice"] = I3String("\x1b[2J\n" + 5000 * "x")
    (tmp_path / "one.i3").write_bytes(one["P"].to_bytes())
    choice = read_event(str(tmp_path / "one.i3")).choice
    assert choice.startswith("\\x1b[2J\\nxxx")
    assert len(choice) == 1000


# --- names ------------------------------------------------------------------------------------------------------------

UINT32 = st.integers(0, 2**32 - 1)


@given(UINT32, UINT32, st.text(max_size=80), UINT32)
def test_every_sub_event_can_be_selected_by_its_name(run: int, event: int, stream: str, sub_event: int) -> None:
    found = SubEvent.of(I3EventHeader(run_id=run, event_id=event, sub_event_id=sub_event, sub_event_stream=stream))
    select = EventSelection.parse(str(found))
    assert select.matches(found)
    assert str(select) == str(found)
    assert not select.matches(found._replace(sub_event=sub_event + 1))
    assert EventSelection(run, event).matches(found)
    assert not EventSelection(run, event).matches(None)


@pytest.mark.parametrize("text", ["", "1", "1/", "1/2/", "1/2/a", "1/2/a/", "1/2/a b/0", "1/2/a/b/0", "-1/2", "1/2\n"])
def test_invalid_selection_is_rejected(text: str) -> None:
    with pytest.raises(InputError, match="is not RUN/EVENT, RUN/EVENT/SUB or RUN/EVENT/STREAM/SUB"):
        EventSelection.parse(text)


def test_stream_is_written_in_plain_characters() -> None:
    assert stream_name(I3EventHeader(sub_event_stream="InIceSplit")) == "InIceSplit"
    assert stream_name(I3EventHeader(sub_event_stream="a/b ä\x1b[2J" + 90 * "x")) == "a-b----2J" + 55 * "x"


def test_label_includes_a_sub_event_other_than_0() -> None:
    assert event_label(138632, 31747601) == "run00138632.evt000031747601"
    assert event_label(138632, 31747601, 1) == "run00138632.evt000031747601-1"
