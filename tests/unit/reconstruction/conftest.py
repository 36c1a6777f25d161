"""Events drawn from the photon model itself, so that the truth is known and no file is needed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from skymap_scanner.detector.coordinates import travel_direction
from skymap_scanner.detector.ic86 import DEEPCORE, ic86
from skymap_scanner.detector.ice import ice_model
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import I3EventHeader, I3Time, OMKey, Pulses
from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.reconstruction.millipede import Millipede
from skymap_scanner.reconstruction.millipede.fitter import MillipedeFitter
from skymap_scanner.reconstruction.millipede.photon_model import PhotonModel

ZENITH, AZIMUTH = 1.2, 2.0
VERTEX = np.array([60.0, -80.0, -330.0])
TIME = 10_000.0
ENERGIES = {0.0: 20_000.0, 80.0: 10_000.0}  # GeV, by the place along the track (m)


def draw_pulses(energies: dict[float, float], seed: int = 1) -> Pulses:
    """Draw pulses: one for each photoelectron, the first of a DOM in local coincidence."""
    random = np.random.default_rng(seed)
    geometry, direction = ic86(), travel_direction(ZENITH, AZIMUTH)
    model = PhotonModel(geometry, ice_model())
    places = np.array(list(energies))
    positions = VERTEX + places[:, None] * direction
    expected = model.expected_charge(positions, direction, np.array(list(energies.values())))
    expected[:, np.isin(geometry.string, DEEPCORE)] = 0
    counts = random.poisson(expected)
    source, dom = (axis.repeat(counts.ravel()) for axis in np.indices(counts.shape).reshape(2, -1))
    time = TIME + places[source] / SPEED_OF_LIGHT + model.draw_times(random, positions, direction, source, dom)
    order = np.lexsort((time, dom))
    dom, time = dom[order], time[order]
    first = np.append(True, np.diff(dom) > 0)
    gaps = np.append(np.diff(time), 10.0)
    return Pulses(
        string=geometry.string[dom],
        om=geometry.om[dom],
        pmt=np.zeros(len(dom), np.uint8),
        time=time,
        charge=np.ones(len(dom), np.float32),
        width=np.where((gaps > 0) & (gaps < 8), gaps, 8.0).astype(np.float32),
        flags=np.where(first, 1, 0).astype(np.uint8),
    )


def _prepare(pulses: Pulses, **changes: object) -> PreparedEvent:
    """Prepare an event by hand: DeepCore and dead DOMs take no part."""
    geometry = ic86()
    lost = np.flatnonzero(geometry.dead | np.isin(geometry.string, DEEPCORE))
    values = {
        "name": "drawn",
        "header": I3EventHeader(run_id=1, event_id=2, start_time=I3Time(2024, 10**15)),
        "mjd": 60_000.0,
        "pulse_series": "pulses",
        "pulses": pulses,
        "window": (6_000.0, 20_000.0),
        "errata": {},
        "late": {},
        "bright": frozenset(),
        "excluded": frozenset(OMKey(int(geometry.string[i]), int(geometry.om[i]), 0) for i in lost),
        "vertex": VERTEX + np.array([8.0, -12.0, 9.0]),
        "vertex_time": TIME + 40.0,
        "geometry": geometry,
    } | changes
    return PreparedEvent(**values)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def pulses() -> Pulses:
    """Two cascades of 20 and 10 TeV on one track."""
    return draw_pulses(ENERGIES)


@pytest.fixture(scope="session")
def prepare() -> Callable[..., PreparedEvent]:
    """Return the function that makes an event of pulses."""
    return _prepare


@pytest.fixture(scope="session")
def event(pulses: Pulses) -> PreparedEvent:
    return _prepare(pulses)


@pytest.fixture(scope="session")
def fitter(event: PreparedEvent) -> MillipedeFitter:
    fitter = Millipede().set_up(event)
    assert isinstance(fitter, MillipedeFitter)
    return fitter
