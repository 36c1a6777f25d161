from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.scan.best_fits import SeedFit, Slots
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.seeds import Round, Seeding

PIXEL = Pixel(8, 417)


def test_nan_that_arrives_first_does_not_win() -> None:
    slots: Slots[str] = Slots(Seeding(2, 2, 8))
    assert slots.add(SeedFit(PIXEL, 0, math.nan, "failed")) is None
    complete = slots.add(SeedFit(PIXEL, 1, 99.0, "good"))
    assert complete is not None
    assert [fit.source for fit in complete.fits] == ["good", "failed"]


def test_duplicate_fit_is_ignored_and_its_message_returned() -> None:
    slots: Slots[str] = Slots(Seeding(2, 2, 8))
    slots.add(SeedFit(PIXEL, 0, 5.0, "first"))
    assert slots.add(SeedFit(PIXEL, 0, 5.0, "again")) is None
    complete = slots.add(SeedFit(PIXEL, 1, 4.0, "other"))
    assert complete is not None
    assert [fit.source for fit in complete.fits] == ["other", "first"]
    assert sorted(complete.sources) == ["again", "first", "other"]


def test_fits_of_pixels_are_kept_apart() -> None:
    slots: Slots[int] = Slots(Seeding(2, 2, 8))
    assert slots.add(SeedFit(Pixel(8, 1), 0, 1.0, 1)) is None
    assert slots.add(SeedFit(Pixel(8, 2), 1, 1.0, 2)) is None
    complete = slots.add(SeedFit(Pixel(8, 1), 1, 1.0, 3))
    assert complete is not None
    assert list(complete.sources) == [1, 3]


@given(
    st.lists(st.one_of(st.sampled_from([1.0, 2.0, math.nan]), st.floats(-10, 10)), min_size=7, max_size=7),
    st.integers(0, 2**32),
)
def test_best_fit_does_not_depend_on_the_order_of_arrival(values: list[float], shuffle: int) -> None:
    fits = [SeedFit(PIXEL, seed, value, seed) for seed, value in enumerate(values)]
    answers = []
    for order in (fits, random.Random(shuffle).sample(fits, len(fits))):
        slots: Slots[int] = Slots(Seeding(7, 7, 8))
        complete = [slots.add(fit) for fit in order][-1]
        assert complete is not None
        answers.append([fit.seed for fit in complete.fits])
    assert answers[0] == answers[1]
    best = values[answers[0][0]]
    assert math.isnan(best) or best == min(value for value in values if not math.isnan(value))


def test_returned_slots_are_forgotten() -> None:
    slots: Slots[str] = Slots(Seeding(2, 2, 8))
    for pixel, seed in ((1, 0), (2, 0), (2, 0), (3, 1)):
        assert slots.add(SeedFit(Pixel(1, pixel), seed, 1.0, f"{pixel}/{seed}")) is None
    assert slots.drop([Round(Pixel(1, 2), 0), Round(Pixel(1, 9), 0)]) == ["2/0", "2/0"]
    assert sorted(slots.drop_all()) == ["1/0", "3/1"]
    assert slots.drop_all() == []
    assert slots.add(SeedFit(Pixel(1, 1), 1, 1.0, "again")) is None


def test_differing_duplicate_fit_is_ignored_and_counted() -> None:
    slots: Slots[str] = Slots(Seeding(2, 2, 8))
    pixel = Pixel(1, 0)
    for seed, llh, name in ((0, 5.0, "first"), (0, 5.0, "same"), (0, -1e9, "better"), (0, math.nan, "failed")):
        assert slots.add(SeedFit(pixel, seed, llh, name)) is None
    assert slots.contradictions == 2
    assert slots.seeds_of(pixel) == {0}
    complete = slots.add(SeedFit(pixel, 1, 7.0, "other"))
    assert complete is not None
    assert [fit.source for fit in complete.fits] == ["first", "other"]
    assert slots.seeds_of(pixel) == set()
