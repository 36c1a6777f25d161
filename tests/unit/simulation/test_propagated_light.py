"""Whole events with propagated light: their statistics, truth, seeds and limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from skymap_scanner.errors import I3Error, InputError
from skymap_scanner.event.lookup import nearest_first
from skymap_scanner.event.model import Event
from skymap_scanner.i3 import I3String, Pulses, resolve_pulses
from skymap_scanner.simulation import Variation, read_truth, simulate
from skymap_scanner.simulation.propagated_light import (
    LARGEST,
    MAX_PHOTONS,
    MIN_PHOTONS,
    photon_count,
    realise,
    reception_radius,
)
from skymap_scanner.simulation.propagation import Crossings

from .conftest import random

CASCADE: dict[str, Any] = {"energy": 1e4, "seed": 7, "vertex": (30.0, -20.0, -250.0), "ra": 83.6, "dec": 22.0}
TRACK: dict[str, Any] = {"energy": 2e4, "seed": 8, "vertex": (0.0, 0.0, 350.0), "ra": 77.4, "dec": 5.7}


def pulses_of(event: Event) -> Pulses:
    return resolve_pulses("SplitInIcePulses", nearest_first(event.frames))


def encode(event: Event) -> bytes:
    return b"".join(frame.to_bytes() for frame in event.frames.values())


@pytest.fixture(scope="module")
def cascade() -> Event:
    return simulate("cascade", **CASCADE, light="propagated")


def test_propagated_event_has_about_the_light_of_the_table(cascade: Event) -> None:
    truth = read_truth(cascade.frames["P"])
    assert truth is not None
    assert truth.light == "propagated"
    assert truth.energy == CASCADE["energy"]
    deposited = truth.losses.energy.sum()  # less than the energy: hadrons give less light
    table = simulate("cascade", **CASCADE | {"energy": deposited})
    charges, doms = zip(
        *((pulses.charge.sum(), len(list(pulses.doms()))) for pulses in map(pulses_of, (cascade, table))), strict=True
    )
    # tilt, anisotropy, angular acceptance and the photomultiplier differ
    assert charges[0] / charges[1] == pytest.approx(1, abs=0.25)
    assert doms[0] / doms[1] == pytest.approx(1, abs=0.2)


def test_equal_arguments_give_equal_bytes(cascade: Event) -> None:
    assert encode(simulate("cascade", **CASCADE, light="propagated")) == encode(cascade)


def test_bundle_records_its_muons_and_variation() -> None:
    varied = Variation(scattering=1.05, hole_ice=1.0)
    event = simulate("track", **TRACK, light="propagated", muons=5, variation=varied)
    truth = read_truth(event.frames["P"])
    assert truth is not None
    assert (truth.muons, truth.light, truth.variation) == (5, "propagated", varied)
    frame = event.frames["P"].copy()
    frame["MCLight"] = I3String("laser")
    with pytest.raises(I3Error, match="light 'laser'"):
        read_truth(frame)


@pytest.mark.parametrize(
    ("topology", "changed", "message"),
    [
        ("cascade", {"energy": 1e9, "light": "propagated"}, "photoelectrons, more than the 5e"),
        ("cascade", {"energy": 100.0, "light": "propagated"}, "would not have triggered"),
        ("cascade", {"light": "laser"}, "light 'laser': choose table or propagated"),
        ("track", {"muons": 3}, "several muons need topology track and light propagated"),
        ("cascade", {"muons": 3, "light": "propagated"}, "several muons need topology track"),
        ("track", {"muons": 0, "light": "propagated"}, "muons 0 is not between 1 and 100"),
        ("track", {"muons": 101, "light": "propagated"}, "muons 101 is not between"),
    ],
)
def test_impossible_light_is_rejected_with_a_reason(topology: Any, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(topology, **TRACK | changed)


def test_reception_radius_is_limited_by_the_nearest_source() -> None:
    position = np.array([[0.0, 0, 0], [5.0, 0, 0], [100.0, 0, 0], [300.0, 0, 0]])
    radius = reception_radius(position, np.array([[0.0, 0, 0], [310.0, 0, 0]]))
    assert radius.tolist() == pytest.approx([0.1651, 1.0, LARGEST, 2.0])


def test_photon_count_is_bounded() -> None:
    assert photon_count(1.0, 0.5) == MIN_PHOTONS
    assert MIN_PHOTONS < photon_count(1e5, 0.5) < photon_count(2e5, 0.5) < MAX_PHOTONS
    assert photon_count(1e9, 0.5) == MAX_PHOTONS


def test_realised_photoelectrons_conserve_the_expectation() -> None:
    count = 20_000
    columns = np.full(count, 100.0), np.full(count, 40.0), np.zeros(count)
    crossings = Crossings(np.zeros(count, np.int32), *columns)
    faint, _ = realise(random(1), crossings, np.full(count, 0.3))
    assert len(np.unique(faint)) == len(faint)  # no crossing twice
    assert len(faint) == pytest.approx(0.3 * count, abs=5 * math.sqrt(0.3 * 0.7 * count))
    bright, time = realise(random(2), crossings, np.full(count, 4.0))
    assert len(bright) == pytest.approx(4 * count, abs=5 * math.sqrt(4 * count))
    assert time.mean() == pytest.approx(100, abs=0.2)
    assert time.std() == pytest.approx(0.2 * 40, rel=0.1)
    assert time.min() > 60
