"""Compare the two simulations of light: charge and delay in the DOMs, with and without what only one of them knows.

    python benchmarks/simulation/compare.py -o build/simulation

Cascades of one electron at places all over the detector give light by the photon table, and by propagated photons: in
flat isotropic ice with the table's way to see angles as far as possible (`plain`), then with tilt, anisotropy, the
shower's length and the photomultiplier (`full`). Prints a table by distance, and draws it.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.detector.ice import ice_model
from skymap_scanner.reconstruction.millipede.constants import C_ICE
from skymap_scanner.reconstruction.millipede.photon_model import PhotonModel
from skymap_scanner.simulation.medium import LIU_SHARES, flat, south_pole
from skymap_scanner.simulation.pmt import amplify
from skymap_scanner.simulation.propagated_light import draw_propagated
from skymap_scanner.simulation.showers import electron_shower
from skymap_scanner.simulation.variation import NOMINAL

#: Edges of the distances from cascade to DOM, m.
EDGES = np.array([10, 20, 30, 45, 65, 90, 120, 160, 210, 270])
VARIANTS = ("table", "plain", "full")
Array = NDArray[np.float64]


def simulate(variant: str, seed: int, place: Array, along: Array, energy: float) -> tuple[Array, Array, Array]:
    """Return DOM, time (ns) and charge (pe) of the hits of one cascade."""
    random, geometry, ice = np.random.default_rng([seed, VARIANTS.index(variant)]), ic86(), ice_model()
    sources = electron_shower(energy).sources(place, along)
    if variant == "table":
        model = PhotonModel(geometry, ice)
        count = random.poisson(model.expected_charge(place[None], along, np.array([energy]))[0])
        dom = np.repeat(np.arange(len(count)), count)
        arrived = model.draw_times(random, place[None], along, np.zeros(len(dom), np.intp), dom)
        return dom, arrived, np.ones(len(dom))
    if variant == "plain":
        point = sources._replace(scale=np.full(1, 1e-6))
        medium = flat(ice, LIU_SHARES[ice.name])
        dom, arrived = draw_propagated(random, point, geometry, medium, NOMINAL)
        # the smear of the table's times, in place of the photomultiplier
        return dom, arrived + 6.4 * random.standard_normal(len(dom)), np.ones(len(dom))
    hits = amplify(random, *draw_propagated(random, sources, geometry, south_pole(ice), NOMINAL))
    return hits.dom, hits.time, hits.charge


def measure(cascades: int, energy: float, first_seed: int) -> dict[str, dict[str, Array]]:
    """Return the charge and the median delay by distance, and the seconds, of each variant."""
    geometry = ic86()
    bins = len(EDGES) - 1
    found = {name: {"charge": np.zeros(bins), "delays": [], "seconds": 0.0} for name in VARIANTS}
    for seed in range(first_seed, first_seed + cascades):
        draw = np.random.default_rng(seed)
        place = draw.uniform([-300, -300, -400], [300, 300, 400])
        cosine, azimuth = draw.uniform(-1, 1), draw.uniform(0, 2 * math.pi)
        sine = math.sqrt(1 - cosine**2)
        along = np.array([sine * math.cos(azimuth), sine * math.sin(azimuth), cosine])
        distance = np.linalg.norm(geometry.position - place, axis=1)
        for name in VARIANTS:
            start = time.process_time()
            dom, arrived, charge = simulate(name, seed, place, along, energy)
            found[name]["seconds"] += time.process_time() - start
            which = np.digitize(distance[dom], EDGES) - 1
            inside = (which >= 0) & (which < bins)
            found[name]["charge"] += np.bincount(which[inside], charge[inside], minlength=bins)
            found[name]["delays"].append(np.stack([which[inside], (arrived - distance[dom] / C_ICE)[inside]]))
    return {name: _summary(one, bins, cascades) for name, one in found.items()}


def _summary(one: dict, bins: int, cascades: int) -> dict[str, Array]:
    which, delay = np.concatenate(one["delays"], axis=1)
    medians = [np.median(delay[which == k]) if (which == k).any() else math.nan for k in range(bins)]
    return {
        "charge": one["charge"] / cascades,
        "delay": np.array(medians),
        "seconds": np.array(one["seconds"] / cascades),
    }


def table(found: dict[str, dict[str, Array]]) -> list[str]:
    """Return the comparison as a table in Markdown."""
    lines = [
        "| distance (m) | pe | plain / table | full / table | delay (ns): table | plain | full |",
        "|---|---|---|---|---|---|---|",
    ]
    for k, (low, high) in enumerate(pairwise(EDGES)):
        charge = [found[name]["charge"][k] for name in VARIANTS]
        delay = [f"{found[name]['delay'][k]:.0f}" for name in VARIANTS]
        ratios = [f"{one / charge[0]:.2f}" if charge[0] else "–" for one in charge[1:]]
        lines.append(f"| {low}–{high} | {charge[0]:.0f} | " + " | ".join(ratios + delay) + " |")
    return lines


def draw(found: dict[str, dict[str, Array]], path: Path) -> None:
    """Draw charge and delay over the distance."""
    mpl.use("Agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    middle = np.sqrt(EDGES[1:] * EDGES[:-1])
    styles = {"table": ("k-", "photon table"), "plain": ("C0o", "propagated, flat ice"), "full": ("C1s", "propagated")}
    for name, (style, label) in styles.items():
        left.plot(middle, found[name]["charge"], style, label=label, markersize=5)
        right.plot(middle, found[name]["delay"], style, label=label, markersize=5)
    left.set_yscale("log")
    left.set_ylim(bottom=100)
    left.set_ylabel("charge of all DOMs at this distance [pe]")
    right.set_ylabel("median delay [ns]")
    left.legend()
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xticks([10, 20, 50, 100, 200], labels=["10", "20", "50", "100", "200"])
        axes.xaxis.set_minor_formatter("")
        axes.set_xlabel("distance from the cascade [m]")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cascades", type=int, default=24)
    parser.add_argument("--energy", type=float, default=3e4, help="GeV")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, default=Path("build/simulation"))
    given = parser.parse_args(arguments)
    found = measure(given.cascades, given.energy, given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    text = "\n".join(table(found))
    (given.out / "simulations.md").write_text(text + "\n")
    draw(found, given.out / "simulations.png")
    print(text)
    print(", ".join(f"{name}: {found[name]['seconds']:.2f} s of CPU" for name in VARIANTS), "per cascade")


if __name__ == "__main__":
    main()
