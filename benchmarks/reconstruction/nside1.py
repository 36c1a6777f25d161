"""Fit the 12 pixels of nside 1 from 7 seeds and print their cost and their minima.

    python benchmarks/reconstruction/nside1.py EVENT... [--table PATH] [--against CSV] [--order JSON...]

Times are CPU ms on one core. CSV (columns event, pixel, llh_best, ms_per_fit) holds the minima of another
implementation of the same likelihood, an event by its file's name without ``.i3.zst`` and the like. JSON files are
results of other scans of the first event (``nside-1``: ``columns``, ``data``), for the rank correlation of their pixels
with ours. ``--table`` may also name a table of path histograms (arrays ``fl`` and ``H``, 34 shells from 1.5 to 450 m).
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from skymap_scanner.detector.coordinates import equatorial_to_detector
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.sources import read_event
from skymap_scanner.healpix import pixel_to_radec
from skymap_scanner.reconstruction.locate import lowest_llh
from skymap_scanner.reconstruction.millipede import Millipede
from skymap_scanner.reconstruction.millipede.table import PhotonTable, encode
from skymap_scanner.reconstruction.protocol import EventFitter, Fit, Start
from skymap_scanner.scan.seeds import seed_positions

PIXELS = 12
SEEDS = 7

#: What an event's name does not include, at the end of its file's name.
SUFFIXES = {".i3", ".json", ".pkl", ".gz", ".bz2", ".xz", ".zst"}

#: Rows of another implementation, by event and pixel.
Others = Mapping[tuple[str, int], Mapping[str, str]]


@dataclass(frozen=True)
class Row:
    """One pixel: its 7 fits, and the cost of these and of their warm repetition (CPU ms a fit)."""

    pixel: int
    fits: Sequence[Fit]
    cold: float
    warm: float

    @property
    def best(self) -> Fit:
        """The fit of least -ln L; a failed one only if all have failed."""
        return min(self.fits, key=lowest_llh)

    @property
    def spread(self) -> float:
        """How far -ln L of the fits that did not fail lie apart; NaN if all have failed."""
        values = [fit.llh for fit in self.fits if math.isfinite(fit.llh)]
        return max(values) - min(values) if values else math.nan


def fit_pixel(fitter: EventFitter, event: PreparedEvent, pixel: int) -> Row:
    """Fit one pixel from all seeds, cold; then again, warm, from around the best."""
    ra, dec = pixel_to_radec(1, pixel)
    zenith, azimuth = equatorial_to_detector(ra, dec, event.mjd)
    starts = [
        Start(float(zenith), float(azimuth), position, float(event.vertex_time))
        for position in seed_positions(event.vertex, SEEDS)
    ]
    began = time.process_time()
    fits = [fitter.fit(start) for start in starts]
    cold = time.process_time() - began
    best = min(fits, key=lowest_llh)
    starts = [
        Start(float(zenith), float(azimuth), position, best.time, warm=True)
        for position in seed_positions(best.position, SEEDS)
    ]
    began = time.process_time()
    for start in starts:
        fitter.fit(start)
    warm = time.process_time() - began
    return Row(pixel, fits, cold / SEEDS * 1e3, warm / SEEDS * 1e3)


def table_of_histograms(path: Path) -> PhotonTable:
    """Make a table of smoothed histograms of fluence (shell, angle) and time, on eight times as many shells."""
    with np.load(path) as content:
        fluence, paths = content["fl"], content["H"]
    shells, angles, times = paths.shape
    log_fluence = gaussian_filter(np.log(np.maximum(fluence, 1e-30)), [0.0, 0.7], mode="nearest")
    shares = gaussian_filter(paths / paths.sum(2, keepdims=True), [0.7, 0.7, 0.5], mode="nearest")
    cdf = np.cumsum(shares, 2) / shares.sum(2, keepdims=True)
    centres = math.log(1.5) + (np.arange(shells) + 0.5) * math.log(450 / 1.5) / shells
    fine = np.linspace(centres[0], centres[-1], (shells - 1) * 8 + 1)

    def refine(values: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = values.reshape(shells, -1)
        return np.stack([np.interp(fine, centres, column) for column in flat.T], axis=1).reshape(-1, *values.shape[1:])

    cdf = np.maximum.accumulate(np.minimum(refine(cdf).astype(np.float32), 1).astype(np.float64), axis=2)
    cdf[:, :, -1] = 1
    density = np.exp(refine(log_fluence))
    return PhotonTable(
        radius=np.exp(fine),
        cos_psi=(np.arange(angles) + 0.5) * 2 / angles - 1,
        delay=np.exp(np.arange(times) * math.log(7000.0) / (times - 1)),
        fluence=density,
        fluence_error=0.01 * density,
        cdf=cdf,
        scattering=25.0,
        absorption=87.5,
    )


def order_of(path: Path) -> list[float]:
    """Return -ln L of the 12 pixels in a result of another scan."""
    result = json.loads(path.read_text())["nside-1"]
    columns = result.get("columns", ["index", "llh"])
    rows = sorted(result["data"], key=lambda row: row[columns.index("index")])
    return [float(row[columns.index("llh")]) for row in rows]


def event_name(path: Path) -> str:
    """Return the file's name without the suffixes of its format and compression."""
    while path.suffix in SUFFIXES:
        path = path.with_suffix("")
    return path.name


def read_others(path: Path) -> Others:
    """Read the rows of another implementation."""
    with path.open() as file:
        return {(line["event"], int(line["pixel"])): line for line in csv.DictReader(file)}


def report(name: str, rows: Sequence[Row], others: Others | None) -> None:
    """Print one event's table; ``others`` are the rows of ``--against``, if given."""
    if others is not None and not any(event == name for event, _ in others):
        names = sorted({event for event, _ in others})
        print(f"\nno row of --against names the event {name}; it has: {', '.join(names)}", end="")
    print(
        f"\n{name}\npixel      -ln L     other      diff  spread  cold ms  other  warm ms  evaluations  E_in GeV"
        "  losses"
    )
    for row in rows:
        other = (others or {}).get((name, row.pixel), {})
        known = float(other.get("llh_best", "nan"))
        evaluations = np.mean([fit.evaluations for fit in row.fits])
        print(
            f"{row.pixel:5d} {row.best.llh:10.2f} {known:9.2f} {row.best.llh - known:+9.2f} {row.spread:7.2f}"
            f" {row.cold:8.1f} {float(other.get('ms_per_fit', 'nan')):6.1f} {row.warm:8.1f} {evaluations:12.1f}"
            f" {row.best.energy_in:9.3g} {len(row.best.losses):7d}"
        )
    best = min(rows, key=lambda row: lowest_llh(row.best))
    print(
        f"best pixel {best.pixel}; {np.mean([row.cold for row in rows]):.1f} ms a fit,"
        f" warm {np.mean([row.warm for row in rows]):.1f} ms"
    )


def main() -> None:
    """Fit all events given and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", nargs="+", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--order", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    others = read_others(options.against) if options.against else None
    table = options.table
    if table is not None and "H" in np.load(table).files:
        with tempfile.NamedTemporaryFile(suffix=".npz", delete=False) as converted:
            converted.write(encode(table_of_histograms(table)))
        table = Path(converted.name)
    millipede = Millipede(photon_table=table)
    everything: list[Row] = []
    for path in options.events:
        event = prepare(read_event(str(path)))
        began = time.process_time()
        fitter = millipede.set_up(event)
        print(f"\nset-up {time.process_time() - began:.2f} s", end="")
        fitter.fit(Start(1.0, 1.0, tuple(event.vertex), float(event.vertex_time)))  # compile or load the kernels
        rows = [fit_pixel(fitter, event, pixel) for pixel in range(PIXELS)]
        report(event_name(path), rows, others)
        for other in options.order if path == options.events[0] else []:
            rank = spearmanr(order_of(other), [row.best.llh for row in rows]).statistic
            print(f"Spearman with {other.name}: {rank:.3f}")
        everything += rows
    cold, warm = np.mean([row.cold for row in everything]), np.mean([row.warm for row in everything])
    evaluations = np.mean([fit.evaluations for row in everything for fit in row.fits])
    print(f"\nall events: {cold:.1f} ms a fit, warm {warm:.1f} ms, {evaluations:.1f} evaluations a fit")


if __name__ == "__main__":
    main()
