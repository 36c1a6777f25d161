"""Events with a known direction, in the light model that the built-in reconstruction uses."""

from skymap_scanner.event.model import Topology
from skymap_scanner.simulation.demo import DEMO
from skymap_scanner.simulation.simulate import simulate
from skymap_scanner.simulation.truth import Truth, read_truth
from skymap_scanner.simulation.variation import Variation, VariedPhysics, draw_variation

__all__ = [
    "DEMO",
    "Topology",
    "Truth",
    "Variation",
    "VariedPhysics",
    "draw_variation",
    "read_truth",
    "simulate",
]
