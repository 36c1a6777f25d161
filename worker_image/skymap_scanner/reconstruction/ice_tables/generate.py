"""Make the table of an ice model: ``python -m skymap_scanner.reconstruction.ice_tables.generate spice_mie``.

The table belongs beside `millipede.layers` as ``layers_NAME.npz``, and to the photon table that it was made with. The
defaults take about 20 minutes of one core. Each height of a DOM has its own seed, so that the result does not depend on
the number of processes.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.ice import ICE_MODELS, ice_model
from skymap_scanner.reconstruction.ice_tables.fit_rates import fit
from skymap_scanner.reconstruction.ice_tables.photon_walk import walk
from skymap_scanner.reconstruction.ice_tables.table_light import TableLight
from skymap_scanner.reconstruction.millipede.layers import LOWEST, N_HEIGHT, STEP, encode

PHOTONS = 200_000
SEED = 20131110


def make_height(number: int, name: str, photons: int, seed: int) -> NDArray[np.float64]:
    """Return the numbers of all cells around a DOM at the ``number``-th height, (N_NUMBER, cosines, distances)."""
    ice, height = ice_model(name), LOWEST + STEP * number
    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return fit(walk(photons, own, ice, height), photons, ice, height, TableLight())


@click.command(help=__doc__)
@click.argument("name", type=click.Choice(ICE_MODELS))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: layers_NAME.npz.")
@click.option("--photons", type=click.IntRange(1000), default=PHOTONS, show_default=True, help="For each height.")
@click.option("--seed", type=click.IntRange(0), default=SEED, show_default=True)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, help="They change no bit.")
def main(name: str, output: Path | None, photons: int, seed: int, processes: int) -> None:
    """Make a table and write it."""
    output = output or Path(f"layers_{name}.npz")
    with ProcessPoolExecutor(processes) as pool:
        made = partial(make_height, name=name, photons=photons, seed=seed)
        with click.progressbar(pool.map(made, range(N_HEIGHT)), length=N_HEIGHT, label=name) as heights:
            found = np.array(list(heights))
    output.write_bytes(encode(found))
    click.echo(f"{output}: {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
