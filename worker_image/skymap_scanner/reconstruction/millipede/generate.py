"""Make the photon table: ``python -m skymap_scanner.reconstruction.millipede.generate -o photon_table.npz``.

The defaults make the table that comes with the package (about 14 minutes of one core). The photons go in batches, each
with its own seed, so that the result does not depend on the number of processes and the scatter of the batches gives
the error.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from skymap_scanner.reconstruction.millipede.constants import TABLE_ABSORPTION, TABLE_SCATTERING
from skymap_scanner.reconstruction.millipede.photon_mc import Binning, simulate
from skymap_scanner.reconstruction.millipede.table import PhotonTable, encode, find_fault

PHOTONS = 10_000_000
BATCHES = 20
SEED = 20131110  # any number; this one is part of the shipped table


def make_table(
    photons: int = PHOTONS, seed: int = SEED, batches: int = BATCHES, binning: Binning | None = None, processes: int = 1
) -> PhotonTable:
    """Simulate ``photons`` photons in ``batches`` equal batches and make their table."""
    binning = binning or Binning()
    each = photons // batches
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(batches)]
    run = partial(simulate, binning=binning)
    if processes == 1:
        paths = list(map(run, repeat(each), seeds))
    else:
        with ProcessPoolExecutor(processes) as pool:
            paths = list(pool.map(run, repeat(each), seeds))
    origin = {"photons": each * batches, "seed": seed, "batches": batches}
    return table_of_paths(np.array(paths), each, binning, origin)


def table_of_paths(paths: NDArray[np.float64], photons: int, binning: Binning, origin: dict[str, int]) -> PhotonTable:
    """Turn the weighted paths of batches of ``photons`` photons, (batch, radius, angle, time), into a table."""
    edges = binning.r_min * np.exp(binning.log_step * np.arange(binning.radii + 1))
    volume = 4 / 3 * np.pi * np.diff(edges**3)[:, None] / binning.angles
    fluences = paths.sum(axis=3) / (photons * volume)
    mean = fluences.mean(axis=0)
    to_centre = centre_over_mean(mean, binning.log_step)
    total = paths.sum(axis=0)
    cdf = (np.cumsum(total, axis=2) / total.sum(axis=2, keepdims=True)).astype(np.float32).astype(np.float64)
    cdf[:, :, -1] = 1
    return PhotonTable(
        radius=np.sqrt(edges[1:] * edges[:-1]),
        cos_psi=(np.arange(binning.angles) + 0.5) * 2 / binning.angles - 1,
        delay=np.exp(binning.time_step * np.arange(binning.times)),
        fluence=mean * to_centre,
        fluence_error=fluences.std(axis=0, ddof=1) / np.sqrt(len(paths)) * to_centre,
        cdf=np.minimum(cdf, 1),
        scattering=TABLE_SCATTERING,
        absorption=TABLE_ABSORPTION,
        origin=origin,
    )


def centre_over_mean(mean: NDArray[np.float64], log_step: float) -> NDArray[np.float64]:
    """Return the fluence at the centre of a shell (of ln r) divided by its ``mean`` over the shell, (radius, angle).

    Within a shell the fluence goes like r^s; the mean is weighted by volume. Far out, where light falls steeply, the
    mean is up to 20 % too high.
    """
    slope = np.gradient(np.log(np.maximum(mean, 1e-300)), log_step, axis=0)

    def spread(power: NDArray[np.float64] | float) -> NDArray[np.float64]:
        half = np.asarray(power) * log_step / 2
        return np.where(np.abs(half) < 1e-6, 1.0, np.sinh(half) / np.where(half == 0, 1.0, half))

    return spread(3.0) / spread(slope + 3)


@click.command(help=__doc__)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="photon_table.npz")
@click.option("--photons", type=click.IntRange(1000), default=PHOTONS, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=SEED, show_default=True)
@click.option("--batches", type=click.IntRange(2), default=BATCHES, show_default=True)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, help="They change no bit.")
def main(output: Path, photons: int, seed: int, batches: int, processes: int) -> None:
    """Make a table and write it."""
    table = make_table(photons, seed, batches, processes=processes)
    fault = find_fault(table)
    if fault:
        raise click.ClickException(f"{fault}: more photons are needed")
    output.write_bytes(encode(table))
    error = np.median(table.fluence_error / table.fluence)
    click.echo(f"{output}: {output.stat().st_size} bytes, {photons} photons, median error of the fluence {error:.2%}")


if __name__ == "__main__":
    main()
