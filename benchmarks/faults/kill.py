"""Kills every role, the run and the broker (SIGKILL) at random moments of a real scan; compares the files bit for bit.

    python -m benchmarks.faults.kill event.json --levels 1:0 4:2 --kills 10
    python -m benchmarks.faults.kill event.json --pulsar --kills worker=20 broker=5 producer=5 collector=5 saver=5

An undisturbed scan over the embedded broker gives the expected files. With ``--pulsar`` the other scans use a real
Pulsar of their own (make pulsar-install), which is a victim too. Exit code 1 if any files differ.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from testing.killing import LocalScan, scan_with_kills
from testing.pulsar.server import PulsarServer

ROLES = ("producer", "worker", "collector", "saver")


def kills_of(words: Sequence[str], pulsar: bool) -> dict[str, int]:
    """Read ``10`` (each victim) or ``worker=20 broker=5`` (only these)."""
    victims = (*ROLES, "run", *(["broker"] if pulsar else []))
    if len(words) == 1 and words[0].isdigit():
        return dict.fromkeys(victims, int(words[0]))
    pairs = {name: int(number) for name, _, number in (word.partition("=") for word in words)}
    if unknown := pairs.keys() - set(victims):
        raise SystemExit(f"unknown victims: {', '.join(sorted(unknown))}; there are {', '.join(victims)}")
    return pairs


def main(words: Sequence[str] | None = None) -> None:
    """Scan undisturbed, then once for every victim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("event", type=Path)
    parser.add_argument("--levels", nargs="+", default=["1:0", "4:2"])
    parser.add_argument("--kills", nargs="+", default=["10"])
    parser.add_argument("--pulsar", action="store_true")
    parser.add_argument("--pause", type=float, help="longest time between kills (s)  [default: a quarter of a scan]")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(words)
    kills = kills_of(arguments.kills, arguments.pulsar)
    different = []
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        undisturbed = LocalScan(arguments.event, temporary / "undisturbed", arguments.levels)
        began = time.monotonic()
        if undisturbed.start().wait() != 0:
            raise SystemExit("the undisturbed run failed: run it by hand")
        length = time.monotonic() - began
        expected = undisturbed.digest()
        print(f"undisturbed: {length:.1f} s; {expected}", flush=True)
        server = stack.enter_context(PulsarServer(temporary / "pulsar")) if arguments.pulsar else None
        for victim, number in kills.items():
            scan = LocalScan(arguments.event, temporary / victim, arguments.levels, server)
            began = time.monotonic()
            killed = scan_with_kills(scan, [victim] * number, arguments.pause or length / 4, arguments.seed)[victim]
            seconds = time.monotonic() - began
            found = scan.digest()
            if found != expected:
                different.append(victim)
            same = "bit for bit the same" if found == expected else f"DIFFERENT: {found}"
            print(f"{victim}: killed {killed} times, {seconds:.1f} s, files {same}; {scan.repeats()}", flush=True)
    if different:
        raise SystemExit(f"the files differ after kills of: {', '.join(different)}")


if __name__ == "__main__":
    main()
