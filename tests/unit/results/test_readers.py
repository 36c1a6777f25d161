"""Our files, read by programs of others: every value agrees, at the places where they go wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from skymap_scanner.results import ScanResult, write_results
from skymap_scanner.results.contours import contours
from skymap_scanner.results.directions import radec_to_vector
from skymap_scanner.results.inside import is_inside
from skymap_scanner.results.skymap import multi_order_map

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("foreign_reader.py")
#: Programs that are not installed with the tests: in an environment of their own, or with the script below.
APART = ["ligo.skymap", "hpmoc", "cdshealpix", "icecube-skyreader"]
DEBIAN = ["STILTS", "fitsverify"]
NO_PYTHON = [*DEBIAN, "d3-geo", "Aladin Lite"]
READERS = [*APART, *NO_PYTHON, "mocpy", "mhealpy", "healpy", "astropy-healpix", "shapely"]
CASES = ["track", "RA 0", "north pole", "south pole", "one level", "area", "partial", "failed pixels"]


@dataclass
class Case:
    """The files of a result, and what a program may read from them."""

    folder: Path
    expected: dict[str, Any]


def make_result(name, scan, bowl, metadata, separation, track, partial) -> ScanResult:
    if name == "failed pixels":
        levels = {nside: rows.copy() for nside, rows in track.levels.items()}
        levels[512]["llh"][[3, 700]] = levels[8]["llh"][700] = np.nan
        return ScanResult(levels, track.metadata)
    if name == "area":
        whole = scan(bowl(187.5, 0.3, 2.0), ((32, 0),))
        pixels = multi_order_map(whole)
        rows = whole.levels[32][separation(pixels.ra, pixels.dec, 180.0, 0.0) < 6.0]
        return ScanResult({32: rows}, metadata({32: rows}))
    return {
        "track": lambda: track,
        "partial": lambda: partial,
        "RA 0": lambda: scan(bowl(0.1, -35.0, 0.5)),
        "north pole": lambda: scan(bowl(40.0, 89.7, 0.6)),
        "south pole": lambda: scan(bowl(300.0, -89.9, 0.6)),
        "one level": lambda: scan(bowl(200.0, 30.0, 4.0), ((8, 0),)),
    }[name]()


def choose_places(result: ScanResult) -> Any:
    """Directions (deg) all over the sky and around the best fit, none of them too near a contour to tell the side."""
    skymap, rng = multi_order_map(result), np.random.default_rng(3)
    regions = contours(skymap)
    best = radec_to_vector(np.array(skymap.best.ra), np.array(skymap.best.dec))
    around = rng.normal(size=(40, 3)) * np.radians(np.sqrt(regions[1].area / np.pi))
    vectors = np.concatenate([rng.normal(size=(40, 3)), best + around, best[None]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    clear = np.full(len(vectors), True)
    for region in regions:
        values = np.array([region.mesh.value_at(vector) for vector in vectors])
        clear &= ~(np.abs(values / region.threshold - 1) < 0.05)
        edges = [line[border] for line, border in zip(region.lines, region.borders, strict=True) if border.any()]
        for ra, dec in np.concatenate([np.empty((0, 2)), *edges]):
            clear &= vectors @ radec_to_vector(np.array(ra), np.array(dec)) < np.cos(np.radians(1.0))
    x, y, z = vectors[clear].T
    return np.stack([np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arcsin(z))], axis=1)


@pytest.fixture(scope="module")
def cases(scan, bowl, metadata, separation, track, partial, tmp_path_factory) -> dict[str, Case]:
    made, root = {}, tmp_path_factory.mktemp("results")
    for name in CASES:
        result = make_result(name, scan, bowl, metadata, separation, track, partial)
        folder = root / name.replace(" ", "-")
        write_results(result, folder, ["json", "npz", "fits", "flat-fits", "geojson", "moc"])
        places = choose_places(result)
        (folder / "places.json").write_text(json.dumps(places.tolist()))
        made[name] = Case(folder, expect(result, places))
    return made


@pytest.fixture(scope="module", params=READERS)
def answers(request, cases) -> dict[str, Any]:
    """What a program finds in the files of each case."""
    python, environment = sys.executable, {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
    if request.param in APART:
        python = os.environ.get("SKYMAP_TEST_READERS", str(ROOT / "build/readers/bin/python"))
        if not Path(python).exists():
            leave_out("needs the programs that read our files: make readers, or SKYMAP_TEST_READERS=PYTHON")
    if request.param in NO_PYTHON:
        environment["SKYMAP_NODE_READERS"] = look_for("dev/readers/install.sh")
    if request.param == "Aladin Lite":
        environment["SKYMAP_BROWSER"] = look_for("dev/browser/install.sh")
    folders = [case.folder for case in cases.values()]
    done = subprocess.run(
        [python, SCRIPT, request.param, *folders],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def look_for(name: str) -> str:
    """Return what a script that installs a program prints, where it is; nothing is installed."""
    done = subprocess.run([ROOT / name, "--check"], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        leave_out(done.stderr)
    return done.stdout.strip()


TOOLS = ["bash", "cat", "cut", "dirname", "env", "flock", "mkdir", "mv", "paste", "rm", "sed", "sha256sum"]


@pytest.mark.parametrize("found", [[], ["stilts", "fitsverify", "node", "npm"]], ids=["without", "with programs"])
@pytest.mark.parametrize("script", ["dev/readers/install.sh", "dev/browser/install.sh"])
def test_looking_for_programs_installs_none(script, found, tmp_path):
    """Whoever runs the unit tests as root has not asked for packages."""
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    for name in ["id", "apt-get", *found]:  # as root on Debian; each but the first leaves a trace
        line = "echo 0" if name == "id" else ": >$HOME/ran"
        (tmp_path / name).write_text(f"#!{tmp_path}/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [ROOT / script, "--check"], capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert done.returncode == 1
    assert ("make readers" if "readers" in script else "Chromium") in done.stderr
    assert not (tmp_path / "ran").exists()
    assert not list(tmp_path.rglob("package.json"))


def leave_out(reason: str) -> NoReturn:
    """Skip a test for what is missing; where all tests must run, it fails."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def expect(result: ScanResult, places: Any) -> dict[str, Any]:
    """Every value that a program may read from the files of a result."""
    skymap = multi_order_map(result)
    regions = [contours(skymap)[n] for n in (2, 0, 1)]  # in the order of the names of their files
    best = skymap.best
    vectors = radec_to_vector(*places.T)
    pixel = pytest.approx([best.llh, best.ra, best.dec, best.ra, best.dec], rel=1e-12, abs=1e-12)
    inside = [is_inside(region, vectors).tolist() for region in regions]
    assert all(0 < sum(flags) < len(flags) for flags in inside)
    return {
        "density": pytest.approx(skymap.density[skymap.cells_at(*places.T)].tolist(), rel=1e-12, abs=1e-300),
        "rows": len(skymap.uniq),
        "sum": pytest.approx(1, abs=1e-9),
        "highest": pytest.approx(skymap.density.max(), rel=1e-12),
        "best": pytest.approx([best.ra, best.dec], abs=1e-9),
        "header": pytest.approx([best.ra, best.dec], abs=1e-4),
        "area": pytest.approx([region.area for region in regions], rel=2e-3),
        "inside": inside,
        "polygons": inside,
        "json": pixel,
        "npz": pixel,
    }


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_the_map(answers, cases, name):
    for value, found in answers[cases[name].folder.name].items():
        assert found == cases[name].expected[value], value


def test_documented_readers_are_those_tested_in_their_versions():
    section = (ROOT / "docs/reference/result-files.md").read_text().partition("\n## Programs that read them\n")[2]
    documented = dict(re.findall(r"^\| (\S[^|]*?) \| ([0-9.]+).*? \|", section.partition("\n## ")[0], re.MULTILINE))
    assert sorted(documented) == sorted(READERS)
    locks = "".join((ROOT / f"requirements/{name}.txt").read_text() for name in ("readers", "test", "scanner"))
    packages = json.loads((ROOT / "dev/readers/package-lock.json").read_text())["packages"]
    for name, version in documented.items():
        package = packages.get(f"node_modules/{name.lower().replace(' ', '-')}")
        if package:
            assert version == package["version"], name
        elif name not in DEBIAN:
            assert f"\n{name.replace('.', '-')}=={version} " in locks, name
