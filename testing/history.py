"""Checks the history of a finished scan, as Jepsen does (https://jepsen.io): what its topics hold against its promises.

The topics keep every message, acknowledged or not, so they are the history of all processes of a scan, of those too
that were killed. `violations` is pure: it takes what was stored and names each promise that it breaks.

- The plan is linear: whoever reads it to any point sees the beginning of one sequence of decisions. What a producer
  repeats after a crash changes nothing, and a second producer does not disagree.
- Every task of the plan is stored, in the order of the plan. A task that is stored again has the same bytes.
- No fit is lost: every task has one, nothing is left to receive, and the best fit of each round is the best of all
  fits that were stored for it. A task that is fitted again gives the same bytes.
- No pixel is twice in the map, none is missing, and each has the fit that the topics say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skymap_api.names import COLLECTOR_SUBSCRIPTION, WORKERS_SUBSCRIPTION, ScanTopics
from skymap_scanner.broker import Broker
from skymap_scanner.broker.protocol import Backlog
from skymap_scanner.errors import BrokerError
from skymap_scanner.i3 import read_frames
from skymap_scanner.roles.task_frames import LLH, PixelFit, decode_fits, decode_task
from skymap_scanner.scan.pixels import Pixel, is_resimulation, read_ranges
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import EndEntry, LevelEntry, PlanEntry, ScanEntry, decode_entry
from skymap_scanner.scan.seeds import Round

#: A fit of a scan: the pixel and the number of the seed.
Fitted = tuple[Pixel, int]


@dataclass(frozen=True)
class History:
    """What a finished scan has stored: the payloads of its topics, in order, and the frames of its map.

    The scan keeps the best fit of each pixel alone, without ``keepAllSeeds``. ``left``: what the subscriptions of tasks
    and fits have not acknowledged.
    """

    plan: Sequence[bytes]
    tasks: Sequence[bytes]
    fits: Sequence[bytes]
    best_fits: Sequence[bytes]
    map: Sequence[bytes]
    left: Mapping[str, Backlog] = field(default_factory=dict)


def read_history(broker: Broker, topics: ScanTopics, i3_file: Path) -> History:
    """Read the history of a scan, and its map."""
    stored = {
        topic: _payloads(broker, topic)
        for topic in (topics.plan, topics.to_be_scanned, topics.scanned, topics.collected)
    }
    return History(
        plan=stored[topics.plan],
        tasks=stored[topics.to_be_scanned],
        fits=stored[topics.scanned],
        best_fits=stored[topics.collected],
        map=[frame.to_bytes() for frame in read_frames(i3_file) if LLH in frame],
        left={
            "tasks": broker.backlog(topics.to_be_scanned, WORKERS_SUBSCRIPTION),
            "fits": broker.backlog(topics.scanned, COLLECTOR_SUBSCRIPTION),
        },
    )


def violations(history: History) -> list[str]:
    """Return what the history breaks of a finished scan's promises; empty if it keeps them all."""
    plan = Plan()
    try:
        found = list(_plan(plan, map(decode_entry, history.plan)))
        if plan.scan is None:
            return ["the plan is empty"]
        found += _tasks(plan, history.tasks)
        fits = _Fits(history.fits)
        found += fits.broken
        found += _best_fits(plan, fits, history.best_fits)
        found += _map(plan, fits, history.map)
    except BrokerError as error:
        return [f"a message cannot be read: {error}"]
    return found + [
        f"{left.waiting + left.unacked} {what} are not acknowledged"
        for what, left in history.left.items()
        if left.waiting + left.unacked
    ]


def _payloads(broker: Broker, topic: str) -> list[bytes]:
    found = []
    with broker.reader(topic, create=False) as reader:
        while (message := reader.receive(1.0)) is not None:
            found.append(message.payload)
    return found


def _plan(plan: Plan, entries: Iterable[PlanEntry]) -> Iterator[str]:
    """Add the entries to the plan; yield where two of them disagree.

    Raises BrokerError if the plan is not what the scan asks for.
    """
    seen: dict[int, list[set[int]]] = {}
    for number, entry in enumerate(entries):
        if isinstance(entry, ScanEntry) and plan.scan is not None and entry != plan.scan:
            yield f"plan entry {number}: another scan than that of the first entry"
        if isinstance(entry, LevelEntry):
            pixels, known = set(read_ranges(entry.pixels)), seen.setdefault(entry.nside, [])
            wider = known and pixels > known[-1] and entry.nside == plan.newest and not plan.ended
            if known and pixels not in known and not wider:
                yield f"plan entry {number}: other pixels of nside {entry.nside} than before"
            known.append(pixels)
            if plan.ended and len(known) == 1:
                yield f"plan entry {number}: a level nside {entry.nside} after the end"
        if isinstance(entry, EndEntry) and entry.levels > len(plan.levels):
            yield f"plan entry {number}: an end after {entry.levels} levels, of which {len(plan.levels)} are planned"
        plan.add(entry)
    if not plan.ended:
        yield "the plan has not ended"


def _rounds(plan: Plan) -> Iterator[Round]:
    return (plan.round_at(place) for place in range(len(plan.started)))


def _expected(plan: Plan) -> Iterator[Fitted]:
    """Yield the tasks of the plan in its order."""
    assert plan.scan is not None
    for one in _rounds(plan):
        yield from ((one.pixel, seed) for seed in plan.scan.seeding.seeds_of(one))


def _tasks(plan: Plan, payloads: Iterable[bytes]) -> Iterator[str]:
    stored: dict[Fitted, bytes] = {}
    for payload in payloads:
        task, _ = decode_task(payload)
        if stored.setdefault((task.pixel, task.seed), payload) != payload:
            yield f"{task.name}: stored again with other bytes"
    expected = list(_expected(plan))
    for name in sorted(set(expected) - set(stored)):
        yield f"{_name(name)}: planned, but no task is stored"
    for name in sorted(set(stored) - set(expected)):
        yield f"{_name(name)}: a task that the plan does not have"
    if set(stored) == set(expected) and list(stored) != expected:
        yield "the tasks are not in the order of the plan"


class _Fits:
    """The fits that were stored, the first of each task, and where one that was stored again differs."""

    def __init__(self, payloads: Iterable[bytes]) -> None:
        self.stored: dict[Fitted, PixelFit] = {}
        self.broken: list[str] = []
        first: dict[Fitted, bytes] = {}
        for payload in payloads:
            for decoded in decode_fits(payload):
                name = decoded.fit.pixel, decoded.fit.seed
                self.stored.setdefault(name, decoded.fit)
                if first.setdefault(name, payload) != payload:
                    self.broken.append(f"{_name(name)}: fitted again with other bytes")

    def best(self, names: Iterable[Fitted]) -> PixelFit | None:
        """Return the best of these fits; None if one is missing."""
        found = [self.stored.get(name) for name in names]
        there = [fit for fit in found if fit is not None]
        return min(there, key=_by_llh) if there and len(there) == len(found) else None


def _best_fits(plan: Plan, fits: _Fits, payloads: Iterable[bytes]) -> Iterator[str]:
    assert plan.scan is not None
    seeding, rounds = plan.scan.seeding, set(_rounds(plan))
    for name in sorted(set(_expected(plan)) - set(fits.stored)):
        yield f"{_name(name)}: no fit is stored"
    collected: dict[Round, bytes] = {}
    for payload in payloads:
        best = decode_fits(payload)[0].fit
        one = Round(best.pixel, seeding.round_of(best.seed))
        if collected.setdefault(one, payload) != payload:
            yield f"{_name((best.pixel, best.seed))}: collected again with other bytes"
        if one not in rounds:
            yield f"{_name((best.pixel, best.seed))}: collected, but its round is not in the plan"
        expected = fits.best((one.pixel, seed) for seed in seeding.seeds_of(one))
        if expected is None or not _same(best, expected):
            yield f"{_name((best.pixel, best.seed))}: collected as the best of its round, which it is not"
    for missing in sorted(_needed(plan) - set(collected)):
        yield f"{_name((missing.pixel, None))}: round {missing.number} is fitted, but not collected"


def _needed(plan: Plan) -> set[Round]:
    """Return the rounds without which the scan is not complete: not those of pixels that were only guessed."""
    return {one for one in _rounds(plan) if is_resimulation(one.pixel) or plan.in_level(one.pixel)}


def _map(plan: Plan, fits: _Fits, frames: Iterable[bytes]) -> Iterator[str]:
    assert plan.scan is not None
    planned, seen = set(plan.planned()), set[Pixel]()
    for frame in frames:
        found = decode_fits(frame)[0].fit
        if is_resimulation(found.pixel):
            continue
        if found.pixel in seen:
            yield f"{_name((found.pixel, None))}: twice in the map"
        seen.add(found.pixel)
        names = [
            (found.pixel, seed)
            for number in range(plan.rounds_of(found.pixel))
            for seed in plan.scan.seeding.seeds_of(Round(found.pixel, number))
        ]
        best = fits.best(names)
        if best is None or not _same(found, best):
            yield f"{_name((found.pixel, found.seed))}: the map has another fit than the best"
    for pixel in sorted(planned - seen):
        yield f"{_name((pixel, None))}: not in the map"
    for pixel in sorted(seen - planned):
        yield f"{_name((pixel, None))}: in the map, but not planned"


def _by_llh(fit: PixelFit) -> tuple[bool, float, int]:
    failed = math.isnan(fit.llh)
    return failed, 0.0 if failed else fit.llh, fit.seed


def _same(one: PixelFit, other: PixelFit) -> bool:
    """Return whether two fits are the same; NaN is the same as NaN."""
    return repr(one) == repr(other)


def _name(name: tuple[Pixel, int | None]) -> str:
    pixel, seed = name
    return f"nside {pixel.nside} pixel {pixel.index}" + ("" if seed is None else f" seed {seed}")
