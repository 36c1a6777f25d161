"""How the kernels are compiled: machine code that does not depend on the host, a cache that sees every change.

*Same bits everywhere.* On x86-64 the code is made for the x86-64-v3 level (AVX2 and FMA: every server since 2013) and
not for the CPU at hand, so that every worker of a scan computes the same bits, and a cache of compiled code can be
baked into an image. ``fast-gather`` is a tuning hint, no requirement: without it LLVM does not vectorise the table
look-ups. Set ``NUMBA_CPU_NAME`` (and ``NUMBA_CPU_FEATURES``) to choose another target; a host without AVX2 falls back
to its own.

*A cache that sees every change.* Numba keys its cache by the source of the one function; constants and functions that
are imported from other modules are frozen into the machine code unseen. The cache therefore lives in a folder named by
a digest of all sources of this package, below ``NUMBA_CACHE_DIR`` or the user's cache folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from llvmlite.binding import get_host_cpu_features
from numba.core.compiler import Compiler

P = ParamSpec("P")
R = TypeVar("R")

#: The baseline of x86-64 (https://gitlab.com/x86-psABIs/x86-64-ABI), and the hint that makes LLVM gather.
BASELINE = ("x86-64-v3", "+fast-gather")


def pinned_target(machine: str, host: Mapping[str, bool], chosen: str | None) -> tuple[str, str] | None:
    """Return the CPU name and features that the machine code is made for, None where numba's own choice stands.

    ``machine`` as `platform.machine` has it, ``host``: features of the CPU at hand, ``chosen``: the user's CPU name.
    """
    if chosen is not None or machine.lower() not in {"x86_64", "amd64"}:
        return None
    return BASELINE if host.get("avx2") and host.get("fma") else None


def _pin_target() -> None:
    """Choose the machine code's target."""
    target = pinned_target(platform.machine(), get_host_cpu_features(), numba.config.CPU_NAME)
    if target is not None:
        numba.config.CPU_NAME, numba.config.CPU_FEATURES = target


def _choose_cache() -> None:
    """Give this version of the sources a folder of its own, so that nothing stale is ever loaded."""
    sources = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(file.name.encode() + file.read_bytes())
    base = numba.config.CACHE_DIR or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "skymap-scanner", "numba"
    )
    numba.config.CACHE_DIR = str(Path(base) / f"millipede-{sources.hexdigest()[:12]}")


_pin_target()
_choose_cache()


class _DistinctArrays(Compiler):  # type: ignore[misc]  # numba has no types
    """Promise LLVM that no two array arguments overlap; else it does not vectorise loops that look up tables."""

    def __init__(self, typing: Any, target: Any, library: Any, args: Any, result: Any, flags: Any, names: Any) -> None:
        flags.noalias = True
        super().__init__(typing, target, library, args, result, flags, names)


# "nnan" and "ninf" are left out: a NaN must stay visible.
_OPTIONS = {
    "cache": True,
    "fastmath": {"nsz", "arcp", "contract", "afn", "reassoc"},
    "error_model": "numpy",
    "nogil": True,
    "pipeline_class": _DistinctArrays,
}


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` with numba: cached on disk, floats may be reassociated, division by zero gives inf.

    Array arguments of a compiled function must not overlap. Reassociation is fixed when the code is compiled: the same
    machine code gives the same bits on every run.
    """
    return cast("Callable[P, R]", numba.njit(**_OPTIONS)(function))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a scalar formula that becomes part of its callers, so that their loops vectorise."""
    return cast("Callable[P, R]", numba.njit(**_OPTIONS, forceinline=True)(function))
