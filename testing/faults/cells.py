"""The fault matrix as data: parts, faults, the cells that do not apply and why, and the outcome of a cell.

This module has no effects: `inject` injects the faults, and `scene` sets up the place.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

ROLES = ("producer", "worker", "collector", "saver")
PARTS = (*ROLES, "operator", "broker", "api-server", "kubelet", "node")

#: A cut shorter than every timeout of a client, and one longer than most (s): a request of the scanner to Pulsar may
#: take 30 s, a broker drops a client that is silent for 10 s, and a node that is silent for 40 s is not ready.
SHORT, LONG = 3.0, 45.0

#: Each fault, with the heading of its column.
FAULTS = {
    "kill": "kill −9",
    "delete": "graceful end",
    "hang": "hang, 5–20 s",
    "hang-forever": "hang without end",
    "memory": "out of memory",
    "disk": "full disk",
    "pulsar-short": f"no Pulsar, {SHORT:g} s",
    "pulsar-long": f"no Pulsar, {LONG:g} s",
    "api-short": f"no API server, {SHORT:g} s",
    "api-long": f"no API server, {LONG:g} s",
    "events-short": f"no event server, {SHORT:g} s",
    "events-long": f"no event server, {LONG:g} s",
}

#: Why a cell does not apply, by the letter in the table.
NOTES = {
    "a": "does not talk to it",
    "b": "the cut stands in the row of the other side; that between all pods and Pulsar in the row `node`",
    "c": "only the machine itself can notice this (systemd, a health check)",
    "d": "writes nothing to a disk",
    "e": "its disk is the node's, see there: the workers' volumes and the kubelet's folder",
    "f": "its disk is that of etcd, which belongs to the cluster",
}


@dataclass(frozen=True, order=True)
class Cell:
    """One part and one fault."""

    part: str
    fault: str

    @property
    def name(self) -> str:
        """The name on the command line, such as ``worker:kill``."""
        return f"{self.part}:{self.fault}"


def why_not(part: str, fault: str) -> str | None:
    """Return the letter of the note why this cell does not apply; None if it applies."""
    if fault == "hang-forever":
        return None if part in {*ROLES, "operator"} else "c"
    if fault == "disk":
        notes = {"worker": "e", "kubelet": "e", "api-server": "f"} | dict.fromkeys(
            ("producer", "collector", "operator"), "d"
        )
        return notes.get(part)
    kind, cut, _ = fault.partition("-")
    if not cut:
        return None
    talks = {"pulsar": (*ROLES, "operator", "node"), "api": ("operator", "kubelet"), "events": ("producer",)}[kind]
    if part in talks:
        return None
    return "b" if (part, kind) in {("broker", "pulsar"), ("api-server", "api")} else "a"


def all_cells() -> list[Cell]:
    """Return the cells that apply, row by row."""
    return [Cell(part, fault) for part in PARTS for fault in FAULTS if why_not(part, fault) is None]


def chosen(patterns: str) -> list[Cell]:
    """Return the cells that match patterns such as ``worker:kill,broker:*``.

    Raises
    ------
    ValueError
        If a pattern matches none; the message lists all cells.
    """
    cells, found = all_cells(), set[Cell]()
    for pattern in patterns.split(","):
        named = {cell for cell in cells if fnmatch(cell.name, pattern)}
        if not named:
            raise ValueError(f"{pattern!r} matches no cell; the cells are {', '.join(cell.name for cell in cells)}")
        found |= named
    return [cell for cell in cells if cell in found]


@dataclass(frozen=True)
class Draw:
    """When the fault begins, as a fraction of the undisturbed scan, and how long it lasts (s).

    ``seconds`` is None for a fault that lasts until the scan ends or the operator replaces the part.
    """

    moment: float
    seconds: float | None


def draw(cell: Cell, seed: int, attempt: int = 0) -> Draw:
    """Draw a cell's moment and length; equal seeds and attempts give equal draws."""
    chance = random.Random(f"{seed}/{cell.name}/{attempt}")
    moment = chance.uniform(0.4, 0.85) if cell.fault == "disk" else chance.uniform(0.05, 0.85)
    # The producer finishes when the last level is planned; it fetches the event in the first second.
    latest = {"producer": 0.45}.get(cell.part, 0.85)
    moment = 0.0 if cell.fault.startswith("events") else min(moment, latest) * (0.7**attempt)
    # A full disk lasts until the end of the scan, where most data are written.
    lengths = {"hang": chance.uniform(5.0, 20.0), "hang-forever": None, "disk": chance.uniform(20.0, 30.0)}
    if cell.fault.endswith("-short"):
        return Draw(moment, SHORT)
    if cell.fault.endswith("-long"):
        return Draw(moment, LONG)
    return Draw(moment, lengths.get(cell.fault, chance.uniform(1.0, 5.0)))


@dataclass(frozen=True)
class Outcome:
    """The outcome of one cell.

    ``faults``: what is wrong, empty for a good outcome; ``seconds``: the duration of the scan, ``lost``: minus that of
    the median undisturbed scan; ``moment``, ``lasted``: when the fault began and how long it lasted (s); ``hit``: the
    process or pod; ``load``: of the machine; ``degraded``: the reasons and messages of the condition Degraded.
    """

    cell: str
    seed: int
    faults: tuple[str, ...]
    seconds: float
    lost: float
    moment: float
    lasted: float
    phase: str
    hit: str
    load: float
    degraded: tuple[str, ...] = ()

    def line(self) -> str:
        """Return the outcome in one line."""
        what = "; ".join(self.faults) or f"lost {self.lost:.0f} s"
        return (
            f"{self.cell}: {what} (at {self.moment:.1f} s, {self.phase}: {self.hit}, {self.lasted:.0f} s; "
            f"scan {self.seconds:.1f} s, load {self.load:.1f})"
        )


def by_cell(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """Group outcomes by cell."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.cell, []).append(outcome)
    return groups


def entry(part: str, fault: str, outcomes: Sequence[Outcome]) -> str:
    """Return the text of a cell: the seconds lost (the most of several runs), what failed, or why it does not apply."""
    note = why_not(part, fault)
    if note is not None:
        return f"– {note}"
    if not outcomes:
        return "not run"
    wrong = [fault for outcome in outcomes for fault in outcome.faults]
    if wrong:
        return "**" + "; ".join(dict.fromkeys(wrong)).replace("|", "/")[:120] + "**"
    return str(round(max(outcome.lost for outcome in outcomes)))


def table(outcomes: Iterable[Outcome]) -> str:
    """Return the matrix as a Markdown table, with the notes under it."""
    groups = by_cell(outcomes)
    lines = ["| | " + " | ".join(FAULTS.values()) + " |", "|---" * (len(FAULTS) + 1) + "|"]
    for part in PARTS:
        row = [entry(part, fault, groups.get(f"{part}:{fault}", [])) for fault in FAULTS]
        lines.append(f"| {part} | " + " | ".join(row) + " |")
    return "\n".join([*lines, "", *(f"- {letter}: {text}" for letter, text in NOTES.items())])


def merged(before: Iterable[Outcome], after: Iterable[Outcome]) -> list[Outcome]:
    """Replace the outcomes of cells that ran again; return all in the order of the table."""
    kept = by_cell(before) | by_cell(after)
    return [outcome for cell in all_cells() for outcome in kept.get(cell.name, [])]


def from_json(words: dict[str, object]) -> Outcome:
    """Return the outcome that ``dataclasses.asdict`` and JSON stored."""
    known = {field.name for field in dataclasses.fields(Outcome)}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in words.items() if name in known}
    return Outcome(**given)  # type: ignore[arg-type]
