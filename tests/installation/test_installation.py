"""Wheel and sdist, installed with all extras outside the checkout, on every Python and with the oldest dependencies."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from testing.installation import environments, smoke

SMOKE = Path(smoke.__file__)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return environments.build(tmp_path_factory.mktemp("dist"))


@pytest.mark.slow
@pytest.mark.timeout(1200)  # on a slow machine that downloads everything
@pytest.mark.parametrize(("versions", "artefact"), [("newest", "wheel"), ("oldest", "sdist")])
@pytest.mark.parametrize("version", environments.FOUND)
def test_installation_is_complete(
    version: str, versions: str, artefact: str, built: dict[str, Path], tmp_path: Path
) -> None:
    python = environments.FOUND[version]
    pins = environments.newest(tmp_path) if versions == "newest" else environments.oldest(python, tmp_path)
    with environments.installation(f"{version}-{versions}", python, pins, built[artefact]) as own:
        words = [str(own), "-I", str(SMOKE), str(tmp_path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("skymap-scanner, version ")


@pytest.mark.parametrize("platform", ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"])
@pytest.mark.parametrize("version", environments.SUPPORTED)
def test_every_dependency_has_a_wheel_at_its_lower_bound(version: str, platform: str, tmp_path: Path) -> None:
    options = ["--python-version", version, "--python-platform", platform, "--no-build"]
    environments.resolve(tmp_path / "newest.txt", *options)
    pins = environments.resolve(tmp_path / "oldest.txt", *options, "--resolution", "lowest-direct")
    bounds = environments.bounds(version)
    assert {name: pinned for name, pinned in environments.versions_in(pins).items() if name in bounds} == bounds
