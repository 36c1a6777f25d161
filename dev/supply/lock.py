"""Write the lock files in requirements/: what each extra needs, with the versions and the SHA-256 of all its files.

    python -m dev.supply.lock [--upgrade]     keeps the locked versions, or takes the newest
    python -m dev.supply.lock --check         compares the files with pyproject.toml, without a network

All files lock a package in the same version, so that any of them can be installed together. They hold for every
supported Python and platform.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "requirements"
#: The oldest Python that all locked packages support: Debian 12 has 3.11.2.
OLDEST_PYTHON = "3.11.0"
#: The lock files that each image installs, as its Dockerfile says.
IMAGES = {"worker": ("scanner", "plots", "pulsar", "kafka", "page"), "operator": ("operator",)}

_HEADER = "# Made by `make lock` from what pyproject.toml requires:\n"
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+?))?(?: \\)?$")
_HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")


@dataclass(frozen=True)
class Pin:
    """A package in a lock file; ``hashes`` counts the SHA-256 of its files."""

    name: str
    version: Version
    marker: Marker | None
    hashes: int

    def applies(self, environment: Mapping[str, str]) -> bool:
        """Return whether it is installed in an environment, such as ``{"python_version": "3.12"}``."""
        return self.marker is None or self.marker.evaluate(dict(environment))


def groups(pyproject: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the requirements of each lock file by its name: the project's, and those of its extras and tools."""
    project = pyproject["project"]
    extras = {name: listed for name, listed in project["optional-dependencies"].items() if name != "all"}
    build = pyproject["build-system"]["requires"]
    return {"scanner": project["dependencies"], **extras, "build": build, **pyproject["dependency-groups"]}


def header(requirements: Sequence[str]) -> str:
    """Return the first lines of a lock file."""
    return _HEADER + "".join(f"#   {one}\n" for one in requirements)


def read_pins(text: str) -> Iterator[Pin]:
    """Read a lock file.

    Raises
    ------
    ValueError
        if a line is neither a comment, a pin nor a hash
    """
    found: list[tuple[re.Match[str], int]] = []
    for line in text.splitlines():
        if pin := _PIN.match(line):
            found.append((pin, 0))
        elif _HASH.match(line) and found:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        elif line and not line.startswith("#"):
            msg = f"not a pinned package: {line[:100]}"
            raise ValueError(msg)
    for pin, hashes in found:
        marker = Marker(pin["marker"]) if pin["marker"] else None
        yield Pin(canonicalize_name(pin["name"]), Version(pin["version"]), marker, hashes)


def problems(wanted: Mapping[str, Sequence[str]], locks: Mapping[str, str]) -> list[str]:
    """Return how the lock files differ from the requirements; an empty list if they agree."""
    found = [f"{name}.txt is missing" for name in sorted(wanted.keys() - locks.keys())]
    found += [f"{name}.txt belongs to no extra" for name in sorted(locks.keys() - wanted.keys())]
    versions: dict[str, Version] = {}
    for name in sorted(wanted.keys() & locks.keys()):
        try:
            pins = {pin.name: pin for pin in read_pins(locks[name])}
        except ValueError as error:
            found.append(f"{name}.txt: {error}")
            continue
        if not locks[name].startswith(header(wanted[name]) + "\n"):
            found.append(f"{name}.txt was made from other requirements")
        for requirement in map(Requirement, wanted[name]):
            pin = pins.get(canonicalize_name(requirement.name))
            if pin is None or not requirement.specifier.contains(pin.version, prereleases=True):
                found.append(f"{name}.txt does not meet {requirement}")
        for pin in pins.values():
            if not pin.hashes:
                found.append(f"{name}.txt has no hash of {pin.name}")
            if versions.setdefault(pin.name, pin.version) != pin.version:
                found.append(f"{name}.txt has {pin.name} {pin.version}, another file has {versions[pin.name]}")
    return found


def _compile(requirements: Sequence[str], constraints: str, *options: str) -> str:
    """Resolve requirements with uv for every supported Python and platform; return its output."""
    path = ROOT / "build/constraints.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(constraints)
    words = ["--universal", "--python-version", OLDEST_PYTHON, "--fork-strategy", "fewest", "--no-header"]
    uv = [Path(sys.executable).with_name("uv"), "pip", "compile", "--quiet", "--no-config", "--no-annotate", *words]
    done = subprocess.run(
        [*uv, *options, "--constraints", path, "-"],
        input="\n".join(requirements),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode:
        sys.exit(f"lock: uv found no versions:\n{done.stderr}")
    return done.stdout


def write(wanted: Mapping[str, Sequence[str]], locks: Mapping[str, str], *, upgrade: bool) -> None:
    """Resolve everything together, then write each lock file with these versions."""
    old: dict[str, Version] = {}
    for pin in (pin for text in locks.values() for pin in read_pins(text)):
        old[pin.name] = max(pin.version, old.get(pin.name, pin.version))  # Dependabot may have updated one file only
    everything = [one for listed in wanted.values() for one in listed]
    kept = "" if upgrade else "\n".join(f"{name}=={version}" for name, version in old.items())
    together = _compile(everything, kept)
    FOLDER.mkdir(exist_ok=True)
    for name, requirements in wanted.items():
        pinned = _compile(requirements, together, "--generate-hashes")
        (FOLDER / f"{name}.txt").write_text(f"{header(requirements)}\n{pinned}")
    for name in locks.keys() - wanted.keys():
        (FOLDER / f"{name}.txt").unlink()


def main() -> None:
    """Write or check the files, as the command line says."""
    parser = argparse.ArgumentParser(description="Write the lock files in requirements/.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--upgrade", action="store_true", help="take the newest versions")
    how.add_argument("--check", action="store_true", help="only compare the files with pyproject.toml")
    given = parser.parse_args()
    wanted = groups(tomllib.loads((ROOT / "pyproject.toml").read_text()))
    locks = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.txt"))}
    if not given.check:
        write(wanted, locks, upgrade=given.upgrade)
    elif found := problems(wanted, locks):
        sys.exit("\n".join(["requirements/ is not current: make lock", *(f"  {one}" for one in found)]))


if __name__ == "__main__":
    main()
