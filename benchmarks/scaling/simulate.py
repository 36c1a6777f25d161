"""Simulates scans in a cluster: how many workers the operator, KEDA or an HPA give them, and at what cost.

    python -m benchmarks.scaling.simulate --picture scaling.png
    python -m benchmarks.scaling.simulate --scenario storm realtime --keda-threshold 100

The operator's decisions are made by its own functions (`skymap_operator.decide.scaling`); the rules of the others are
those of their documentation and sources (`hpa`, `policies`). All have the same queue, fits, nodes and workers; a worker
that is asked to leave finishes its fit, where the pod's grace allows it. Every run is the same for the same seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.scaling.policies import LONG_GRACE, SHORT_GRACE, Fixed, Hpa, Keda, Operator
from benchmarks.scaling.results import HEADER, Outcome, draw, rows
from benchmarks.scaling.scenarios import SCENARIOS, Scenario
from benchmarks.scaling.world import Policy, Sample, World

#: Keeps the target of ``alone`` and of ``quick`` in four runs of five, with a tenth to spare: 50 is a tenth cheaper and
#: just does, and with 60 ``quick`` is late in every run.
TUNED = 40.0


def policies(scenario: Scenario, threshold: float) -> dict[str, Callable[[], Policy]]:
    """Return the policies by name. They have state, so each run needs new ones."""
    return {
        "operator": partial(Operator, ceiling=scenario.site.nodes * scenario.site.places),
        "KEDA, 10 a worker": Keda,
        f"KEDA, {threshold:.0f} a worker": partial(Keda, threshold, LONG_GRACE),
        f"KEDA, {threshold:.0f} a worker, grace 30 s": partial(Keda, threshold, SHORT_GRACE),
        "HPA, CPU 70 %": Hpa,
        "HPA, CPU 70 %, grace 30 s": partial(Hpa, grace=SHORT_GRACE),
        f"{scenario.fixed} workers each": partial(Fixed, scenario.fixed),
    }


def simulate(scenario: Scenario, policy: Callable[[], Policy], seed: int) -> list[Outcome]:
    """Run once; return the outcome of each scan."""
    world = World(scenario.site, scenario.orders, policy(), seed)
    world.run()
    return [Outcome.of(scan) for scan in world.scans]


def traced(scenario: Scenario, policy: Callable[[], Policy], seed: int) -> list[Sample]:
    """Run once; return samples of the last scan."""
    world = World(scenario.site, scenario.orders, policy(), seed)
    samples = world.trace(world.scans[-1], 2.0)
    world.run()
    return samples


def picture(scenario: Scenario, threshold: float, seed: int, path: Path) -> None:
    """Draw the operator's workers against KEDA's and the HPA's."""
    deciders = policies(scenario, threshold)
    shown = ("operator", f"KEDA, {threshold:.0f} a worker", "HPA, CPU 70 %")
    draw(path, f"{scenario.name}, seed {seed}", [(name, traced(scenario, deciders[name], seed)) for name in shown])


def main() -> None:
    """Simulate, print the table, draw the picture."""
    names = {scenario.name: scenario for scenario in SCENARIOS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scenario",
        nargs="+",
        choices=names,
        default=list(names),
        metavar="NAME",
        help="; ".join(f"{one.name}: {one.what}" for one in SCENARIOS).replace("%", "%%"),
    )
    parser.add_argument("--seeds", type=int, help="runs of each scenario  [default: 5, or 3 for large ones]")
    parser.add_argument("--keda-threshold", type=float, default=TUNED, help="msgBacklogThreshold of the tuned KEDA")
    parser.add_argument("--picture", type=Path, help="PNG of the first scenario with its first seed")
    arguments = parser.parse_args()
    began = time.process_time()
    print(HEADER)
    for scenario in (names[name] for name in arguments.scenario):
        for policy, make in policies(scenario, arguments.keda_threshold).items():
            runs = [simulate(scenario, make, seed) for seed in range(1, 1 + (arguments.seeds or scenario.runs))]
            print(*rows(scenario.name, policy, runs), sep="\n", flush=True)
    if arguments.picture is not None:
        picture(names[arguments.scenario[0]], arguments.keda_threshold, 1, arguments.picture)
    print(f"\n{time.process_time() - began:.0f} s of CPU")


if __name__ == "__main__":
    main()
