from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

from skymap_scanner.broker import Message
from skymap_scanner.roles.readers import BestFitReader, CollectedReader
from skymap_scanner.roles.task_frames import PixelFit
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.seeds import Seeding

PIXELS = 5000


class Collected:
    """A topic with one best fit for each of `PIXELS` pixels, which are made when they are read."""

    scan = SimpleNamespace(seeding=Seeding(7, 7, 8))

    def __init__(self) -> None:
        self._number = 0

    def reader(self, _topic: str, *, create: bool) -> Collected:
        assert create
        return self

    def receive(self, _timeout: float) -> Message | None:
        self._number += 1
        return Message(self._number, b"", None, {}) if self._number <= PIXELS else None

    def best_fit(self, message: Message) -> PixelFit:
        number = int(str(message.id))
        x = float(number)
        return PixelFit(Pixel(512, 1_000_000 + number), 0, x / 3, (x / 5, x / 7, x / 9), x / 11, x / 13, x / 15)


def test_best_fits_are_not_kept_where_pixels_are_enough() -> None:
    collected, with_values = Collected(), Collected()
    tracemalloc.start()
    try:
        reader = CollectedReader(collected, "collected", collected)  # type: ignore[arg-type]
        pixels = {found.fit.pixel for found in reader.arrived()}
        without = tracemalloc.get_traced_memory()[0]
        best_fits = BestFitReader(with_values, "collected", with_values)  # type: ignore[arg-type]
        best_fits.update()
        kept = tracemalloc.get_traced_memory()[0] - without
    finally:
        tracemalloc.stop()
    assert pixels == set(best_fits.best_fits)
    assert len(pixels) == PIXELS
    assert without < 250 * PIXELS < kept
