"""Environments that hold an installation with all extras, kept between runs in the user's cache."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.supply.lock import read_pins
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skymap-scanner/installations"
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
EXTRAS = ("plots", "pulsar", "kafka", "page", "operator")
#: Packages that one version of a direct dependency needs in one version.
COUPLED = {"llvmlite", "pydantic-core"}
#: Where Pythons lie beside those in PATH: pyenv's, and those of GitHub's runners.
_PLACES = ("~/.pyenv/versions/{0}.*/bin/python{0}", "/opt/hostedtoolcache/Python/{0}.*/x64/bin/python{0}")


def find_python(version: str) -> str | None:
    """Return a Python of this version that runs; None if this machine has none."""
    found = [shutil.which(f"python{version}")]
    for place in _PLACES:
        path = Path(place.format(version)).expanduser()
        start = Path(path.anchor)
        found += sorted(map(str, start.glob(str(path.relative_to(start)))))
    check = f"import sys; sys.exit(sys.version_info[:2] != ({version.replace('.', ', ')}))"
    for one in found:
        if (
            one is not None
            and not subprocess.run([one, "-I", "-c", check], capture_output=True, check=False).returncode
        ):
            return one
    return None


#: The Pythons of this machine, by version.
FOUND = {version: python for version in SUPPORTED if (python := find_python(version))}


def uv(*words: str | Path) -> str:
    """Run uv, which downloads no Python; return what it prints."""
    settings = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "UV_NO_CONFIG": "1"}
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [shutil.which("uv", path=f"{ROOT}/.venv/bin:{os.environ['PATH']}") or "uv", *map(str, words)],
        cwd=ROOT,
        env=kept | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(folder: Path) -> dict[str, Path]:
    """Build the sdist, and the wheel from the sdist; return both by these names."""
    uv("build", "--quiet", "--out-dir", folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


def oldest(python: str, folder: Path) -> Path:
    """Write the oldest versions that pyproject.toml allows; those of other packages are the locked ones."""
    direct = {_name(line) for line in _direct()}
    lines = newest(folder).read_text().splitlines()
    others, pins = folder / "others.txt", folder / "oldest.txt"
    others.write_text("\n".join(line for line in lines if _name(line) not in direct | COUPLED))
    return resolve(pins, "--python", python, "--resolution", "lowest-direct", "-c", others)


def newest(folder: Path) -> Path:
    """Write the locked versions, which all other tests run with."""
    locks = [(ROOT / f"requirements/{name}.txt").read_text() for name in ("scanner", *EXTRAS)]
    pins = folder / "newest.txt"
    pins.write_text("\n".join(sorted({f"{pin.name}=={pin.version}" for lock in locks for pin in read_pins(lock)})))
    return pins


@contextmanager
def installation(name: str, python: str, pins: Path, artefact: Path) -> Iterator[Path]:
    """Install an artefact with all extras into the environment of this name; yield its Python.

    Only what has changed since the last run is installed. No other run uses the environment at the same time.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        environment = CACHE / name
        own = environment / "bin/python"
        if not own.exists():
            uv("venv", "--quiet", "--clear", "--python", python, environment)
        from_source = ["--no-binary", "skymap-scanner"] if artefact.suffix == ".gz" else []
        options = [
            "--exact",
            "--only-binary",
            ":all:",
            *from_source,
            "--reinstall-package",
            "skymap-scanner",
            "-c",
            pins,
        ]
        uv("pip", "install", "--quiet", "--python", own, *options, f"skymap-scanner[all] @ {artefact.as_uri()}")
        yield own


def bounds(version: str) -> dict[str, Version]:
    """Return the oldest version of each direct dependency that pyproject.toml allows for a version of Python."""
    found = {}
    for requirement in map(Requirement, _direct()):
        if requirement.marker is None or requirement.marker.evaluate({"python_version": version}):
            (lower,) = requirement.specifier
            found[_name(requirement.name)] = max(
                Version(lower.version), found.get(_name(requirement.name), Version("0"))
            )
    return found


def versions_in(pins: Path) -> dict[str, Version]:
    """Return the version of each package in a file of pins."""
    parts = (line.partition("==") for line in pins.read_text().splitlines())
    return {_name(name): Version(pinned.split()[0]) for name, equal, pinned in parts if equal}


def resolve(pins: Path, *options: str | Path) -> Path:
    """Write the versions that pyproject.toml leads to with these options of ``uv pip compile``."""
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    uv("pip", "compile", "--quiet", "--no-annotate", "--no-header", "-o", pins, *options, *extras, "pyproject.toml")
    return pins


def _direct() -> list[str]:
    """Return the lines of all direct dependencies, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(one for extra in EXTRAS for one in project["optional-dependencies"][extra])]


def _name(requirement: str) -> str:
    """Return the normalized name of what a line requires."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement)[0]).lower()
