"""Fuzz every parser for some seconds each, coverage-guided: nothing but the errors that are meant may come out.

    python -m testing.fuzz [--seconds 60] [--corpus FOLDER] [TARGET ...]

Needs atheris (the extra ``bench``). Each target runs in a process of its own, in which an input may take 1 GiB more
memory and half a minute. The corpus of a target grows from run to run; its first inputs are made by code. Prints a
table, and what escaped; the inputs that did are kept as ``escaped-*`` in the target's corpus. Exits with 1 when
something escaped, also from an input that an earlier run has kept.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import logging
import os
import re
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

#: The targets by the modules that have them; only the module of one target is imported to run it.
MODULES = {
    "i3_files": ("i3",),
    "events": ("event", "unpickler"),
    "results": ("npz", "json", "fits", "calibration"),
    "reports": ("history", "card", "work"),
    "messages": ("task", "fit", "plan", "progress", "crash-report", "handshake", "admin", "broker"),
    "inputs": ("manifest", "url", "fetch"),
}
#: What is instrumented: the parsers. Not the compiled kernels, which no parser calls.
INSTRUMENTED = [
    *(
        f"skymap_scanner.{name}"
        for name in ("broker", "cli", "event", "i3", "kubectl", "npz", "report", "results", "roles", "scan")
    ),
    "skymap_api",
    "skymap_operator.decide",
    "skymap_operator.observe",
]
#: Most memory (bytes) that an input may take, and most time (s), on a machine that does other things, too.
MEMORY, SECONDS = 1 << 30, 30


@dataclass(frozen=True)
class Outcome:
    """What a run of one target has found; ``inputs`` and ``edges`` are None if the fuzzer did not start."""

    target: str
    inputs: int | None
    edges: int | None
    minutes: float
    escaped: tuple[Path, ...]
    log: str

    @property
    def failed(self) -> bool:
        """Whether something escaped, or the fuzzer itself did not run."""
        return bool(self.escaped) or self.inputs is None


def fuzz(name: str, corpus: Path, seconds: int) -> None:
    """Run libFuzzer on one target in this process; does not return."""
    import atheris  # noqa: PLC0415 - only this process needs it

    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=INSTRUMENTED):
        module = importlib.import_module(f"testing.fuzz.{module_of(name)}")
    target = next(one for one in module.TARGETS if one.name == name)
    for number, data in enumerate(target.seeds()):
        (corpus / f"seed-{number:03}").write_bytes(data)
    logging.disable()
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    options = [
        f"-max_total_time={seconds}",
        "-print_final_stats=1",
        f"-timeout={SECONDS}",
        f"-report_slow_units={SECONDS}",
        "-rss_limit_mb=0",  # the limit above is strict
        f"-max_len={target.longest}",
        f"-artifact_prefix={corpus}/escaped-",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.run)
    atheris.Fuzz()


def module_of(target: str) -> str:
    """Return the module of a target."""
    return next(module for module, names in MODULES.items() if target in names)


def run(target: str, corpus: Path, seconds: int) -> Outcome:
    """Run one target in a process of its own, and read what it prints."""
    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "testing.fuzz",
        "--inside",
        "--corpus",
        str(folder),
        "--seconds",
        str(seconds),
        target,
    ]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    tried = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    edges = re.findall(r"\bcov: (\d+)", done.stderr)
    return Outcome(
        target,
        int(tried[1]) if tried else None,
        int(edges[-1]) if edges else None,
        (time.monotonic() - began) / 60,
        tuple(sorted(folder.glob("escaped-*"))),
        done.stdout[-2000:] + done.stderr[-4000:],
    )


def main() -> int:
    """Run the targets one after the other, and print a table."""
    names = [name for group in MODULES.values() for name in group]
    parser = argparse.ArgumentParser(prog="python -m testing.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"some of {', '.join(names)} (default: all)")
    parser.add_argument("--seconds", type=int, default=60, help="for how long each (default 60)")
    parser.add_argument("--corpus", type=Path, help="folder of the inputs (default: FUZZ_CORPUS, or one in ~/.cache)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # this is the process of one target
    options = parser.parse_args()
    unknown = sorted(set(options.targets) - set(names))
    if unknown:
        parser.error(f"there is no target {unknown[0]}: choose from {', '.join(names)}")
    default = Path(os.environ.get("FUZZ_CORPUS") or Path.home() / ".cache" / "skymap-scanner" / "fuzz")
    corpus = options.corpus or default
    if options.inside:
        fuzz(options.targets[0], corpus, options.seconds)
    outcomes = []
    print(f"{'target':<14}{'inputs':>10}{'edges':>8}{'minutes':>9}{'escaped':>9}", flush=True)
    for name in options.targets or names:
        one = run(name, corpus, options.seconds)
        outcomes.append(one)
        figures = ("?" if value is None else str(value) for value in (one.inputs, one.edges))
        print("{:<14}{:>10}{:>8}{:>9.1f}{:>9}".format(name, *figures, one.minutes, len(one.escaped)), flush=True)
    for one in outcomes:
        if one.failed:
            print(f"\n{one.target}:", one.log, *one.escaped, sep="\n")
    return int(any(one.failed for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
