from __future__ import annotations

import math

import numpy as np
import pytest

from skymap_scanner.roles.producer.planning import next_entry
from skymap_scanner.scan.pixels import Pixel, centres, children, neighbours, whole_sky
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import (
    AheadEntry,
    CalibrationEntry,
    EndEntry,
    EventFacts,
    LevelEntry,
    ScanEntry,
    SeedsEntry,
    ahead_entry,
    level_entry,
    pixels_of,
    seeds_entry,
)

FACTS = EventFacts(name="event", run=1, event=2, mjd=60000.5, kind="HESE", real=True, metadata_topics=("mf_a",))


def plan_of(levels: str = "1:0 2:1", **changes: object) -> Plan:
    plan = Plan()
    plan.add(
        ScanEntry(name="scan", event=FACTS, levels=levels, seeds=7, reconstruction="dummy", software="", **changes)
    )
    return plan


def llh(pixels: list[Pixel], **values: float) -> dict[Pixel, float]:
    return {pixel: values.get(f"p{pixel.index}", 100.0 + pixel.index) for pixel in pixels}


def test_first_level_needs_no_best_fits() -> None:
    assert next_entry(plan_of(), {}, 1.0) == LevelEntry(nside=1, pixels="0-11", tasks="0-11")
    assert next_entry(plan_of(pixels="3,5-7"), {}, 1.0) == LevelEntry(nside=1, pixels="3,5-7", tasks="3,5-7")


def test_second_level_waits_for_all_pixels_of_the_first() -> None:
    plan = plan_of()
    plan.add(level_entry(1, whole_sky(1), []))
    assert next_entry(plan, llh(whole_sky(1)[:11]), 1.0) is None
    entry = next_entry(plan, llh(whole_sky(1), p4=1.0), 1.0)
    assert entry == level_entry(2, children(Pixel(1, 4), 2), [])


def test_plan_ends_right_after_the_last_level() -> None:
    plan = plan_of("1:0")
    plan.add(level_entry(1, whole_sky(1), []))
    assert next_entry(plan, {}, 1.0) == EndEntry(levels=1)
    plan.add(EndEntry(levels=1))
    assert next_entry(plan, {}, 1.0) is None


def test_plan_ends_if_every_fit_failed() -> None:
    plan = plan_of()
    plan.add(level_entry(1, whole_sky(1), []))
    assert next_entry(plan, dict.fromkeys(whole_sky(1), math.nan), 1.0) == EndEntry(levels=1)


@pytest.mark.parametrize(("levels", "ends"), [("8:0 16:0.9:9 32:2", True), ("8:0 16:9 32:0.9:2", False)])
def test_known_area_leaves_out_a_level_with_a_probability(levels: str, ends: bool) -> None:
    plan, sky = plan_of(levels), whole_sky(8)
    plan.add(level_entry(8, sky, []))
    flat = {pixel: 5.0 + pixel.index / 50 for pixel in sky}  # some hundred pixels inside the 90 % region
    assert (next_entry(plan, flat, 1.0) == EndEntry(levels=1)) == ends
    started = next_entry(plan, dict(list(flat.items())[:700]), 0.5)
    assert (started is None) == ends
    sharp = {pixel: 5.0 * pixel.index for pixel in sky}
    assert isinstance(next_entry(plan, sharp, 1.0), LevelEntry)


@pytest.mark.parametrize("levels", ["8:0 16:0.9:20 32:0.9:20", "8:0 16:0.9:20"])
def test_level_is_widened_while_its_best_pixel_lies_at_the_edge(levels: str) -> None:
    """The minimum lies beside the parent that was refined: -ln L falls towards a pixel two steps away."""
    plan, sky = plan_of(levels), whole_sky(8)
    plan.add(level_entry(8, sky, []))
    parent, beyond = Pixel(8, 343), Pixel(8, 374)
    plan.add(level_entry(16, children(parent, 16), []))
    target = centres(children(beyond, 16))

    def bowl(pixels: list[Pixel]) -> dict[Pixel, float]:
        ra, dec = centres(pixels)
        far = np.hypot(ra - target[0].mean(), dec - target[1].mean())
        return dict(zip(pixels, (1000 * far).tolist(), strict=True))

    steps = 0
    while len(plan.levels) == 2 and not plan.ended:
        found = bowl(plan.levels[16])
        assert next_entry(plan, bowl(sky) | dict(list(found.items())[1:]), 1.0) is None  # the fits of all pixels decide
        failed = next_entry(plan, dict.fromkeys(sky, math.nan) | found, 1.0)
        assert failed is not None
        assert not (isinstance(failed, LevelEntry) and failed.nside == 16)  # a failed pixel is not refined
        entry = next_entry(plan, bowl(sky) | found, 1.0)
        assert entry is not None
        plan.add(entry)
        steps += 1
    found = bowl(plan.levels[16])
    best = min(found, key=lambda pixel: (found[pixel], pixel))
    assert best in children(beyond, 16)
    assert set(neighbours(best)) <= set(found)
    assert 2 <= steps <= 4  # wider at least once, then finer or the end


@pytest.mark.parametrize("levels", ["8:0 16:2 32:0.9:9", "8:0 16:0.9:1 32:0.9:9"])
def test_level_is_not_widened_beyond_its_parents(levels: str) -> None:
    plan = plan_of(levels)
    plan.add(level_entry(8, whole_sky(8), []))
    plan.add(level_entry(16, children(Pixel(8, 343), 16), []))
    entry = next_entry(plan, {pixel: float(pixel.index) for pixel in plan.planned()}, 1.0)
    assert isinstance(entry, LevelEntry)
    assert entry.nside == 32


def test_predicted_pixels_start_early_without_changing_the_level() -> None:
    plan = plan_of()
    plan.add(level_entry(1, whole_sky(1), []))
    early = next_entry(plan, llh(whole_sky(1)[:6], p2=1.0), 0.5)
    assert early == ahead_entry(2, children(Pixel(1, 2), 2))
    assert isinstance(early, AheadEntry)
    plan.add(early)
    assert next_entry(plan, llh(whole_sky(1)[:7], p2=1.0), 0.5) is None  # the same guess again
    final = next_entry(plan, llh(whole_sky(1), p2=1.0, p9=0.5), 0.5)
    assert final == level_entry(2, children(Pixel(1, 9), 2), plan.started)
    right = next_entry(plan, llh(whole_sky(1), p2=1.0), 0.5)
    assert right == LevelEntry(nside=2, pixels=level_entry(2, children(Pixel(1, 2), 2), []).pixels, tasks="")


def test_guess_waits_for_the_neighbours_of_the_best_pixel() -> None:
    """Without one of them all sides would be refined, most of them in vain."""
    plan, sky, best = plan_of("8:0 16:0.9:20"), whole_sky(8), Pixel(8, 343)
    plan.add(level_entry(8, sky, []))
    done = dict.fromkeys(sky, 10000.0) | {best: 1.0}
    pending, far = neighbours(best)[2], Pixel(8, 3)
    assert next_entry(plan, {pixel: done[pixel] for pixel in sky if pixel != pending}, 0.9) is None
    assert isinstance(next_entry(plan, {pixel: done[pixel] for pixel in sky if pixel != far}, 0.9), AheadEntry)


def test_predicted_level_starts_at_its_fraction() -> None:
    plan = plan_of()
    plan.add(level_entry(1, whole_sky(1), []))
    done = llh(whole_sky(1)[:9])
    assert next_entry(plan, done, 1.0) is None
    assert next_entry(plan, done, 0.8) is None
    assert next_entry(plan, done, 0.75) == ahead_entry(2, children(Pixel(1, 0), 2))


def planned(fraction: float) -> list[Pixel]:
    """Follow a plan to its end, one best fit at a time."""
    plan = plan_of("1:0 2:3 4:5")
    known: dict[Pixel, float] = {}
    while not plan.ended:
        entry = next_entry(plan, known, fraction)
        if entry is None:
            waiting = next(pixel for pixel in plan.started if pixel not in known)
            known[waiting] = float((waiting.index * 7919) % 101)
        else:
            plan.add(entry)
    return list(plan.planned())


@pytest.mark.parametrize("fraction", [0.3, 0.7])
def test_map_does_not_depend_on_prediction(fraction: float) -> None:
    assert len(planned(1.0)) == 12 + 3 * 4 + 5 * 4
    assert planned(fraction) == planned(1.0)


@pytest.mark.parametrize("first", [None, 1])
def test_calibration_comes_between_the_last_level_and_the_end(first: int | None) -> None:
    plan = plan_of("1:0", calibrate=60, first_seeds=first)
    plan.add(level_entry(1, whole_sky(1), []))
    flat = dict.fromkeys(whole_sky(1), 100.0) | {Pixel(1, 3): 99.0}
    if first is not None:
        plan.add(seeds_entry(1, whole_sky(1)))
    assert next_entry(plan, dict(list(flat.items())[:11]), 1.0) is None
    entry = next_entry(plan, flat, 1.0)
    assert entry == CalibrationEntry(nside=1, pixel=3)
    assert next_entry(plan, flat, 1.0) == entry  # as by a second producer
    plan.add(entry)
    assert next_entry(plan, flat, 1.0) == EndEntry(levels=1)


def test_calibration_is_of_the_best_pixel_of_all_levels() -> None:
    plan = plan_of("1:0 2:1", calibrate=60)
    plan.add(level_entry(1, whole_sky(1), []))
    plan.add(level_entry(2, children(Pixel(1, 4), 2), []))
    values = llh(whole_sky(1), p4=1.0, p7=2.0) | dict.fromkeys(children(Pixel(1, 4), 2), 5.0)
    assert next_entry(plan, values, 1.0) == CalibrationEntry(nside=1, pixel=7)
    better = values | {children(Pixel(1, 4), 2)[2]: 1.5}
    assert next_entry(plan, better, 1.0) == CalibrationEntry(nside=2, pixel=children(Pixel(1, 4), 2)[2].index)


def test_nothing_is_simulated_again_if_every_fit_failed() -> None:
    plan = plan_of(calibrate=60)
    plan.add(level_entry(1, whole_sky(1), []))
    assert next_entry(plan, dict.fromkeys(whole_sky(1), math.nan), 1.0) == EndEntry(levels=1)


def test_best_pixels_of_a_finer_level_get_their_seeds_last() -> None:
    plan = plan_of("1:0 2:3", first_seeds=1)
    plan.add(level_entry(1, whole_sky(1), []))
    fine = sorted(child for index in range(3) for child in children(Pixel(1, index), 2))
    plan.add(level_entry(2, fine, plan.started))
    values = llh(whole_sky(1)) | dict.fromkeys(fine, 500.0) | {fine[2]: 1.0, fine[5]: 1.4, fine[7]: 1.6, fine[8]: 3.0}
    first = next_entry(plan, values, 1.0)
    assert isinstance(first, SeedsEntry)
    started = set(pixels_of(2, first.tasks))
    assert {fine[7], fine[8]} <= started
    assert not {fine[2], fine[5]} & started
    plan.add(first)
    second = next_entry(plan, values, 1.0)
    assert second == seeds_entry(2, [fine[2], fine[5]])
    plan.add(second)
    assert next_entry(plan, values, 1.0) == EndEntry(levels=2)
