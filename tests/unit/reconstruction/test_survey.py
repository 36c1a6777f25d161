"""What a first fit attains, and that fits far above it are cheaper and hardly worse."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.sources import read_event
from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.reconstruction.millipede import Millipede
from skymap_scanner.reconstruction.millipede.descent import EXACT, SHARE
from skymap_scanner.reconstruction.millipede.fitter import MillipedeFitter
from skymap_scanner.reconstruction.millipede.search import NOTHING, OF_TRACK, Clues
from skymap_scanner.reconstruction.millipede.survey import attain, line_fit
from skymap_scanner.reconstruction.protocol import Start

from .conftest import AZIMUTH, ZENITH


def clues(position: list[list[float]], time: list[float], charge: list[float]) -> Clues:
    places = np.array(position)
    return Clues(places, np.array(time), np.array(charge), places.mean(axis=0))


def fit(fitter: MillipedeFitter, event: PreparedEvent, zenith: float, azimuth: float) -> tuple[float, int]:
    found = fitter.fit(Start(zenith, azimuth, tuple(event.vertex.tolist()), event.vertex_time))
    return found.llh, found.evaluations


def test_line_fit_follows_a_point_at_any_speed() -> None:
    direction = np.array([0.6, 0.0, 0.8])
    way = np.array([0.0, 40.0, 130.0, 210.0])
    position = (np.array([10.0, -20.0, 30.0]) + way[:, None] * direction).tolist()
    for speed in (0.1, SPEED_OF_LIGHT):
        found = line_fit(clues(position, (way / speed).tolist(), [1.0, 3.0, 2.0, 1.0]))
        assert found is not None
        assert found.direction == pytest.approx(direction)
        assert found.vertex == pytest.approx(np.average(position, axis=0, weights=[1, 3, 2, 1]))


@pytest.mark.parametrize(
    ("position", "time", "charge"),
    [
        ([[0.0, 0.0, 0.0], [0.0, 0.0, 17.0]], [5.0, 5.0], [1.0, 1.0]),
        ([[0.0, 0.0, 0.0]], [5.0], [1.0]),
        ([[0.0, 0.0, 0.0], [0.0, 0.0, 17.0]], [5.0, 65.0], [0.0, -1.0]),
    ],
)
def test_line_fit_needs_charge_at_two_places_and_times(
    position: list[list[float]], time: list[float], charge: list[float]
) -> None:
    assert line_fit(clues(position, time, charge)) is None


def test_survey_without_a_line_fit_attains_nothing(fitter: MillipedeFitter) -> None:
    surfaces = fitter._surfaces
    one = Clues(
        *(column[:1] for column in (surfaces.clues.position, surfaces.clues.time, surfaces.clues.charge)),
        surfaces.clues.centre,
    )
    assert attain(replace(surfaces, clues=one)) == NOTHING


def test_survey_of_a_real_track_ends_near_its_minimum(shared: Path) -> None:
    fitter = Millipede().set_up(prepare(read_event(str(shared / "data/events/138632_31747601.json"))))
    attained = fitter._surfaces.attained
    assert attained.event + fitter._constant == pytest.approx(2278.9, abs=10.0)  # the best pixel of a scan
    assert attained.smeared < 2200.0  # 2500 at the best pixel of nside 4


def test_steps_far_above_must_gain_a_share_of_the_height() -> None:
    how = OF_TRACK._replace(attained=100.0)
    assert how.least_gain(100.0 + EXACT) == how.gain
    assert how.least_gain(1100.0 + EXACT) == pytest.approx(SHARE * 1000.0)
    assert OF_TRACK.least_gain(1e9) == OF_TRACK.gain
    assert how.least_gain(math.nan) == how.gain


def test_fits_near_the_minimum_are_as_good_as_without_a_survey(event: PreparedEvent, fitter: MillipedeFitter) -> None:
    surfaces = fitter._surfaces
    exact = MillipedeFitter(event, replace(surfaces, attained=NOTHING), fitter._reference, "exact")
    best, _ = fit(fitter, event, ZENITH, AZIMUTH)
    assert fit(exact, event, ZENITH, AZIMUTH)[0] == pytest.approx(best, abs=0.1)


def test_fits_far_above_are_cheaper_and_hardly_worse(event: PreparedEvent, fitter: MillipedeFitter) -> None:
    surfaces = fitter._surfaces
    exact = MillipedeFitter(event, replace(surfaces, attained=NOTHING), fitter._reference, "exact")
    best, _ = fit(fitter, event, ZENITH, AZIMUTH)
    spent = 0, 0
    for zenith, azimuth in ((math.pi - ZENITH, AZIMUTH + math.pi), (ZENITH, AZIMUTH + 2.0), (ZENITH, AZIMUTH - 2.0)):
        (rough, less), (right, more) = (fit(one, event, zenith, azimuth) for one in (fitter, exact))
        assert right > best + 2 * EXACT
        assert rough - best == pytest.approx(right - best, rel=0.1)
        spent = spent[0] + less, spent[1] + more
    assert spent[0] < 0.97 * spent[1]
