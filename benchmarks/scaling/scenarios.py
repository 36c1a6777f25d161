"""Scenarios: clusters, requested scans and failures."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.scaling.parts import Fits, Order
from benchmarks.scaling.world import Site

#: Fits of a slow likelihood: minutes, as with many photon tables, on a coarser grid.
LONG = Fits(median=45.0, sigma=0.5, heavy_from=90.0, heavy_index=3.0)
COARSE = (192, 192, 384)


@dataclass(frozen=True)
class Scenario:
    """``fixed``: workers of each scan without scaling; ``runs``: number of seeds, fewer for long runs."""

    name: str
    what: str
    site: Site
    orders: tuple[Order, ...]
    fixed: int = 100
    runs: int = 5


ALONE = Order("alone")
#: Few pixels and a short target time.
QUICK = replace(ALONE, levels=(768, 256, 256), target=400.0)
#: Scans a few seconds apart, like alerts that have waited for a network.
STORM = tuple(replace(ALONE, name=f"storm-{number:02d}", arrives=5.0 * number, target=1500.0) for number in range(12))
NORMAL = tuple(replace(one, target=1800.0) for one in STORM[:8])
REALTIME = replace(ALONE, name="realtime", arrives=240.0, target=600.0, urgent=True)
SLOW = Site(start=(6.0, 0.8), pull=(60.0, 180.0))
LARGE = replace(ALONE, fits=replace(LONG, median=20.0, heavy_from=60.0), target=1200.0, maximum=4000)

SCENARIOS = (
    Scenario("alone", "one scan of the default levels, 900 s, 640 places", Site(), (ALONE,)),
    Scenario("quick", "a smaller one within 400 s", Site(), (QUICK,)),
    Scenario("slow starts", "a node's first pod waits 1 to 3 min for the image", SLOW, (ALONE,)),
    Scenario("nodes lost", "after 5 min a quarter of 20 nodes dies", Site(nodes=20, loss=(300.0, 5)), (ALONE,)),
    Scenario("statistics fail", "for a minute while workers start", Site(silent=(20.0, 80.0)), (ALONE,)),
    Scenario("long fits", "50 s each, 1800 s", Site(), (replace(ALONE, fits=LONG, levels=COARSE, target=1800.0),)),
    Scenario("thousands", "23 s a fit, 1200 s, 4000 places", Site(nodes=250), (LARGE,), fixed=1000, runs=3),
    Scenario("storm", "12 scans within a minute, 1500 s each, 640 places", Site(), STORM, fixed=50, runs=3),
    Scenario(
        "realtime",
        "into 8 scans of 1800 s one of 600 s, 320 places",
        Site(nodes=20),
        (*NORMAL, REALTIME),
        fixed=40,
        runs=3,
    ),
)
