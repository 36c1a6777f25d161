"""A scan without a broker: whatever the order of its fits, the guesses and the restarts, the map is the same."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.healpix import pixel_width
from skymap_scanner.roles.producer.planning import ScanSettings, next_entry, scan_entry
from skymap_scanner.roles.producer.producer import complete_llh
from skymap_scanner.roles.readers import BestFits
from skymap_scanner.roles.task_frames import PixelFit, Task
from skymap_scanner.roles.tasks import TaskMaker
from skymap_scanner.scan.levels import parse_levels
from skymap_scanner.scan.pixels import Pixel, centres
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import LevelEntry, PlanEntry, decode_entry
from skymap_scanner.scan.seeds import Round

#: Levels of which some are widened.
WIDENED = "2:0 4:0.6:48 8:0.5:99 16:0.5:99"

PLANS = st.sampled_from(["1:0 2:3 4:5", "1:0 2:0.9:6 8:0.99:4", "2:0", "1:0 4:0.6:12 8:9", WIDENED])


def height(pixel: Pixel) -> float:
    """Return how high a pixel lies in a narrow bowl, whose bottom moves east between levels."""
    if pixel.nside == 0:  # a re-simulation
        return 0.0
    width = float(pixel_width(pixel.nside))
    ra, dec = centres([pixel])
    return 20.0 * float(math.hypot(ra[0] - 2.0 - 2.5 * width, dec[0] / 2 - 0.2) / width) ** 2


def rough(task: Task) -> PixelFit:
    """Fit a task: any change of its start changes the outcome, and some fits fail or end in a wrong minimum."""
    start = task.start
    digest = hashlib.sha256(repr((task.pixel, start.position, start.time, start.warm, start.number)).encode()).digest()
    wrong = digest[0] / 4 if digest[1] < 120 else 0.0
    llh = math.nan if digest[2] < 5 else 1000.0 + height(task.pixel) + digest[3] / 256 + wrong
    x, y, z = start.position
    return PixelFit(task.pixel, task.seed, llh, (x + digest[4], y, z), start.time + digest[5], 1.0, 2.0)


class Broker:
    """The topics of a scan: what a producer that restarts finds."""

    def __init__(self, scan: PlanEntry) -> None:
        self.entries: list[bytes] = [scan.encode()]
        self.stored: list[PixelFit] = []

    def read(self) -> tuple[Plan, BestFits]:
        plan = Plan()
        for entry in self.entries:
            plan.add(decode_entry(entry))
        assert plan.scan is not None
        fits = BestFits(plan.scan.seeding)
        for fit in self.stored:
            fits.add(fit)
        return plan, fits


def run(prepared: PreparedEvent, settings: ScanSettings, random: Random, restarts: float) -> tuple[str, list[bytes]]:
    """Run a scan: its rounds end in any order, the producer acts at any time; return its map, and its plan."""
    scan = scan_entry(settings, prepared, ("mf_a",), "")
    broker, maker = Broker(scan), TaskMaker(scan, prepared)
    plan, fits = broker.read()
    tasks: dict[Round, list[Task]] = {}
    place = 0
    idle = 0
    while not plan.complete(fits.has):
        idle = 0 if tasks else idle + 1
        assert idle < 100, "the scan makes no progress"
        if random.random() < restarts:
            plan, fits = broker.read()
            tasks, place = {}, 0
        entry = next_entry(plan, complete_llh(plan, fits), settings.predictive)
        if entry is not None:
            broker.entries += [entry.encode()] * random.choice([1, 1, 2])  # a broker may keep a duplicate
            plan.add(entry)
        while place < len(plan.started):
            one = plan.round_at(place)
            found = None if fits.has(one) else maker.tasks_of(one, plan, fits)
            if found is None and not fits.has(one):
                break
            tasks |= {one: found} if found else {}
            place += 1
        for one in random.sample(sorted(tasks), min(len(tasks), random.randint(1, 9))):
            results = [rough(task) for task in tasks.pop(one)]
            best = min(results, key=lambda fit: (math.isnan(fit.llh), fit.llh if fit.llh == fit.llh else 0, fit.seed))
            broker.stored.append(best)
            fits.add(best)
    assert plan.tasks >= sum(len(plan.levels[nside]) for nside in plan.levels)
    assert len(plan.resimulations) == settings.calibrate
    everything = (*plan.planned(), *plan.resimulations)
    map_of_scan = json.dumps([(pixel.key, repr(fits[pixel])) for pixel in everything])
    return map_of_scan, [*dict.fromkeys(broker.entries)]


@settings(deadline=None, max_examples=12)
@example(levels=WIDENED, first=1, calibrate=0, random=Random(3))
@given(
    levels=PLANS,
    first=st.sampled_from([1, 2, 7]),
    calibrate=st.sampled_from([0, 60]),
    random=st.randoms(use_true_random=False),
)
def test_map_is_the_same_for_any_order_guess_and_restart(
    prepared: PreparedEvent, levels: str, first: int, calibrate: int, random: Random
) -> None:
    def settings_of(predictive: float) -> ScanSettings:
        return ScanSettings("scan", parse_levels(levels), first_seeds=first, calibrate=calibrate, predictive=predictive)

    expected = run(prepared, settings_of(1.0), Random(1), 0.0)
    assert run(prepared, settings_of(1.0), random, 0.3) == expected
    assert run(prepared, settings_of(random.choice([0.2, 0.7])), random, 0.3)[0] == expected[0]


def test_levels_along_the_valley_are_widened(prepared: PreparedEvent) -> None:
    settings = ScanSettings("scan", parse_levels(WIDENED), first_seeds=1)
    entries = map(decode_entry, run(prepared, settings, Random(1), 0.0)[1])
    times = Counter(entry.nside for entry in entries if isinstance(entry, LevelEntry))
    assert set(times) == {2, 4, 8, 16}
    assert times[2] == 1
    assert max(times.values()) > 1


@pytest.fixture
def planned(prepared: PreparedEvent) -> Callable[[int], int]:
    """Return the number of fits of a scan whose pixels all fit well, by the number of first seeds."""

    def count(first: int) -> int:
        settings = ScanSettings("scan", parse_levels("4:0 16:9"), first_seeds=first)
        scan = scan_entry(settings, prepared, (), "")
        maker, plan = TaskMaker(scan, prepared), Plan()
        plan.add(scan)
        fits = BestFits(scan.seeding)
        while (entry := next_entry(plan, complete_llh(plan, fits), 1.0)) is not None:
            plan.add(entry)
            for place in range(len(plan.started)):
                one = plan.round_at(place)
                task = next(iter(maker.tasks_of(one, plan, fits) or ()))
                fits.add(PixelFit(one.pixel, task.seed, 10.0 * abs(one.pixel.index - 90), (0.0,) * 3, 0.0, 1.0, 1.0))
        return plan.tasks

    return count


def test_seeds_by_need_take_fewer_fits(planned: Callable[[int], int]) -> None:
    assert planned(7) == 7 * (192 + 144)
    assert planned(1) < planned(7) / 2
