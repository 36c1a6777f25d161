"""A few cells of the fault matrix, those that no other test has: what befalls the machine under a scan changes no bit.

All of them: make faults (docs/benchmarks/faults.md).
The faults befall processes of this machine, so the cluster is one of our own
making, and it is another than that of the other tests, which would miss its API server.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from testing.faults.cells import Cell, chosen
from testing.faults.play import perform, restore, scan_embedded, spec
from testing.faults.scene import Scene, scene
from testing.leaving import leave_out

CELLS = chosen("worker:hang,saver:memory,saver:disk,api-server:kill,kubelet:kill,node:pulsar-short")

#: Of one fit, of which there are 132, and of a scan (s), by which the moment of the fault is drawn.
FIT_SECONDS, SCAN_SECONDS = 0.05, 12.0


@pytest.fixture(scope="module")
def place(engine: str, pulsar_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    if engine != "native":
        leave_out("the faults befall processes of the native cluster; this machine makes clusters by kind")
    with scene(tmp_path_factory.mktemp("faults")) as place:
        yield place


@pytest.fixture(scope="module")
def expected(place: Scene, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return scan_embedded(spec(place.events, FIT_SECONDS), tmp_path_factory.mktemp("embedded"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("cell", CELLS, ids=[cell.name for cell in CELLS])
def test_no_fault_changes_a_bit_or_leaves_anything(place: Scene, expected: dict[str, bytes], cell: Cell) -> None:
    outcome = perform(place, cell, 1, spec(place.events, FIT_SECONDS), expected, SCAN_SECONDS)
    assert outcome.faults == (), outcome.line()
    assert cell.name != "saver:disk" or "ClaimFull" in str(outcome.told), "people are told of a full claim"
    restore(place)
