"""Cuts the power at every moment of a scan on one machine: each file must be whole, and the scan must go on.

    python -m benchmarks.faults.power --step 1 --resume 40

Records what ``skymap-scanner run`` writes, in a new folder and in one whose scan it replaces. Then the power fails
after every ``--step``-th change, in five ways (`testing.power.disk.cuts`), and what is left is judged. From random
ones, as many as ``--resume``, the scan is completed, and its files must have the same bytes as without a cut. Exit code
1 if anything is wrong. (needs the C compiler cc, on Linux)
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from testing.power.disk import FileSynced, FolderSynced, Written, cuts
from testing.power.scans import Case, Command

from skymap_scanner.event.demo import demo_event_path
from skymap_scanner.event.sources import read_event
from skymap_scanner.i3 import FrameWriter, I3String


def other_event(path: Path) -> Path:
    """Write the demo event under another name; return the path."""
    event = read_event(str(demo_event_path()))
    with FrameWriter(path) as writer:
        for stop, frame in event.frames.items():
            other = frame.copy()
            if stop == "P":
                other["SCAN_EventName"] = I3String("run00000002.evt000000000009.other")
            writer.write(other)
    return path


def judge(name: str, case: Case, step: int, resumed: int) -> list[str]:
    """Cut the power at each moment and print the figures; return what is wrong."""
    began = time.monotonic()
    kinds = Counter(type(change) for change in case.changes)
    size = sum(len(change.data) for change in case.changes if isinstance(change, Written))
    print(
        f"{name}: {len(case.changes)} changes ({kinds[Written]} writes of {size / 1e6:.1f} MB in all, "
        f"{kinds[FileSynced]} files and {kinds[FolderSynced]} folders synced)",
        flush=True,
    )
    moments = [*range(0, len(case.changes), step), len(case.changes)]
    wrong = [one for number in moments for cut in cuts(number) for one in case.cut(number, cut)]
    print(
        f"  {len(moments)} × {len(cuts(0))} cuts judged in {time.monotonic() - began:.0f} s: {len(wrong)} wrong",
        flush=True,
    )
    chance = random.Random(1)
    began, failed = time.monotonic(), 0
    for _ in range(resumed):
        number = chance.choice(moments)
        cut = chance.choice(cuts(number))
        case.cut(number, cut)
        found = [f"resumed after {number} changes, {cut.name}: {one}" for one in case.resume()]
        failed += bool(found)
        wrong += found
    print(f"  {resumed} resumed in {time.monotonic() - began:.0f} s: {failed} with other files", flush=True)
    return wrong


def main() -> None:
    """Record both cases and judge them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=int, default=1, help="judge every so-many-th change  [default: 1]")
    parser.add_argument("--resume", type=int, default=20, help="scans to complete in each case  [default: 20]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "root").mkdir()
        first = Case.recorded(Command(other_event(place / "other.i3"), place / "root"), place / "scratch-1")
        second = Command(demo_event_path(), place / "root", ("--restart",))
        replaced = Case.recorded(second, place / "scratch-2", first.scan)
        wrong = judge("new folder", first, arguments.step, arguments.resume)
        wrong += judge("replaced scan", replaced, arguments.step, arguments.resume)
    print("\n".join(wrong[:50]))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
