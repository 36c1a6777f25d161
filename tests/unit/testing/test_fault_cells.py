"""The fault matrix: its cells, their random moments, their outcomes and the table."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from testing.faults.cells import (
    FAULTS,
    LONG,
    NOTES,
    PARTS,
    SHORT,
    Cell,
    Outcome,
    all_cells,
    chosen,
    draw,
    from_json,
    merged,
    table,
    why_not,
)
from testing.faults.network import Service, rules
from testing.faults.play import differences, is_role

from skymap_scanner.i3 import Frame, FrameWriter


def outcome(cell: str, lost: float = 1.25, faults: tuple[str, ...] = (), seed: int = 1) -> Outcome:
    return Outcome(cell, seed, faults, 20.0, lost, 3.0, 2.0, "Scanning 1/44", "process 7", 0.5)


def test_inapplicable_cell_has_a_note() -> None:
    letters = {why_not(part, fault) for part in PARTS for fault in FAULTS}
    assert letters == {None, *NOTES}
    assert len(all_cells()) == sum(why_not(part, fault) is None for part in PARTS for fault in FAULTS) > 50
    for fault in ("kill", "delete", "hang", "memory"):
        assert [part for part in PARTS if why_not(part, fault)] == [], "these hit every part"


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ("worker:kill", ["worker:kill"]),
        ("producer:events*,saver:disk", ["producer:events-short", "producer:events-long", "saver:disk"]),
        ("*:disk", ["saver:disk", "broker:disk", "node:disk"]),
        ("saver:disk,saver:*sk", ["saver:disk"]),
    ],
)
def test_cells_are_chosen_by_pattern(patterns: str, names: list[str]) -> None:
    assert [cell.name for cell in chosen(patterns)] == names


def test_pattern_that_matches_no_cell_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"'broker:api\*' matches no cell; the cells are producer:kill, "):
        chosen("worker:kill,broker:api*")


def test_equal_seeds_give_equal_draws() -> None:
    for cell in all_cells():
        first = draw(cell, 1)
        assert first == draw(cell, 1)
        assert 0 <= first.moment <= 0.85
        assert draw(cell, 1, attempt=3).moment <= 0.85 * 0.7**3, "each time earlier"
    assert draw(Cell("worker", "kill"), 1) != draw(Cell("worker", "kill"), 2)
    assert draw(Cell("producer", "events-long"), 1).moment == 0.0, "the event is fetched in the first second"


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("pulsar-short", SHORT, SHORT), ("api-long", LONG, LONG), ("hang", 5, 20), ("disk", 20, 30), ("kill", 1, 5)],
)
def test_duration_of_a_fault_matches_its_column(name: str, least: float, most: float) -> None:
    lengths = [draw(cell, seed).seconds for cell in all_cells() if cell.fault == name for seed in range(20)]
    assert lengths
    assert all(length is not None and least <= length <= most for length in lengths)
    assert draw(Cell("worker", "hang-forever"), 1).seconds is None


def test_table_shows_lost_seconds_failures_and_notes() -> None:
    found = table([outcome("worker:kill"), outcome("worker:kill", 7.6), outcome("saver:disk", faults=("a|b", "a|b"))])
    rows = {line.split(" | ")[0].removeprefix("| "): line.split(" | ") for line in found.splitlines() if " | " in line}
    assert rows["worker"][1] == "8", "the most of two runs"
    assert rows["saver"][6] == "**a/b**"
    assert rows["broker"][7] == "– b"
    assert rows["node"][1] == "not run"
    assert all(f"- {letter}: " in found for letter in NOTES)
    assert {len(row) for row in rows.values()} == {len(FAULTS) + 1}


def test_outcomes_round_trip_and_newer_ones_replace_older() -> None:
    before = [outcome("worker:kill"), outcome("saver:disk", faults=("late",))]
    again = [from_json(json.loads(json.dumps(dataclasses.asdict(one)))) for one in before]
    assert again == before
    after = merged(again, [outcome("saver:disk", 2.0), outcome("saver:disk", 3.0, seed=2)])
    assert [(one.cell, one.lost) for one in after] == [("worker:kill", 1.25), ("saver:disk", 2.0), ("saver:disk", 3.0)]


def test_files_are_compared_bit_for_bit_and_frames_are_read(tmp_path: Path) -> None:
    path = tmp_path / "run.i3"
    with FrameWriter(path) as writer:
        writer.write(Frame("P"))
    expected = {"run.i3": path.read_bytes(), "run.json": b"{}"}
    assert differences(expected, expected) == []
    assert differences(expected | {"run.json": b"[]", "partial.json": b""}, expected) == [
        "partial.json is unexpected",
        "run.json differs",
    ]
    cut = {"run.i3": expected["run.i3"][:-3]}
    missing, differs, unreadable = differences(cut, expected)
    assert (missing, differs) == ("run.json is missing", "run.i3 differs")
    assert unreadable.startswith("run.i3 cannot be read: ")
    empty = tmp_path / "empty.i3"
    with FrameWriter(empty) as writer:
        writer.write(Frame("G"))
    assert differences({"run.i3": empty.read_bytes()}, {"run.i3": empty.read_bytes()}) == ["run.i3 holds no pixel"]


@pytest.mark.parametrize(
    ("command", "is_one"),
    [
        (["/opt/x/bin/python", "/opt/x/bin/skymap-scanner", "worker"], True),
        (["/opt/skymap-scanner/bin/python", "/opt/skymap-scanner/bin/skymap-operator"], False),
        (["/pause"], False),
        ([], False),
    ],
)
def test_roles_are_recognized_by_their_command(command: list[str], is_one: bool) -> None:
    assert is_role(command) is is_one


def test_cut_drops_both_directions() -> None:
    some = rules(Service("10.0.0.1", [6650, 8080]), everybody=False)
    for hook in ("input", "forward", "output"):
        assert (
            f"type filter hook {hook} priority -10; ip saddr @cut ip daddr 10.0.0.1 tcp dport {{ 6650, 8080 }} drop;"
            in some
        )
    assert some.count("ip daddr @cut ip saddr 10.0.0.1 tcp sport { 6650, 8080 } drop;") == 3
    assert "@cut" not in rules(Service("10.0.0.1", [6650]), everybody=True)


def test_documentation_has_a_figure_in_every_cell() -> None:
    text = (Path(__file__).parents[3] / "docs/benchmarks/faults.md").read_text()
    header, _, *rest = table([]).splitlines()
    assert header in text
    assert [line for line in rest if line.startswith("- ") and line not in text] == [], "the notes"
    for part in PARTS:
        (row,) = [line.split(" | ") for line in text.splitlines() if line.startswith(f"| {part} | ")][:1]
        for fault, shown in zip(FAULTS, (cell.rstrip(" |") for cell in row[1:]), strict=True):
            letter = why_not(part, fault)
            assert re.fullmatch(r"-?\d+" if letter is None else f"– {letter}", shown), (part, fault, shown)
