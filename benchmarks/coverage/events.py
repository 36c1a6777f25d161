"""The events of a run: what is simulated, and with which physics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from skymap_scanner.errors import InputError, ReconstructionError
from skymap_scanner.event.demo import demo_event_path
from skymap_scanner.event.model import PreparedEvent, Topology
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.sources import read_event
from skymap_scanner.reconstruction.protocol import EventFitter, Reconstruction
from skymap_scanner.simulation import Truth, Variation, VariedPhysics, draw_variation, read_truth, simulate
from skymap_scanner.simulation.truth import Light

#: Events that do not trigger are drawn again, at most so often.
ATTEMPTS = 20
#: Where the light of a run comes from, in words.
LIGHTS = {
    "table": "table light",
    "propagated": "propagated light",
    "both": "table light and propagated light by halves",
}


class EventError(Exception):
    """One event cannot be drawn or fitted: its record says so, and the run goes on."""


@dataclass(frozen=True)
class Physics:
    """What light does in the simulation: as in this ice, or ``varied``, differently in each event.

    ``light``: drawn from the table of the fit, of photons that are ``propagated`` independently of it, or ``both``:
    from the table in events of even number, propagated in the others.
    """

    varied: bool
    ice: str = "spice_mie"
    light: Light | Literal["both"] = "table"

    def light_of(self, number: int) -> Light:
        """Return where the light of the ``number``-th event of a topology comes from."""
        if self.light == "both":
            return "propagated" if number % 2 else "table"
        return self.light


@dataclass(frozen=True)
class Case:
    """What to simulate: the ``number``-th event of a topology; its energy (GeV) is drawn evenly in the logarithm."""

    topology: Topology
    number: int
    master: int
    energies: tuple[float, float]

    @property
    def key(self) -> str:
        """The case in a word."""
        return f"{self.topology}-{self.number}"

    def draw(self, attempt: int) -> tuple[float, int]:
        """Return energy (GeV) and seed of an attempt."""
        sequence = np.random.SeedSequence([self.master, self.topology == "track", self.number, attempt])
        random = np.random.Generator(np.random.PCG64(sequence))
        low, high = self.energies
        return float(low * (high / low) ** random.random()), int(random.integers(2**32))


def make_cases(tracks: int, cascades: int, master: int, energies: tuple[float, float]) -> list[Case]:
    """Return the cases of a run, tracks and cascades in turn: those of a smaller run are among them."""
    counts: dict[Topology, int] = {"track": tracks, "cascade": cascades}
    return [
        Case(topology, number, master, energies)
        for number in range(max(counts.values()))
        for topology, count in counts.items()
        if number < count
    ]


def draw_event(case: Case, physics: Physics) -> tuple[PreparedEvent, Truth, int]:
    """Draw until an event triggers; return it, its truth and how many did not.

    A case has the same direction, vertex and energy in all physics, unless it triggers in one of them only.
    Raises EventError if none of `ATTEMPTS` events triggers, or nothing of the one that does can be fitted.
    """
    for attempt in range(ATTEMPTS):
        energy, seed = case.draw(attempt)
        sequence = np.random.SeedSequence([case.master, case.topology == "track", case.number, attempt, 1])
        drawn = VariedPhysics(physics.ice, Variation())
        if physics.varied:
            drawn = draw_variation(np.random.Generator(np.random.PCG64(sequence)))
        try:
            event = simulate(
                case.topology,
                energy=energy,
                seed=seed,
                ice=drawn.ice,
                variation=drawn.variation,
                light=physics.light_of(case.number),
            )
        except InputError:
            continue
        truth = read_truth(event.frames["P"])
        assert truth is not None  # noqa: S101 - it has just been simulated
        try:
            return prepare(event), truth, attempt
        except InputError as error:
            raise EventError(str(error)) from error
    raise EventError(f"none of {ATTEMPTS} events triggered; draw from higher energies")


def set_up(reconstruction: Reconstruction, event: PreparedEvent) -> EventFitter:
    """Set up the fits of an event.

    Raises EventError if the reconstruction cannot fit this event, ReconstructionError if not even the demo event: then
    the settings or this machine are at fault.
    """
    try:
        return reconstruction.set_up(event)
    except ReconstructionError as error:
        reconstruction.set_up(prepare(read_event(str(demo_event_path()))))
        raise EventError(str(error)) from error


def drawn_record(case: Case, prepared: PreparedEvent, truth: Truth, attempts: int) -> dict[str, Any]:
    """Return the part of an event's record that says what was simulated (degrees, GeV, m, PE)."""
    return {
        "key": case.key,
        "topology": case.topology,
        "seed": prepared.header.event_id,
        "not_triggered": attempts,
        "energy": truth.energy,
        "deposited": float(truth.losses.energy.sum()),
        "ice": truth.ice,
        "light": truth.light,
        "variation": truth.variation.as_dict(),
        "ra": truth.ra,
        "dec": truth.dec,
        "zenith": math.degrees(truth.zenith),
        "vertex": list(truth.vertex),
        "charge": float(prepared.pulses.charge.sum()),
        "doms": len(list(prepared.pulses.doms())),
    }


def failed_record(case: Case, physics: Physics, reason: str) -> dict[str, Any]:
    """Return the record of an event without a fit, with the reason."""
    light = physics.light_of(case.number)
    return {"key": case.key, "topology": case.topology, "light": light, "failed": reason, "cpu": 0.0}
