"""Calibrations: thresholds of 2 delta ln L from re-simulated events, and which of them apply to a fit.

A calibration is a JSON file in ``calibrations/``, made by ``python -m benchmarks.coverage.calibrate``. It belongs to
one likelihood, named by its identity (``Fit.likelihood``), and has thresholds by what the *fit* shows, topology and
energy, since nobody knows the truth of a real event. Where none applies, Wilks' theorem is used, and its rule says why.

On request a scan simulates its own event again; `rule_of_event` makes thresholds for this event alone from that.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from itertools import combinations
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from skymap_api.validation_errors import describe_errors
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import Topology
from skymap_scanner.healpix import Floats
from skymap_scanner.results.rule import MAX_THRESHOLD, ContourRule, calibrated_rule, uncalibrated

#: Fewest re-simulations behind a threshold that is applied, of events in general or of one event. The probability
#: below the threshold of rank k of n is distributed as Beta(k, n + 1 - k). For 50, it is 44 % to 58 % in the 50 %
#: region and 86 % to 94 % in the 90 % region (1 sigma).
MIN_EVENTS = 50
#: A fit is a cascade if this share of its energy lies this near (m) to its greatest loss. Losses of one shower that
#: lies between the places of the fit's losses are shared by neighbours, two of 15 m to either side.
CASCADE_SHARE, CASCADE_REACH = 0.9, 30.0

Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[ -~]+$")]
Positive = Annotated[float, Field(gt=0, le=MAX_THRESHOLD, allow_inf_nan=False)]
Energy = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def tev(energy: float) -> str:
    """Return an energy (GeV) in TeV, with three significant figures and without an exponent up to 100 PeV."""
    return f"{float(f'{energy / 1e3:.3g}'):g}"


class Threshold(_Model):
    """A threshold of 2 delta ln L."""

    value: Positive
    """The threshold: the true direction is below it as often as the credible level says."""
    low: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Lower end of its 68 % interval, from the number of events."""
    high: Positive
    """Upper end of that interval."""


def threshold(deltas: Floats, level: float) -> Threshold:
    """Return the threshold below which 2 delta ln L of the truth, (n,), lies with probability ``level``.

    It is the order statistic of rank (n + 1) ``level``, rounded up: a further event of the same kind lies below it at
    least as often as ``level`` says, whatever the distribution (Vovk, Gammerman and Shafer, "Algorithmic Learning in a
    Random World", 2005). The interval is that of the ranks one standard deviation away: how many of n events lie below
    the true threshold is binomial. A truth that is fitted better than the best fit, below 0, counts as 0. Raises
    ValueError if there are too few events for this level.
    """
    values = np.sort(np.maximum(deltas, 0.0))
    count = len(values)
    rank = math.ceil((count + 1) * level - 1e-9)
    if not 0 < rank <= count:
        raise ValueError(f"{count} events are too few for a threshold of {level:.0%}")
    spread = math.sqrt(count * level * (1 - level))
    low, high = (min(max(round(rank + side * spread), 1), count) for side in (-1, 1))
    return Threshold(value=float(values[rank - 1]), low=float(values[low - 1]), high=float(values[high - 1]))


class EnergyRange(_Model):
    """The thresholds of fits of one topology in a range of energy."""

    topology: Topology
    """Topology that the fit shows."""
    energy: tuple[Energy, Energy]
    """Sum of the fitted losses (GeV), from the first number up to the second."""
    events: Annotated[int, Field(ge=1)]
    """Number of re-simulated events behind the thresholds: behind the one that fewer were behind, if they differ."""
    half: Threshold
    """Of the 50 % region."""
    ninety: Threshold
    """Of the 90 % region."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not self.energy[0] < self.energy[1]:
            raise ValueError("energy: the second number must be greater than the first")
        if not self.half.value < self.ninety.value:
            raise ValueError("ninety: must be greater than half")
        return self

    def holds(self, topology: Topology, energy: float) -> bool:
        """Return whether a fit (energy in GeV) belongs to this range."""
        return topology == self.topology and self.energy[0] <= energy < self.energy[1]

    @property
    def text(self) -> str:
        """The range in words: ``cascades of 30 to 100 TeV``."""
        low, high = map(tev, self.energy)
        return f"{self.topology}s of {low} to {high} TeV"


class Calibration(_Model):
    """A calibration, as its file holds it."""

    format: Literal[1] = 1
    """Version of this form."""
    version: Text
    """Version of the calibration."""
    likelihood: Text
    """Identity of the likelihood that it was made with."""
    command: Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[ -~]+$")]
    """How it was made."""
    scanner_version: Text
    """Version of the scanner that made it."""
    simulation: Text
    """What was simulated, and what varied from event to event."""
    simulated: Annotated[int, Field(ge=1)]
    """Number of events."""
    failed: Annotated[int, Field(ge=0)]
    """Those among them without a fit, which are behind no threshold."""
    ranges: Annotated[tuple[EnergyRange, ...], Field(min_length=1, max_length=100)]
    """The thresholds."""

    @model_validator(mode="after")
    def _separate(self) -> Self:
        for a, b in combinations(self.ranges, 2):
            if a.topology == b.topology and a.energy[0] < b.energy[1] and b.energy[0] < a.energy[1]:
                raise ValueError(f"ranges: {a.text} and {b.text} overlap")
        return self

    def to_json(self) -> bytes:
        """Encode as the file holds it."""
        return (self.model_dump_json(indent=2) + "\n").encode()


@dataclass(frozen=True)
class CalibrationFile:
    """A calibration with the name and the digest of its file."""

    name: str
    digest: str
    content: Calibration

    @property
    def source(self) -> str:
        """The file in words, with version and digest."""
        return f"{self.name}, version {self.content.version}, sha256 {self.digest[:16]}: {self.content.command}"


def read_calibration(name: str, content: bytes) -> CalibrationFile:
    """Decode the content of a calibration's file; raises InputError which names the field that is wrong."""
    try:
        calibration = Calibration.model_validate_json(content)
    except ValidationError as error:
        raise InputError(f"{name}: not a calibration ({describe_errors(error, most=1)})") from error
    return CalibrationFile(name, hashlib.sha256(content).hexdigest(), calibration)


@lru_cache(maxsize=1)
def shipped_calibrations() -> tuple[CalibrationFile, ...]:
    """Return the calibrations of this package, by name."""
    files = [file for file in (resources.files(__package__) / "calibrations").iterdir() if file.name.endswith(".json")]
    return tuple(read_calibration(file.name, file.read_bytes()) for file in sorted(files, key=lambda file: file.name))


def topology_of_losses(position: Floats, energy: Floats) -> Topology | None:
    """Return which topology the losses of a fit show: positions (n, 3) in m, energies (n,) in GeV.

    None if they have no energy.
    """
    total = float(energy.sum())
    if not total > 0:
        return None
    greatest = position[int(np.argmax(energy))]
    near = np.linalg.norm(position - greatest, axis=1) <= CASCADE_REACH
    return "cascade" if float(energy[near].sum()) >= CASCADE_SHARE * total else "track"


def choose_rule(
    calibrations: Sequence[CalibrationFile], likelihood: str, topology: Topology | None, energy: float
) -> ContourRule:
    """Return the rule for a best fit: of the calibration for its likelihood, topology and energy (GeV, all losses).

    Where none applies, or too few events are behind it, it is Wilks' rule with the reason.
    """
    if not likelihood:
        return uncalibrated("the reconstruction names no likelihood")
    by_likelihood: Mapping[str, CalibrationFile] = {file.content.likelihood: file for file in calibrations}
    if likelihood not in by_likelihood:
        return uncalibrated(f"there is no calibration of the likelihood '{likelihood}'")
    file = by_likelihood[likelihood]
    if topology is None:
        return uncalibrated("the best fit has no energy losses")
    found = next((one for one in file.content.ranges if one.holds(topology, energy)), None)
    if found is None:
        return uncalibrated(f"{file.name} has no {topology}s of {tev(energy)} TeV")
    if found.events < MIN_EVENTS:
        return uncalibrated(f"{file.name} has only {found.events} {found.text}, fewer than {MIN_EVENTS}")
    statement = (
        f"Contours calibrated with {found.events} re-simulated {found.text} ({file.content.simulation}): statistical, "
        "and systematic as far as varied."
    )
    return calibrated_rule(found.half.value, found.ninety.value, statement, file.source)


def rule_of_event(deltas: Sequence[float], likelihood: str, otherwise: ContourRule) -> ContourRule:
    """Return the rule from re-simulations of one event: -ln L at the truth above the best fit of each (NaN: no fit).

    The order does not matter. Where too few were fitted, or the thresholds do not rise from 0, it is the rule
    ``otherwise`` with the reason.
    """
    fitted = np.array([2 * delta for delta in deltas if not math.isnan(delta)])
    if len(fitted) < MIN_EVENTS:
        return _not_of_event(otherwise, f"{len(fitted)} of {len(deltas)} re-simulations have a fit")
    try:
        half, ninety = threshold(fitted, 0.5), threshold(fitted, 0.9)
    except ValueError:
        return _not_of_event(otherwise, "2 delta ln L of its re-simulations is 0, or without bound")
    if not half.value < ninety.value:
        return _not_of_event(otherwise, "2 delta ln L of its re-simulations is always the same")
    statement = (
        f"Contours calibrated with {len(fitted)} re-simulations of this event (ice model, scattering, absorption, DOM "
        "efficiency, hole ice and anisotropy varied): statistical, and systematic as far as varied."
    )
    source = (
        f"this scan, {len(deltas)} re-simulations of its best fit, {len(deltas) - len(fitted)} without a fit; 68% "
        f"intervals {half.low:.3g} to {half.high:.3g} (50%), {ninety.low:.3g} to {ninety.high:.3g} (90%)"
    )
    return calibrated_rule(half.value, ninety.value, statement, f"{source}; {likelihood}" if likelihood else source)


def _not_of_event(rule: ContourRule, reason: str) -> ContourRule:
    return replace(rule, statement=f"{rule.statement} Not calibrated for this event: {reason}.")
