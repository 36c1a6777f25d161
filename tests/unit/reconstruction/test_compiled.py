from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from llvmlite.binding import get_host_cpu_features

from skymap_scanner.reconstruction.millipede.compiled import BASELINE, pinned_target

AVX2 = {"avx2": True, "fma": True}


@pytest.mark.parametrize(
    ("machine", "host", "chosen", "target"),
    [
        ("x86_64", AVX2, None, BASELINE),
        ("AMD64", AVX2, None, BASELINE),  # as Windows calls it
        ("x86_64", AVX2 | {"avx512f": True}, None, BASELINE),
        ("x86_64", AVX2, "generic", None),
        ("x86_64", {"avx2": True}, None, None),
        ("x86_64", {"fma": True, "avx2": False}, None, None),
        ("aarch64", {}, None, None),
        ("arm64", {"neon": True}, None, None),
    ],
)
def test_the_target_does_not_depend_on_the_host_where_it_can(
    machine: str, host: dict[str, bool], chosen: str | None, target: tuple[str, str] | None
) -> None:
    assert pinned_target(machine, host, chosen) == target


def test_numba_has_this_target_and_a_cache_of_these_sources() -> None:
    chosen = os.environ.get("NUMBA_CPU_NAME")
    target = pinned_target(platform.machine(), get_host_cpu_features(), chosen)
    name, features = target or (chosen, numba.config.CPU_FEATURES)
    assert name == numba.config.CPU_NAME
    assert features == numba.config.CPU_FEATURES
    assert Path(numba.config.CACHE_DIR).name.startswith("millipede-")


#: Prints a digest of what all fits of an event share.
SET_UP = """
import hashlib
import numpy as np
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.sources import read_event
from skymap_scanner.reconstruction.millipede import Millipede
from skymap_scanner.simulation import demo_event_path

arrays = Millipede().set_up(prepare(read_event(str(demo_event_path()))))._arrays
digest = hashlib.sha256()
for group in (arrays.bins, arrays.tables, (arrays.field.tensor, arrays.field.cell), arrays.field.near):
    for array in group:
        digest.update(np.asarray(array).tobytes())
print(digest.hexdigest())
"""


def test_code_just_compiled_gives_the_same_bits_as_code_from_the_cache(tmp_path: Path) -> None:
    """What several functions call has a copy in each; which one runs depends on what was loaded first."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SET_UP]
    compiled = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert list(tmp_path.rglob("*.nbc"))
    cached = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert len(compiled.stdout) == 65
    assert cached.stdout == compiled.stdout
