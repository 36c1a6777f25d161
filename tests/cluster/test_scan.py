"""A whole scan in restricted pods, with the real likelihood and every result format, compared with one machine's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from testing.cluster.cluster import Namespace
from testing.cluster.operators import OperatorProcess
from testing.cluster.scans import Scan, ended, manifest, results, scan
from testing.map_files import TIMED, is_map_file, map_files

#: 28 pixels of 3 seeds take two workers half a minute.
SPEC: Scan = {
    "event": {"simulate": {"topology": "track", "ra": 77.4, "dec": 5.7, "energy": 1e6, "seed": 1}},
    "levels": [{"nside": 1}, {"nside": 4, "parents": 1}],
    "seeds": 3,
    "firstSeeds": 3,
    "workers": {"min": 1, "max": 2},
}

#: How long it may take on a busy machine (s).
SCAN_SECONDS = 480.0


def alone(folder: Path) -> dict[str, bytes]:
    """Run the same scan on this machine over the embedded broker; return its files."""
    path = folder / "scan.yaml"
    path.write_text(json.dumps(manifest(SPEC)))
    # The last bits of a map depend on the processor that BLAS detects: let it detect it itself, as in a pod.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    command = [sys.executable, "-P", "-m", "skymap_scanner", "run", path, "-o", folder / "alone"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=SCAN_SECONDS)
    assert done.returncode == 0, done.stderr
    return map_files(folder / "alone")


@pytest.mark.timeout(900)
def test_scan_in_pods_writes_the_files_of_one_machine(
    restricted: Namespace, operators: Callable[..., OperatorProcess], worker_image: str, tmp_path: Path
) -> None:
    operators(IMAGE=worker_image)
    restricted.apply(manifest(SPEC))
    assert ended(restricted, within=SCAN_SECONDS)[:2] == ("True", "Completed")
    status = scan(restricted)["status"]
    assert status["phase"] == "Succeeded"
    assert (status["pixels"]["done"], status["pixels"]["planned"]) == (28, 28)

    everything = results(restricted, worker_image, everything=True)
    assert [name.endswith(TIMED) for name in everything].count(True) == len(TIMED)
    found, expected = {name: everything[name] for name in everything if is_map_file(name)}, alone(tmp_path)
    assert {Path(name).suffix for name in expected} >= {".zst", ".fits", ".gz", ".png", ".json", ".npz", ".txt"}
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
