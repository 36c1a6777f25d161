from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numba
import pytest
from llvmlite.binding import get_host_cpu_features

from skymap_scanner.reconstruction.millipede.cache import is_complete
from skymap_scanner.reconstruction.millipede.compiled import FOLDER
from skymap_scanner.reconstruction.millipede.far_grid import nearness
from skymap_scanner.reconstruction.millipede.gradient import gradient
from skymap_scanner.reconstruction.millipede.machine_code import BASELINE, pinned_target

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
def test_compilation_target_is_host_independent_if_supported(
    machine: str, host: dict[str, bool], chosen: str | None, target: tuple[str, str] | None
) -> None:
    assert pinned_target(machine, host, chosen) == target


def test_numba_has_this_target_and_a_cache_of_these_sources() -> None:
    chosen = os.environ.get("NUMBA_CPU_NAME")
    target = pinned_target(platform.machine(), get_host_cpu_features(), chosen)
    name, features = target or (chosen, numba.config.CPU_FEATURES)
    assert name == numba.config.CPU_NAME
    assert features == numba.config.CPU_FEATURES
    assert FOLDER.name.startswith("millipede-")
    assert {Path(cast("Any", kernel)._cache.cache_path) for kernel in (gradient, nearness)} == {FOLDER}


#: Prints what was compiled in this process, and a digest of what all fits of an event share and of two fits.
FIT = """
import hashlib, logging
import numpy as np
from numba.core import event
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.sources import read_event
from skymap_scanner.reconstruction.millipede import Millipede
from skymap_scanner.reconstruction.protocol import Start
from skymap_scanner.event.demo import demo_event_path

logging.basicConfig(level=logging.INFO)
prepared = prepare(read_event(str(demo_event_path())))
digest = hashlib.sha256()
with event.install_recorder("numba:compile") as compilations:
    fitter = Millipede().set_up(prepared)
    arrays = fitter._surfaces.event
    for zenith in (1.0, 2.0):
        found = fitter.locate(Start(zenith, 1.0, tuple(map(float, prepared.vertex)), float(prepared.vertex_time)))
        digest.update(repr(found).encode())
    for group in (arrays.bins, arrays.tables, (arrays.field.tensor, arrays.field.cell), arrays.field.near):
        for array in group:
            digest.update(np.asarray(array).tobytes())
print(len(compilations.buffer), digest.hexdigest())
"""

#: Fixes numba's own target before ours is chosen.
OTHER_NUMBA = """
import numba
numba.njit(lambda x: x + 1)(1)
"""


def start_fit(caches: Path, before: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", before + FIT],
        env=os.environ | {"NUMBA_CACHE_DIR": str(caches)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def state(caches: Path) -> dict[str, int]:
    """Return when each file and folder was changed: a file that was made and removed again changes its folder."""
    return {str(path): path.stat().st_mtime_ns for path in (caches, *caches.rglob("*"))}


@pytest.fixture(scope="module")
def first_starts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str]]]:
    """Start two processes at once on an empty folder; return the folder, and what each wrote (stdout, stderr)."""
    caches = tmp_path_factory.mktemp("caches")
    processes = [start_fit(caches) for _ in range(2)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    return caches, outputs


@pytest.mark.slow
def test_one_of_two_processes_compiles_the_kernels(
    first_starts: tuple[Path, list[tuple[str, str]]],
) -> None:
    caches, outputs = first_starts
    assert sorted(errors.count("compiling the kernels into") for _, errors in outputs) == [0, 1]
    (folder,) = (path for path in caches.glob("millipede-*") if path.is_dir())
    assert is_complete(folder)
    for kernel in ("gradient.gradient", "photon_mc._walk"):  # the first and the last to be asked for by name
        assert len(list(folder.glob(f"{kernel}-*.nbc"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("program", ["", OTHER_NUMBA], ids=["alone", "after other numba code"])
def test_all_processes_load_compiled_kernels_with_equal_results(
    program: str, first_starts: tuple[Path, list[tuple[str, str]]]
) -> None:
    caches, outputs = first_starts
    before = state(caches)
    later = start_fit(caches, program).communicate()
    compilations, digest = later[0].split()
    assert len(digest) == 64
    assert compilations == "0"
    assert [out for out, _ in outputs] == [later[0]] * 2
    assert "compiling" not in later[1]
    assert state(caches) == before  # nothing was written, or tried: a read-only file system would do


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "words"),
    [(Path.unlink, "is not there for arguments"), (lambda path: os.truncate(path, 100), "is damaged")],
)
def test_unloadable_kernel_is_an_error_and_not_compiled_again(
    harm: Callable[[Path], None], words: str, first_starts: tuple[Path, list[tuple[str, str]]], tmp_path: Path
) -> None:
    caches = shutil.copytree(first_starts[0], tmp_path / "caches")
    (file,) = caches.rglob("far_grid.complete_field-*.nbc")
    harm(file)
    before = state(caches)
    process = start_fit(caches)
    errors = process.communicate()[1]
    assert process.returncode == 1
    assert f"ReconstructionError: the compiled kernel complete_field {words}" in errors
    assert f"remove the folder {file.parent}" in errors
    assert state(caches) == before
