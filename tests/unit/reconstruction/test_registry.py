from __future__ import annotations

import math

import numpy as np
import pytest

from skymap_scanner.detector.coordinates import equatorial_to_detector
from skymap_scanner.errors import InputError, ReconstructionError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import FitStatus
from skymap_scanner.reconstruction import load
from skymap_scanner.reconstruction.millipede import Millipede
from skymap_scanner.reconstruction.protocol import Start


def test_reconstructions_are_found_by_name() -> None:
    assert isinstance(load("millipede", {"ice": "spice_lea"}), Millipede)


def test_unknown_reconstruction_is_reported_with_known_ones() -> None:
    with pytest.raises(ReconstructionError, match=r"no reconstruction is named 'magic': there are dummy, icetray"):
        load("magic")


def test_unknown_parameter_is_reported_with_known_ones() -> None:
    with pytest.raises(ReconstructionError, match=r"no parameter 'colour': it knows ice, photon_table, light_range"):
        load("millipede", {"colour": 1})


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("millipede", {"light_range": "far"}),
        ("dummy", {"ra": 10.0}),
        ("dummy", {"ra": 10.0, "dec": 100.0}),
        ("dummy", {"seconds": -1.0}),
        ("icetray", {"dom_efficiency": 0.0}),
    ],
)
def test_invalid_value_is_an_input_error(name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(InputError):
        load(name, parameters)


def test_icetray_reports_its_requirements(event: PreparedEvent) -> None:
    with pytest.raises(ReconstructionError, match=r"needs IceTray with the module icecube\.icetray .*env-shell"):
        load("icetray").set_up(event)


def test_dummy_is_a_bowl_around_its_direction(event: PreparedEvent) -> None:
    fitter = load("dummy", {"ra": 200.0, "dec": 20.0}).set_up(event)
    vertex = tuple(event.vertex.tolist())

    def llh(ra: float, dec: float, position: tuple[float, float, float] = vertex) -> float:
        zenith, azimuth = equatorial_to_detector(math.radians(ra), math.radians(dec), event.mjd)
        return fitter.fit(Start(float(zenith), float(azimuth), position, 0.0)).llh

    bottom = llh(200.0, 20.0)
    assert llh(200.0, 21.0) - bottom == pytest.approx(0.5, rel=0.01)
    assert llh(200.0, 22.0) - bottom == pytest.approx(2.0, rel=0.01)
    assert llh(200.0, 20.0, (vertex[0] + 20.0, *vertex[1:])) > bottom
    assert llh(20.0, -20.0) == pytest.approx(bottom + 180**2 / 2, rel=0.001)


def test_dummy_uses_the_direction_of_the_event_by_default(event: PreparedEvent) -> None:
    one, two = load("dummy").set_up(event), load("dummy").set_up(event)
    start = Start(1.0, 2.0, (0.0, 0.0, 0.0), 0.0)
    assert one.fit(start) == two.fit(start)


def test_dummy_fails_for_a_nan_seed(event: PreparedEvent) -> None:
    fit = load("dummy").set_up(event).fit(Start(math.nan, 0.0, (0.0, 0.0, 0.0), 0.0))
    assert fit.status is FitStatus.MissingSeed
    assert np.isnan(fit.llh)
