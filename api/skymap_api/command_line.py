"""From the spec of a SkymapScan to the options of the scanner's commands.

The operator writes these options into pods; ``skymap-scanner run`` reads a manifest by way of them, so that a
manifest means the same on one machine and on a cluster.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the models of the resource take 0.2 s, which the roles can do without
    from skymap_api.resource.event import Simulation
    from skymap_api.resource.spec import Output, SkymapScanSpec


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """The options of ``producer`` and ``run`` that decide the map, each with its value."""

    levels: str
    seeds: int
    first_seeds: int
    predictive: float
    reconstruction: str
    parameters: tuple[str, ...]
    area: str | None
    pixel_list: str | None
    pulses: str | None
    keep_all_seeds: bool
    calibrate: int

    @classmethod
    def of(cls, spec: SkymapScanSpec) -> ScanOptions:
        """Return the options for a spec."""
        area, fit = spec.area, spec.reconstruction
        return cls(
            levels=" ".join(map(str, spec.levels)),
            seeds=spec.seeds,
            first_seeds=spec.first_seeds,
            predictive=spec.predictive,
            reconstruction=fit.name,
            parameters=tuple(f"{key}={json.dumps(value)}" for key, value in sorted(fit.parameters.items())),
            area=None if area is None else f"{area.nside},{area.pixel},{area.pixels}",
            pixel_list=None if spec.pixels is None else ",".join(map(str, sorted(set(spec.pixels)))),
            pulses=spec.event.pulse_series,
            keep_all_seeds=spec.output.keep_all_seeds,
            calibrate=spec.calibrate,
        )

    def words(self) -> list[str]:
        """Return the options as words of a command."""
        words = ["--levels", self.levels, "--seeds", str(self.seeds), "--first-seeds", str(self.first_seeds)]
        words += ["--predictive", repr(self.predictive), "--reconstruction", self.reconstruction]
        words += [word for parameter in self.parameters for word in ("--parameter", parameter)]
        given = {"--area": self.area, "--pixel-list": self.pixel_list, "--pulses": self.pulses}
        words += [word for option, value in given.items() if value is not None for word in (option, value)]
        words += ["--keep-all-seeds"] if self.keep_all_seeds else []
        return [*words, "--calibrate", str(self.calibrate)] if self.calibrate else words


def i3_suffix(output: Output) -> str:
    """Return the suffix of the .i3 file, which chooses its compression."""
    return ".i3" if output.compression == "none" else f".i3.{output.compression}"


def format_words(output: Output) -> list[str]:
    """Return the options of ``saver`` for the result formats."""
    return [word for name in output.formats or () for word in ("--format", name)]


def worker_words(spec: SkymapScanSpec) -> list[str]:
    """Return the options of ``worker`` that limit the tries and the time of a fit."""
    seconds = float(spec.reconstruction.max_task_seconds)
    return ["--max-attempts", str(spec.retries.task_attempts), "--max-task-seconds", repr(seconds)]


def simulate_words(event: Simulation) -> list[str]:
    """Return the options of ``simulate``."""
    direction = [(name, value) for name, value in (("--ra", event.ra), ("--dec", event.dec)) if value is not None]
    words = ["--topology", event.topology, "--energy", repr(event.energy), "--seed", str(event.seed)]
    # With "=", so that a negative declination is not read as an option.
    return [*words, *(f"{option}={value!r}" for option, value in direction)]
