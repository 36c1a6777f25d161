"""What the kernels are compiled for, and the digest that names their machine code; numba is not loaded here.

On x86-64 the code is made for the x86-64-v3 level (AVX2 and FMA: every server since 2013) and not for the CPU at hand,
so that every worker of a scan computes the same bits, and a cache of compiled code can be baked into an image.
``fast-gather`` is a tuning hint, no requirement: without it LLVM does not vectorise the table look-ups. Set
``NUMBA_CPU_NAME`` (and ``NUMBA_CPU_FEATURES``) to choose another target; a host without AVX2 falls back to its own.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from llvmlite.binding import get_host_cpu_features, get_host_cpu_name, get_process_triple

#: The baseline of x86-64 (https://gitlab.com/x86-psABIs/x86-64-ABI), and the hint that makes LLVM gather.
BASELINE = ("x86-64-v3", "+fast-gather")


def pinned_target(machine: str, host: Mapping[str, bool], chosen: str | None) -> tuple[str, str] | None:
    """Return the CPU name and features that the machine code is made for, None where numba's own choice stands.

    ``machine`` as `platform.machine` has it, ``host``: features of the CPU at hand, ``chosen``: the user's CPU name.
    """
    if chosen is not None or machine.lower() not in {"x86_64", "amd64"}:
        return None
    return BASELINE if host.get("avx2") and host.get("fma") else None


def target() -> tuple[str, str]:
    """Return the CPU name and features that this process compiles for, and loads."""
    chosen, host = os.environ.get("NUMBA_CPU_NAME"), get_host_cpu_features()
    pinned = pinned_target(platform.machine(), host, chosen)
    return pinned or (chosen or get_host_cpu_name(), os.environ.get("NUMBA_CPU_FEATURES") or host.flatten())


@cache
def code_digest() -> str:
    """Return a digest of the sources of this package and of the ice, of what compiles them, and of the target."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for file in [*sorted(package.glob("*.py")), package.parents[1] / "detector" / "ice.py"]:
        digest.update(file.name.encode() + file.read_bytes())
    compilers = [version("numba"), version("llvmlite"), sys.implementation.cache_tag]
    digest.update(repr((compilers, get_process_triple(), target())).encode())
    return digest.hexdigest()[:12]
