"""Whole simulated events: their frames and truth, their preparation by the scanner, and rejected arguments."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skymap_scanner.detector.coordinates import angular_separation, detector_to_equatorial, travel_direction
from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.detector.ice import ice_model
from skymap_scanner.errors import I3Error, InputError
from skymap_scanner.event.lookup import find_one, nearest_first
from skymap_scanner.event.model import Event
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.selection import EventSelection
from skymap_scanner.event.sources import decode_event, read_event
from skymap_scanner.i3 import FrameWriter, I3EventHeader, I3String, Pulses, resolve_pulses
from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.reconstruction.millipede.constants import C_ICE, TIME_SMEAR
from skymap_scanner.reconstruction.millipede.photon_model import PhotonModel
from skymap_scanner.roles.producer.planning import SIMULATION, event_kind
from skymap_scanner.simulation import Truth, read_truth, simulate
from skymap_scanner.simulation.losses import cascade_losses
from skymap_scanner.simulation.photoelectrons import draw_photoelectrons
from skymap_scanner.simulation.readout import MERGED
from skymap_scanner.simulation.simulate import TRIGGER_TIME
from skymap_scanner.simulation.simulated_frames import event_header

CASCADE: dict[str, Any] = {"energy": 2e4, "seed": 7, "vertex": (30.0, -20.0, -250.0), "ra": 83.6, "dec": 22.0}
TRACK: dict[str, Any] = {"energy": 3e4, "seed": 8, "vertex": (0.0, 0.0, 350.0), "ra": 77.4, "dec": 5.7}


def encode(event: Event) -> bytes:
    return b"".join(frame.to_bytes() for frame in event.frames.values())


def truth_of(event: Event) -> Truth:
    truth = read_truth(event.frames["P"])
    assert truth is not None
    return truth


def pulses_of(event: Event) -> Pulses:
    return resolve_pulses("SplitInIcePulses", nearest_first(event.frames))


@pytest.fixture(scope="module")
def cascade() -> Event:
    return simulate("cascade", **CASCADE)


@pytest.fixture(scope="module")
def track() -> Event:
    return simulate("track", **TRACK)


def test_equal_arguments_give_equal_bytes(cascade: Event) -> None:
    assert encode(simulate("cascade", **CASCADE)) == encode(cascade)
    other = simulate("cascade", **CASCADE | {"seed": 9})
    assert pulses_of(other).time.tolist() != pulses_of(cascade).time.tolist()


def test_random_arguments_do_not_depend_on_given_ones() -> None:
    drawn = simulate("track", energy=1e5, seed=21)
    truth = truth_of(drawn)
    assert abs(truth.vertex[2]) < 520
    again = simulate("track", energy=1e5, seed=21, ra=truth.ra, dec=truth.dec)
    assert truth_of(again).vertex == truth.vertex
    assert len(pulses_of(again)) == pytest.approx(len(pulses_of(drawn)), rel=0.01)


@pytest.mark.parametrize("kind", ["cascade", "track"])
def test_event_round_trips_through_a_file(kind: str, cascade: Event, track: Event, tmp_path: Path) -> None:
    event = {"cascade": cascade, "track": track}[kind]
    path = tmp_path / "event.i3.zst"
    with FrameWriter(path) as writer:
        for frame in event.frames.values():
            writer.write(frame)
    read = read_event(str(path))
    assert read.name == event.name
    assert encode(read) == encode(event)
    assert event_kind(read.name) == SIMULATION


def test_event_over_the_new_year_ends_in_the_next() -> None:
    last_moment = 58119.0 - 1e-10  # 9 us before 2018
    header = event_header(7, last_moment, (0.0, 20_000.0))
    assert header.start_time.utc_year == 2017
    assert header.end_time.utc_year == 2018
    assert 0 < header.end_time.utc_daq_time < 200_000


def test_event_name_contains_run_event_and_simulation(cascade: Event) -> None:
    assert cascade.name == "run00000001.evt000000000007.simulation"
    header = find_one(cascade.frames, "I3EventHeader", I3EventHeader)
    assert (header.run_id, header.event_id) == (1, 7)
    assert header.start_time.mjd == 60310.0
    assert header.end_time.utc_daq_time > header.start_time.utc_daq_time


@pytest.mark.parametrize(("kind", "given"), [("cascade", CASCADE), ("track", TRACK)])
def test_truth_equals_the_arguments(kind: str, given: dict[str, Any], cascade: Event, track: Event) -> None:
    truth = truth_of({"cascade": cascade, "track": track}[kind])
    assert (truth.topology, truth.ra, truth.dec) == (kind, given["ra"], given["dec"])
    assert truth.vertex == given["vertex"]
    assert truth.energy == given["energy"]
    sky = detector_to_equatorial(truth.zenith, truth.azimuth, 60310.0)
    asked = math.radians(given["ra"]), math.radians(given["dec"])
    assert math.degrees(angular_separation(*sky, *asked)) < 1e-5
    assert truth.losses.energy.sum() <= given["energy"] * (1 + 1e-9)
    assert truth.ice == "spice_mie"


def test_track_losses_lie_on_the_track_in_space_and_time(track: Event) -> None:
    truth = truth_of(track)
    losses = track.frames["P"]["MCLosses"].value
    along = travel_direction(truth.zenith, truth.azimuth)
    for loss in losses:
        s = (loss.time - truth.time) * SPEED_OF_LIGHT
        place = np.array(truth.vertex) + s * along
        assert np.allclose(place, (loss.pos.x, loss.pos.y, loss.pos.z), atol=0.01)
        assert np.abs(place).max() <= 800.01
    assert sum(loss.energy for loss in losses) == pytest.approx(track.frames["P"]["MCDepositedEnergy"].value, abs=0.01)


def test_missing_truth_is_none_and_damaged_truth_an_error(cascade: Event) -> None:
    frame = cascade.frames["P"].copy()
    frame["MCTopology"] = I3String("shower")
    with pytest.raises(I3Error, match="shower"):
        read_truth(frame)
    del frame["MCLosses"]
    with pytest.raises(I3Error, match="MCLosses"):
        read_truth(frame)
    assert read_truth(cascade.frames["Q"]) is None


def test_dom_charge_is_poisson_distributed_around_its_expectation() -> None:
    geometry, ice = ic86(), ice_model()
    vertex, along = np.array([30.0, -20.0, -250.0]), np.array([0.6, 0.0, -0.8])
    losses = cascade_losses(2e4)
    expected = PhotonModel(geometry, ice).expected_charge(vertex[None], along, losses.energy)[0]
    random = np.random.Generator(np.random.PCG64(1))
    counts = np.zeros(len(expected))
    repeats = 40
    for _ in range(repeats):
        dom, _ = draw_photoelectrons(random, losses, vertex, along, geometry, ice)
        counts += np.bincount(dom, minlength=len(expected))
    total = repeats * expected.sum()
    assert abs(counts.sum() - total) < 4 * math.sqrt(total)
    bright = repeats * expected > 25
    pull = (counts[bright] - repeats * expected[bright]) / np.sqrt(repeats * expected[bright])
    assert abs(pull.mean()) < 4 / math.sqrt(bright.sum())
    assert pull.std() == pytest.approx(1, abs=4 / math.sqrt(2 * bright.sum()))
    assert counts[geometry.dead].sum() == 0


@pytest.mark.parametrize("kind", ["cascade", "track"])
def test_no_light_arrives_before_direct_light(kind: str, cascade: Event, track: Event) -> None:
    """Photoelectrons are drawn again from the event's own losses; none may arrive earlier than the smear allows."""
    geometry, truth = ic86(), truth_of({"cascade": cascade, "track": track}[kind])
    along, vertex = travel_direction(truth.zenith, truth.azimuth), np.array(truth.vertex)
    random = np.random.Generator(np.random.PCG64(3))
    dom, time = draw_photoelectrons(random, truth.losses, vertex, along, geometry, ice_model())
    places = vertex + truth.losses.s[:, None] * along
    hit, first = np.unique(dom), []
    for one in hit:
        distance = np.linalg.norm(geometry.position[one] - places, axis=1)
        first.append((truth.losses.s / SPEED_OF_LIGHT + distance / C_ICE).min())
    earliest = np.full(len(geometry.om), np.inf)
    np.minimum.at(earliest, dom, time)
    early = earliest[hit] - np.array(first)
    # arrival times are smeared in the ice of a class, whose scattering length may be a fifth less
    assert early.min() >= -1.2 * TIME_SMEAR
    assert early.min() < TIME_SMEAR  # the closest DOMs detect direct light


def test_readout_has_the_objects_of_a_real_event(cascade: Event) -> None:
    prepared, pulses, geometry = prepare(cascade), pulses_of(cascade), ic86()
    start, stop = prepared.window
    assert start == TRIGGER_TIME - 4000
    assert stop >= TRIGGER_TIME + 6000
    assert pulses.time.min() >= start - 0.5
    assert pulses.time.max() <= stop + 0.5
    local = (pulses.flags & 1) != 0
    assert set(pulses.flags.tolist()) == {4, 7}
    assert -0.5 <= pulses.time[local & (pulses.time > TRIGGER_TIME - 1)].min() - TRIGGER_TIME < MERGED + 0.5
    dead = {(int(s), int(o)) for s, o in zip(geometry.string[geometry.dead], geometry.om[geometry.dead], strict=True)}
    assert dead.isdisjoint(zip(pulses.string.tolist(), pulses.om.tolist(), strict=True))
    # before the light there is only noise, at its rate
    quiet = int((pulses.time < TRIGGER_TIME - 500).sum())
    expected = geometry.noise[~geometry.dead].sum() * 3500e-9
    assert abs(quiet - expected) < 4 * math.sqrt(expected)


def test_deepcore_doms_detect_light() -> None:
    event = simulate("cascade", energy=2e4, seed=3, vertex=(75.0, -60.0, -350.0), ra=0.0, dec=0.0)
    pulses = pulses_of(event)
    assert pulses.charge[pulses.string >= 79].sum() > 0.2 * pulses.charge.sum()


def test_prepared_vertex_is_near_the_truth(cascade: Event) -> None:
    prepared = prepare(cascade)
    assert np.linalg.norm(prepared.vertex - truth_of(cascade).vertex) < 40
    assert abs(prepared.vertex_time - truth_of(cascade).time) < 400


def test_light_is_proportional_to_energy() -> None:
    faint, bright = (simulate("cascade", **CASCADE | {"energy": energy}) for energy in (1e4, 1e5))
    noise = 55  # approximate dark noise in the window (pe)
    ratio = (pulses_of(bright).charge.sum() - noise) / (pulses_of(faint).charge.sum() - noise)
    assert ratio == pytest.approx(10, rel=0.05)


def test_ice_model_changes_the_event(cascade: Event) -> None:
    other = simulate("cascade", **CASCADE, ice="spice_lea")
    assert truth_of(other).ice == "spice_lea"
    assert pulses_of(other).charge.sum() != pulses_of(cascade).charge.sum()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"energy": 10.0}, "would not have triggered.*more energy than 10 GeV"),
        ({"vertex": (790.0, 790.0, 790.0)}, "would not have triggered.*vertex nearer"),
        ({"vertex": (900.0, 0.0, 0.0)}, "farther than 800 m"),
        ({"vertex": (math.nan, 0.0, 0.0)}, "farther than 800 m"),
        ({"energy": -1.0}, "energy -1.0 is not"),
        ({"energy": math.nan}, "energy nan is not"),
        ({"energy": 1e9}, "photoelectrons, more than"),
        ({"dec": 91.0}, "dec 91.0 is not"),
        ({"ra": math.inf}, "ra inf is not"),
        ({"ra": None}, "both ra and dec"),
        ({"seed": -1}, "seed -1 is not"),
        ({"seed": 2**32}, "seed 4294967296 is not"),
        ({"ice": "blue"}, "no ice model is called 'blue'"),
        ({"mjd": math.nan}, "MJD nan"),
    ],
)
def test_impossible_values_are_rejected_with_a_reason(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate("cascade", **CASCADE | changed)


def test_unknown_topology_is_rejected() -> None:
    with pytest.raises(InputError, match="choose track or cascade"):
        simulate("comet", **CASCADE)  # type: ignore[arg-type]


def test_simulated_event_is_selected_in_a_stream(cascade: Event) -> None:
    assert decode_event(io.BytesIO(encode(cascade)), "a stream", EventSelection(1, 7)).name == cascade.name
