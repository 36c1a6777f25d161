"""Whole scans whose pixels are fitted from more seeds where they need them."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.unit.roles.conftest import Scan

from skymap_api.progress import Progress
from skymap_scanner.broker import open_broker
from skymap_scanner.broker.protocol import arrived
from skymap_scanner.i3 import FitStatus, read_frames
from skymap_scanner.reconstruction.protocol import Fit, Start
from skymap_scanner.roles.readers import PlanReader

MakeScan = Callable[..., Scan]
ChangeFits = Callable[[Callable[[Start, Fit], Fit]], None]

LEVELS = "1:0 4:0.9:4 8:3"


def rough(start: Start, fit: Fit) -> Fit:
    """Let a fit fail or end too high and elsewhere, as its start decides."""
    digest = hashlib.sha256(repr((start.zenith, start.position, start.time, start.warm)).encode()).digest()
    if digest[0] < 10:
        return replace(fit, llh=math.nan, status=FitStatus.GeneralFailure, reason="test")
    x, y, z = fit.position
    wrong = digest[1] / 2 if digest[2] < 80 else 0.0
    return replace(fit, llh=fit.llh + wrong, position=(x + digest[3] / 100, y, z))


@pytest.mark.parametrize("disturbed", [{"workers": 3, "producers": 2, "collectors": 2}, {"workers": 1}])
def test_files_do_not_depend_on_roles_or_guesses(
    scan: MakeScan, change_fits: ChangeFits, disturbed: dict[str, int]
) -> None:
    change_fits(rough)
    plain = scan(LEVELS, "plain", first_seeds=1)
    plain.run()
    other = scan(LEVELS, "other", first_seeds=1, predictive=0.5)
    other.run(**disturbed)
    assert (other.json, other.i3) == (plain.json, plain.i3)
    for path in (*other.folder.glob("*.json"), other.folder / "scan.i3"):
        path.unlink()
    other.run()
    assert (other.json, other.i3) == (plain.json, plain.i3)


def test_all_fits_of_both_rounds_are_kept_best_first(scan: MakeScan, change_fits: ChangeFits) -> None:
    change_fits(rough)
    best, every = scan(LEVELS, "best", first_seeds=1), scan(LEVELS, "every", first_seeds=1, keep_all_seeds=True)
    best.run()
    every.run()
    kept = defaultdict(list)
    for frame in list(read_frames(every.folder / "scan.i3"))[5:]:
        pixel = frame["SCAN_HealpixNSide"].value, frame["SCAN_HealpixPixel"].value
        kept[pixel].append((frame["SCAN_NegLogLikelihood"].value, frame["SCAN_PositionVariationIndex"].value))
    seeds = {pixel: tuple(sorted(seed for _, seed in fits)) for pixel, fits in kept.items()}
    assert {(nside == 1, found) for (nside, _), found in seeds.items()} == {
        (True, (0,)),
        (True, (0, 1, 2, 3)),
        (False, (0,)),
        (False, (0, 3)),  # the second round of a finer level starts from the best neighbour only
    }
    for fits in kept.values():
        values = [value for value, _ in fits if not math.isnan(value)]
        assert values == sorted(values)
    first = list(read_frames(best.folder / "scan.i3"))[5:]
    assert [fits[0][1] for fits in kept.values()] == [frame["SCAN_PositionVariationIndex"].value for frame in first]
    assert json.loads(every.json) == json.loads(best.json)


def test_fit_that_is_wrong_from_the_first_seed_is_mended(scan: MakeScan, change_fits: ChangeFits) -> None:
    """The best pixel ends in a wrong minimum unless it starts from another seed."""
    right = scan("4:0", "right")
    right.run()
    best = min(list(read_frames(right.folder / "scan.i3"))[5:], key=lambda frame: frame["SCAN_NegLogLikelihood"].value)
    zenith, vertex = best["MillipedeSeedParticle"].dir.zenith, best["MillipedeSeedParticle"].pos

    def stuck(start: Start, fit: Fit) -> Fit:
        at_vertex = math.dist(start.position, (vertex.x, vertex.y, vertex.z)) < 1
        return replace(fit, llh=fit.llh + 1000.0) if start.zenith == zenith and at_vertex else fit

    change_fits(stuck)
    found = {}
    for first in (1, 3):
        one = scan("4:0", f"first-{first}", first_seeds=first)
        one.run()
        rows = json.loads(one.json)["nside-4"]["data"]
        found[first] = {row[0]: row[1] for row in rows}[best["SCAN_HealpixPixel"].value]
    assert found[1] == found[3] == best["SCAN_NegLogLikelihood"].value + 2.0  # the seeds are 20 m off


def test_progress_counts_the_fits_of_both_rounds(scan: MakeScan) -> None:
    one = scan("4:0 8:0.9:9", first_seeds=1)
    one.run()
    with open_broker(one.url) as broker, broker.reader(one.topics.progress) as reader:
        snapshots = [Progress.model_validate_json(message.payload) for message in arrived(reader, 0)]
        with PlanReader(broker, one.topics.plan) as plans:
            plan = plans.update()
    for snapshot in snapshots:
        assert snapshot.fits.done <= snapshot.fits.started <= snapshot.fits.planned
    last = snapshots[-1]
    pixels = sum(level.planned for level in last.levels)
    assert last.fits.done == last.fits.started == last.fits.planned
    assert pixels < last.fits.done < 2 * pixels
    more = {level.nside: sum(plan.rounds_of(pixel) == 2 for pixel in plan.levels[level.nside]) for level in last.levels}
    assert min(more.values()) > 0
    assert last.fits.done == pixels + 3 * more[4] + more[8]  # two other seeds and the neighbour; the neighbour only
