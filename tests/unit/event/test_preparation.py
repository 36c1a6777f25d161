from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest

from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.errors import InputError
from skymap_scanner.event import preparation
from skymap_scanner.event.geometry_conversion import geometry_to_i3
from skymap_scanner.event.model import Event
from skymap_scanner.event.preparation import NO_BAD_DOMS, prepare
from skymap_scanner.event.sources import read_event
from skymap_scanner.i3 import (
    Frame,
    I3Double,
    I3EventHeader,
    I3Geometry,
    I3OMGeoMap,
    I3Position,
    I3RecoPulseSeriesMapMask,
    I3Time,
    I3TimeWindow,
    I3TimeWindowSeries,
    I3TimeWindowSeriesMap,
    I3VectorOMKey,
    OMKey,
    resolve_pulses,
)
from skymap_scanner.i3.pulse_objects import BitMask

MakeEvent = Callable[..., Event]

HLC, SLC = 7, 4
#: Pulses of a small, ordinary event.
PULSES = {
    (1, 10): [(10_000.0, 4.0, 8.0, HLC), (10_020.0, 1.0, 8.0, HLC)],
    (2, 10): [(10_200.0, 5.0, 8.0, HLC)],
    (2, 11): [(10_300.0, 0.5, 8.0, SLC), (11_900.0, 0.4, 8.0, SLC)],
}


def place(string: int, om: int) -> list[float]:
    geometry = ic86()
    index = np.flatnonzero((geometry.string == string) & (geometry.om == om))[0]
    return list(geometry.position[index])


def test_ordinary_event_is_prepared(make_event: MakeEvent) -> None:
    prepared = prepare(make_event(PULSES))
    assert prepared.name == "run00000001.evt000000000002"
    assert (prepared.header.run_id, prepared.header.event_id) == (1, 2)
    assert prepared.mjd == pytest.approx(60310 + 10**5 / 86400)
    assert prepared.pulse_series == "SplitInIcePulses"
    assert len(prepared.pulses) == 5
    assert prepared.window == (9000.0, 12000.0)
    assert prepared.late == {OMKey(2, 11): 11_800.0}
    assert prepared.geometry is ic86()
    assert prepared.vertex == pytest.approx(
        (4 * np.array(place(1, 10)) + np.array(place(1, 10)) + 5 * np.array(place(2, 10))) / 10
    )
    assert prepared.vertex_time == 10_200.0


REAL = [
    ("events/138632_31747601.json", "SplitInIcePulses", 948),
    ("events/event_HESE_2017-11-28.json", "SplitUncleanedInIcePulses", 3292),
    ("events/hese_event_00.json", "SplitUncleanedInIcePulses", 635),
    ("events/hese_event_02.json", "SplitUncleanedInIcePulses", 1157),
    ("i3/138632_31747601.i3.zst", "SplitInIcePulses", 948),
    ("i3/event_HESE_2017-11-28.i3", "SplitUncleanedInIcePulses", 3292),
    ("i3/hese_event_00.i3.zst", "SplitUncleanedInIcePulses", 635),
]


@pytest.mark.parametrize(("path", "series", "count"), REAL, ids=[path for path, _, _ in REAL])
def test_vertex_of_a_real_event_agrees_with_its_stored_one(shared: Path, path: str, series: str, count: int) -> None:
    event = read_event(str(shared / "data" / path))
    prepared = prepare(event)
    assert prepared.pulse_series == series
    assert len(prepared.pulses) == count
    stored = event.frames["P"].expect("HESE_VHESelfVetoVertexPos", I3Position)
    assert prepared.vertex == pytest.approx([stored.x, stored.y, stored.z], abs=2e-5)
    assert prepared.vertex_time == event.frames["P"].expect("HESE_VHESelfVetoVertexTime", I3Double).value


def test_real_saturated_and_badly_calibrated_doms_are_found(shared: Path) -> None:
    prepared = prepare(read_event(str(shared / "data/events/event_HESE_2017-11-28.json")))
    assert {key.om for key in prepared.excluded if key.string == 37} == {24}  # saturated
    assert {key.om for key in prepared.bright if key.string == 37} == {22, 23, 25, 26}
    assert prepared.errata[OMKey(37, 21)] == pytest.approx(10_460.545, abs=1e-3)  # from the CalibrationErrata
    assert 407.0 < sum(prepared.pulses.charge[prepared.pulses.string == 37]) < 7000


def test_dead_doms_and_deepcore_are_excluded(make_event: MakeEvent) -> None:
    prepared = prepare(make_event(PULSES))
    geometry = ic86()
    expected = (geometry.string >= 79) | geometry.dead
    assert prepared.excluded == {
        OMKey(int(string), int(om)) for string, om in zip(geometry.string[expected], geometry.om[expected], strict=True)
    }


@pytest.mark.parametrize("stop", ["G", "C", "D", "Q", "P"])
def test_bad_doms_are_excluded_from_a_list_in_any_frame(make_event: MakeEvent, stop: str) -> None:
    event = make_event(PULSES)
    frame = event.frames.get(stop, Frame(stop))
    frame["BadDomsList"] = I3VectorOMKey((OMKey(2, 10),))
    frame["BadDomsListSLC"] = I3VectorOMKey((OMKey(2, 11), OMKey(2, 64), OMKey(200, 1)))
    excluded = prepare(Event(event.name, {**event.frames, stop: frame})).excluded
    assert {OMKey(2, 10), OMKey(2, 11)} <= excluded
    assert OMKey(2, 64) not in excluded  # not in the ice


@pytest.mark.parametrize(
    ("lists", "known"),
    [((), False), (("BadDomsListSLC",), False), (("BadDomsList",), True), (("BadDomsList", "BadDomsListSLC"), True)],
)
def test_event_without_list_of_bad_doms_has_a_caution(
    make_event: MakeEvent, caplog: pytest.LogCaptureFixture, lists: tuple[str, ...], known: bool
) -> None:
    event = make_event(PULSES)
    detector = Frame("D")
    for key in lists:
        detector[key] = I3VectorOMKey(())
    caplog.set_level(logging.WARNING)
    caution = prepare(Event(event.name, {**event.frames, "D": detector})).caution
    assert caution == ("" if known else NO_BAD_DOMS)
    assert (f"{event.name}: {NO_BAD_DOMS}" in caplog.text) == (not known)


def windows(*bounds: tuple[float, float]) -> I3TimeWindowSeries:
    return I3TimeWindowSeries(tuple(I3TimeWindow(*bound) for bound in bounds))


def test_saturated_doms_are_excluded_and_badly_calibrated_ones_truncated(make_event: MakeEvent) -> None:
    errata = {
        OMKey(1, 10): windows((10_010.0, 12_000.0), (10_005.0, 10_006.0)),
        OMKey(2, 10): windows((0.0, 12_000.0)),  # covers all pulses
        OMKey(3, 10): windows((10_010.0, 12_000.0)),  # not hit
        OMKey(4, 10): windows(),
    }
    daq = {
        "CalibrationErrata": I3TimeWindowSeriesMap(errata),
        "SaturationWindows": I3TimeWindowSeriesMap({OMKey(2, 11): windows((10_300.0, 10_310.0))}),
    }
    prepared = prepare(make_event(PULSES, daq=daq))
    assert prepared.errata == {OMKey(1, 10): 10_005.0}
    assert {OMKey(2, 10), OMKey(3, 10), OMKey(2, 11)} <= prepared.excluded
    assert OMKey(4, 10) not in prepared.excluded


def test_late_pulses_and_errata_are_told_apart(make_event: MakeEvent) -> None:
    errata = I3TimeWindowSeriesMap({OMKey(2, 11): windows((11_000.0, 12_000.0))})
    prepared = prepare(make_event(PULSES, daq={"CalibrationErrata": errata}))
    assert prepared.errata == {OMKey(2, 11): 11_000.0}
    assert prepared.late == {OMKey(2, 11): 11_800.0}


def test_bright_doms_are_marked(make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch) -> None:
    pulses = {(1, om): [(10_000.0, 1.0, 8.0, HLC)] for om in range(1, 40)}
    pulses[2, 1] = [(10_000.0, 100.0, 8.0, HLC)]
    prepared = prepare(make_event(pulses))
    assert prepared.bright == {OMKey(2, 1)}
    assert OMKey(2, 1) not in prepared.excluded
    monkeypatch.setattr(preparation, "BRIGHT_FACTOR", 40)
    assert prepare(make_event(pulses)).bright == frozenset()


def test_pulses_are_late_from_the_delay_on(make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "LATE_DELAY", 3000)
    assert prepare(make_event(PULSES)).late == {}


# --- pulse series -----------------------------------------------------------------------------------------------------


def test_pulse_series_of_split_events_is_preferred(make_event: MakeEvent) -> None:
    event = make_event(PULSES, series="SplitUncleanedInIcePulses")
    assert prepare(event).pulse_series == "SplitUncleanedInIcePulses"
    event.frames["P"]["SplitInIcePulses"] = event.frames["P"]["SplitUncleanedInIcePulses"]
    assert prepare(event).pulse_series == "SplitInIcePulses"
    assert prepare(event, "SplitUncleanedInIcePulses").pulse_series == "SplitUncleanedInIcePulses"


@pytest.mark.parametrize("wanted", [None, "NoSuchPulses"])
def test_missing_pulse_series_is_named_with_those_available(make_event: MakeEvent, wanted: str | None) -> None:
    event = make_event(PULSES, series="OtherPulses")
    event.frames["P"].put_blob("Damaged", "I3RecoPulseSeriesMap", b"nonsense")
    with pytest.raises(InputError, match=r"^run00000001\S+: the event has no pulses .*; it has OtherPulses$"):
        prepare(event, wanted)


def test_event_without_pulse_series_is_reported(make_event: MakeEvent) -> None:
    event = make_event(PULSES)
    del event.frames["P"]["SplitInIcePulses"]
    with pytest.raises(InputError, match="it has no pulses at all"):
        prepare(event)


def test_pulse_series_of_another_class_is_rejected(make_event: MakeEvent) -> None:
    with pytest.raises(InputError, match=r"key 'Wrong'.*found I3Double"):
        prepare(make_event(PULSES, physics={"Wrong": I3Double(1.0)}), "Wrong")


def test_mask_of_missing_pulses_is_rejected(make_event: MakeEvent) -> None:
    event = make_event(PULSES)
    event.frames["P"]["SplitInIcePulses"] = I3RecoPulseSeriesMapMask("Gone", BitMask(), ())
    with pytest.raises(InputError, match="'Gone'"):
        prepare(event)


def test_only_pulses_in_the_ice_are_used(make_event: MakeEvent) -> None:
    more = PULSES | {(1, 61): [(0.0, 1e3, 1.0, HLC)], (90, 1): [(0.0, 1e3, 1.0, HLC)], (0, 0): [(0.0, 1e3, 1.0, HLC)]}
    event = make_event(more)
    prepared = prepare(event)
    assert len(prepared.pulses) == 5
    assert prepared.vertex_time == 10_200.0
    assert len(resolve_pulses("SplitInIcePulses", event.frames["P"])) == 8


# --- incomplete events ------------------------------------------------------------------------------------------------


def test_vertex_without_hlc_pulses_uses_all_pulses(make_event: MakeEvent) -> None:
    prepared = prepare(make_event({(1, 10): [(10_000.0, 4.0, 8.0, SLC)], (2, 10): [(10_200.0, 4.0, 8.0, SLC)]}))
    assert prepared.vertex == pytest.approx((np.array(place(1, 10)) + np.array(place(2, 10))) / 2)
    assert prepared.vertex_time == 10_200.0


def test_vertex_of_one_hit_dom_is_the_dom(make_event: MakeEvent) -> None:
    prepared = prepare(make_event({(5, 30): [(10_000.0, 0.3, 8.0, SLC)]}))
    assert prepared.vertex == pytest.approx(place(5, 30))
    assert prepared.vertex_time == 10_000.0
    assert OMKey(5, 30) not in prepared.excluded


def test_dominant_dom_is_not_the_vertex_of_an_event(make_event: MakeEvent) -> None:
    pulses = {(1, 10): [(10_000.0, 900.0, 8.0, HLC)], (2, 10): [(10_100.0, 6.0, 8.0, HLC)]}
    assert prepare(make_event(pulses)).vertex == pytest.approx(place(2, 10))


def test_missing_readout_window_is_derived_from_the_pulses(
    make_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert prepare(make_event(PULSES, window=None)).window == (10_000.0, 11_908.0)
    assert "the readout window SplitInIcePulsesTimeRange is missing" in caplog.text


IMPOSSIBLE_WINDOWS = [(nan, 1.0), (1.0, nan), (5.0, 5.0), (9.0, 3.0), (0.0, inf), (-inf, 0.0)]


@pytest.mark.parametrize("window", [*IMPOSSIBLE_WINDOWS, (-9.9e8, 2e4), (9000.0, 9.9e8)])
def test_invalid_readout_window_is_derived_from_the_pulses(
    make_event: MakeEvent, window: tuple[float, float], caplog: pytest.LogCaptureFixture
) -> None:
    assert prepare(make_event(PULSES, window=window)).window == (10_000.0, 11_908.0)
    assert "is impossible" in caplog.text


def test_readout_window_of_one_zero_width_pulse_is_not_empty(make_event: MakeEvent) -> None:
    assert prepare(make_event({(5, 30): [(10.0, 1.0, 0.0, HLC)]}, window=None)).window == (10.0, 11.0)


IMPOSSIBLE = {
    "time nan": (nan, 1.0, 8.0, HLC),
    "time inf": (inf, 1.0, 8.0, HLC),
    "time far away": (1e15, 1.0, 8.0, HLC),
    "charge nan": (10_000.0, nan, 8.0, HLC),
    "charge inf": (10_000.0, inf, 8.0, HLC),
    "charge negative": (10_000.0, -1.0, 8.0, HLC),
    "width nan": (10_000.0, 1.0, nan, HLC),
    "width negative": (10_000.0, 1.0, -8.0, HLC),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_dom_with_an_invalid_pulse_is_excluded(
    make_event: MakeEvent, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    pulses = PULSES | {(3, 10): [(10_000.0, 1.0, 8.0, SLC), IMPOSSIBLE[case]]}
    prepared = prepare(make_event(pulses, window=None))
    assert OMKey(3, 10) in prepared.excluded
    assert np.isfinite([*prepared.vertex, prepared.vertex_time, *prepared.window]).all()
    assert prepared.window[1] <= 20_000
    assert "1 DOMs have impossible pulses" in caplog.text


def test_dom_with_a_distant_pulse_is_excluded(make_event: MakeEvent) -> None:
    for time in (-9e8, 1.1e6):
        prepared = prepare(make_event(PULSES | {(3, 10): [(time, 1.0, 8.0, SLC)]}, window=None))
        assert OMKey(3, 10) in prepared.excluded
        assert prepared.window == (10_000.0, 11_908.0)


def test_event_late_in_a_long_readout_is_prepared(make_event: MakeEvent) -> None:
    late = {dom: [(5e6 + time, *rest) for time, *rest in pulses] for dom, pulses in PULSES.items()}
    prepared = prepare(make_event(late, window=(5_009_000.0, 5_012_000.0)))
    assert prepared.window == (5_009_000.0, 5_012_000.0)
    assert prepared.excluded == prepare(make_event(PULSES)).excluded


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_event_with_only_invalid_pulses_is_rejected(make_event: MakeEvent, case: str) -> None:
    with pytest.raises(InputError, match="SplitInIcePulses hold no charge in the ice"):
        prepare(make_event({(3, 10): [IMPOSSIBLE[case]]}))


@pytest.mark.parametrize(
    "pulses",
    [{}, {(1, 1): []}, {(1, 61): [(1.0, 1.0, 1.0, HLC)]}, {(1, 1): [(1.0, 0.0, 1.0, HLC)]}],
    ids=["no DOM", "a DOM without pulses", "IceTop only", "no charge"],
)
def test_event_without_charge_in_the_ice_is_rejected(make_event: MakeEvent, pulses: dict[object, object]) -> None:
    with pytest.raises(InputError, match="hold no charge in the ice, so there is nothing to fit"):
        prepare(make_event(pulses))


def test_event_with_only_excluded_doms_is_rejected(make_event: MakeEvent) -> None:
    with pytest.raises(InputError, match="all DOMs with pulses in SplitInIcePulses are excluded"):
        prepare(make_event({(80, 10): [(1.0, 1.0, 1.0, HLC)]}))


def test_event_without_header_is_rejected(make_event: MakeEvent) -> None:
    event = make_event(PULSES)
    del event.frames["P"]["I3EventHeader"]
    with pytest.raises(InputError, match="key 'I3EventHeader': none of the frames Q P has this"):
        prepare(event)


@pytest.mark.parametrize("time", [I3Time(0, 0), I3Time(-5, 0), I3Time(2**31 - 1, 0), I3Time(9999, 2**62)])
def test_invalid_date_is_rejected(make_event: MakeEvent, time: I3Time) -> None:
    with pytest.raises(InputError, match="starts at an impossible time"):
        prepare(make_event(PULSES, physics={"I3EventHeader": I3EventHeader(1, 0, 2, start_time=time)}))


def test_object_of_another_class_is_rejected(make_event: MakeEvent) -> None:
    with pytest.raises(InputError, match="key 'CalibrationErrata': expected I3TimeWindowSeriesMap, found I3Double"):
        prepare(make_event(PULSES, daq={"CalibrationErrata": I3Double(1.0)}))


def test_damaged_object_is_rejected_with_its_key(make_event: MakeEvent) -> None:
    event = make_event(PULSES)
    event.frames["Q"].put_blob("BadDomsList", "I3Vector<OMKey>", b"\x00\x01\x02")
    with pytest.raises(InputError, match=r"run00000001.*key 'BadDomsList'"):
        prepare(event)


def test_geometry_without_doms_in_the_ice_is_rejected(make_event: MakeEvent) -> None:
    whole = geometry_to_i3(ic86()).omgeo.value
    empty = I3Geometry(I3OMGeoMap(whole[:0]))
    with pytest.raises(InputError, match="key 'I3Geometry': has no in-ice DOM"):
        prepare(make_event(PULSES, physics={"I3Geometry": empty}))
