"""A few cells of the fault matrix that no other test covers: a fault of the machine under a scan changes no bit.

``make faults`` runs all cells (docs/benchmarks/faults.md). The faults hit processes of this machine, so these tests
use a cluster of their own; the other tests would miss its API server.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from testing.cluster import scans
from testing.faults.cells import Cell, chosen
from testing.faults.play import perform, restore, spec
from testing.faults.scene import Scene, scene
from testing.leaving import leave_out

CELLS = chosen("worker:hang,saver:memory,saver:disk,api-server:kill,kubelet:kill,node:pulsar-short")

#: Times of one fit, of which there are 132, and of a scan (s); the moment of the fault is drawn from them.
FIT_SECONDS, SCAN_SECONDS = 0.05, 12.0


@pytest.fixture(scope="module")
def place(engine: str, pulsar_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    if engine != "native":
        leave_out("the faults hit processes of the native cluster; this machine starts clusters with kind")
    with scene(tmp_path_factory.mktemp("faults")) as place:
        yield place


@pytest.fixture(scope="module")
def expected(place: Scene, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return scans.embedded(spec(place.events, FIT_SECONDS), tmp_path_factory.mktemp("embedded"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("cell", CELLS, ids=[cell.name for cell in CELLS])
def test_fault_changes_no_bit_and_leaves_nothing(place: Scene, expected: dict[str, bytes], cell: Cell) -> None:
    outcome = perform(place, cell, 1, spec(place.events, FIT_SECONDS), expected, SCAN_SECONDS)
    assert outcome.faults == (), outcome.line()
    assert cell.name != "saver:disk" or "ClaimFull" in str(outcome.degraded), "a full claim is reported"
    restore(place)
