from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import pytest

from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.errors import InputError
from skymap_scanner.event.geometry_conversion import event_geometry, geometry_from_i3, geometry_to_i3, omkeys
from skymap_scanner.event.model import Event
from skymap_scanner.event.preparation import prepare
from skymap_scanner.i3 import Frame, I3Geometry, I3OMGeoMap, I3Time, OMKey, read_frames


def test_geometry_object_equals_that_of_icetray_byte_for_byte(shared: Path) -> None:
    (icetray,) = read_frames(shared / "data/i3/ic86_geometry.i3.zst")
    ours = Frame("G")
    ours["I3Geometry"] = replace(geometry_to_i3(ic86()), end_time=I3Time(2100, 0))  # the end that the file has
    assert ours["I3Geometry"] == icetray["I3Geometry"]
    assert ours.blob("I3Geometry") == icetray.blob("I3Geometry")


def test_written_geometry_ends_where_icetray_can_print_it() -> None:
    end = geometry_to_i3(ic86()).end_time
    assert (end.mjd - 40587) * 86400 < 2**31


def test_geometry_round_trips_through_a_frame(shared: Path) -> None:
    for stored in (geometry_to_i3(ic86()), next(read_frames(shared / "data/i3/ic86_geometry.i3.zst"))["I3Geometry"]):
        geometry = geometry_from_i3(stored)
        for field in ("string", "om", "position", "efficiency", "noise"):
            assert np.array_equal(getattr(geometry, field), getattr(ic86(), field))
            assert getattr(geometry, field).dtype == getattr(ic86(), field).dtype


def test_smaller_detector_keeps_positions_and_dom_properties() -> None:
    doms = geometry_to_i3(ic86()).omgeo.value.copy()
    doms["value.position.x"] += 1.0
    chosen = np.flatnonzero(np.isin(doms["key.string"], [36, 81]))
    geometry = geometry_from_i3(I3Geometry(I3OMGeoMap(doms[chosen])))
    assert np.array_equal(geometry.position, ic86().position[chosen] + [1, 0, 0])
    assert np.array_equal(geometry.efficiency, ic86().efficiency[chosen])
    assert np.array_equal(geometry.noise, ic86().noise[chosen])
    assert omkeys(geometry)[60] == OMKey(81, 1)


def test_modules_other_than_doms_are_ignored() -> None:
    doms = geometry_to_i3(ic86()).omgeo.value.copy()
    doms["key.om"][:60] = 61
    doms["key.string"][60:120] = 2001
    doms["key.pmt"][120] = 1
    geometry = geometry_from_i3(I3Geometry(I3OMGeoMap(doms)))
    assert len(geometry.om) == 5160 - 121


@pytest.mark.parametrize("value", [nan, 1e9])
def test_dom_at_an_invalid_position_is_rejected(value: float) -> None:
    doms = geometry_to_i3(ic86()).omgeo.value.copy()
    doms["value.position.z"][77] = value
    with pytest.raises(InputError, match="key 'I3Geometry': places an in-ice DOM more than 5000 m"):
        geometry_from_i3(I3Geometry(I3OMGeoMap(doms)))


def test_geometry_with_one_dom_twice_is_rejected() -> None:
    doms = geometry_to_i3(ic86()).omgeo.value
    twice = np.concatenate([doms, doms[77:78]])
    with pytest.raises(InputError, match=r"key 'I3Geometry': has the DOM \(string 2, om 18\) more than once"):
        geometry_from_i3(I3Geometry(I3OMGeoMap(twice)))


def test_event_with_a_geometry_uses_it(make_event: Callable[..., Event]) -> None:
    doms = geometry_to_i3(ic86()).omgeo.value.copy()
    doms["value.position.x"] += 1.0
    event = make_event({(5, 30): [(10_000.0, 1.0, 8.0, 7)], (6, 30): [(10_000.0, 1.0, 8.0, 7)]})
    frames = {"G": Frame("G"), **event.frames}
    assert event_geometry(frames) is ic86()
    here = prepare(Event("here", frames)).vertex
    frames["G"]["I3Geometry"] = I3Geometry(I3OMGeoMap(doms))
    assert prepare(Event("there", frames)).vertex == pytest.approx(here + np.array([1, 0, 0]))
