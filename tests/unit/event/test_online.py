"""The online direction: that of the event, and none where the event has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time

from skymap_scanner.event.demo import demo_event_path
from skymap_scanner.event.online import online_direction
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.prepared_frames import event_frames, prepared_from_frames
from skymap_scanner.event.sources import read_event
from skymap_scanner.i3 import FitStatus, Frame, I3Double, I3Particle

KEY = "l2_online_SplineMPE"


@pytest.fixture
def frames(shared: Path) -> dict[str, Frame]:
    event = read_event(str(shared / "data/events/138632_31747601.json"))
    return {stop: frame.copy(stop) for stop, frame in event.frames.items()}


def test_online_direction_and_error_are_those_of_the_event(shared: Path) -> None:
    event = read_event(str(shared / "data/events/138632_31747601.json"))
    prepared = prepare(event)
    online = prepared.online
    assert online is not None
    # zenith 1.57163, azimuth 4.87687 by astropy; azimuth from grid north, counter-clockwise
    place = EarthLocation.from_geodetic(-62.6081, -89.9944)
    above = AltAz(
        az=(90 - 279.4241 + 62.6081) % 360 * u.deg,
        alt=-0.04776 * u.deg,
        obstime=Time(prepared.mjd, format="mjd"),
        location=place,
    )
    expected = SkyCoord(above).icrs
    assert (online.ra, online.dec) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=0.01)
    assert online.name == KEY
    assert online.error == pytest.approx(0.2004, abs=1e-4)  # 0.004019 and 0.002884 rad
    assert online.radius_90 == pytest.approx(0.2004 * 2.1460, abs=1e-3)
    assert prepared_from_frames(event_frames(event, prepared)).online == online


def test_direction_of_older_events_has_no_error(shared: Path) -> None:
    online = prepare(read_event(str(shared / "data/events/event_HESE_2017-11-28.json"))).online
    assert online is not None
    assert (online.name, online.error, online.radius_90) == ("OnlineL2_SplineMPE", None, None)


@pytest.mark.parametrize("name", ["hese_event_00.json", "demo"])
def test_event_without_online_direction_has_none(shared: Path, name: str) -> None:
    source = demo_event_path() if name == "demo" else shared / "data/events" / name
    assert prepare(read_event(str(source))).online is None


@pytest.mark.parametrize("what", ["failed", "NaN", "another class"])
def test_unusable_online_direction_is_left_out(frames: dict[str, Frame], what: str) -> None:
    particle = frames["P"].expect(KEY, I3Particle)
    frames["P"][KEY] = {
        "failed": replace(particle, fit_status=FitStatus.FailedToConverge),
        "NaN": replace(particle, dir=replace(particle.dir, zenith=float("nan"))),
        "another class": I3Double(1.0),
    }[what]
    assert online_direction(frames, 60280.0) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_impossible_error_is_left_out(frames: dict[str, Frame], value: float) -> None:
    for axis in ("zenith", "azimuth"):
        frames["P"][f"{KEY}_CramerRao_cr_{axis}"] = I3Double(value)
    online = online_direction(frames, 60280.0)
    assert online is not None
    assert online.error is None
