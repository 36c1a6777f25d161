"""``skymap-scanner run`` on a disk that loses power at any moment; ``benchmarks/faults/power.py`` tries all of them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from testing.power.disk import Created, FileSynced, FolderSynced, Written, cuts
from testing.power.scans import Case, Command
from tests.unit.roles.conftest import write_event

from skymap_scanner.event.demo import demo_event_path
from skymap_scanner.event.model import Event
from skymap_scanner.roles.local.local import BROKER_FILE

pytestmark = pytest.mark.slow


@dataclass
class Cases:
    """A scan of a new folder, and one that replaces another (``--restart``)."""

    new: Case
    replaced: Case


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, event: Event) -> Cases:
    folder = tmp_path_factory.mktemp("power")
    (folder / "new").mkdir()
    write_event(event, folder / "event.i3")
    first = Case.recorded(Command(folder / "event.i3", folder / "new"), folder / "scratch-1")
    finished = first.disk(len(first.changes)).after(cuts(0)[0])
    assert "scan/scan.json" in finished
    second = Command(demo_event_path(), folder / "new", ("--restart",))
    return Cases(first, Case.recorded(second, folder / "scratch-2", first.scan))


def moments(case: Case) -> st.SearchStrategy[int]:
    """Draw a number of changes, half of the time just before or after one that is not a write."""
    others = [n for n, change in enumerate(case.changes) if not isinstance(change, Written)]
    return st.sampled_from(others).flatmap(lambda n: st.sampled_from((n, n + 1))) | st.integers(0, len(case.changes))


@settings(max_examples=60)
@given(st.data())
def test_power_cut_leaves_each_file_whole_or_none(cases: Cases, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from([cases.new, cases.replaced]), label="case")
    number = data.draw(moments(case), label="changes")
    assert [wrong for cut in cuts(number) for wrong in case.cut(number, cut)] == []


def test_finished_scan_survives_a_power_cut_at_once(cases: Cases) -> None:
    for case in (cases.new, cases.replaced):
        for cut in cuts(1):
            assert case.cut(len(case.changes), cut) == []
            assert all((case.command.root / "scan" / name).exists() for name in case.scan.results), cut.name


@pytest.mark.parametrize(("replaced", "part", "way"), [(False, 0.3, 4), (False, 0.7, 1), (True, 0.01, 4)])
def test_scan_resumed_after_a_power_cut_has_the_same_files(cases: Cases, replaced: bool, part: float, way: int) -> None:
    case = cases.replaced if replaced else cases.new
    number = int(part * len(case.changes))
    assert case.cut(number, cuts(number)[way]) == []
    assert case.resume() == []


def test_scan_that_syncs_nothing_is_found_damaged(cases: Cases) -> None:
    case = cases.new
    unsynced = [change for change in case.changes if not isinstance(change, FileSynced | FolderSynced)]
    [database] = [one.inode for one in unsynced if isinstance(one, Created) and one.path.endswith(f"/{BROKER_FILE}")]
    written = [n for n, one in enumerate(unsynced, 1) if isinstance(one, Written) and one.inode == database]
    careless = Case(case.command, case.before, unsynced, case.scan)
    assert any("the database" in wrong for n in written for wrong in careless.cut(n, cuts(n)[-1]))
    end = len(unsynced)
    assert any("is not a valid record" in wrong for wrong in careless.cut(end, cuts(0)[2]))  # a name without content
    assert any("has other bytes" in wrong for seed in range(16) for wrong in careless.cut(end, cuts(seed)[-1]))
