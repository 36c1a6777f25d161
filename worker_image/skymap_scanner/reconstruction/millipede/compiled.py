"""How the kernels are compiled: machine code that does not depend on the host, a cache that sees every change.

*Same bits everywhere.* The code is made for the target that `machine_code` chooses, not for the CPU at hand.

*A cache that sees every change.* Numba keys its cache by the source of the one function; constants and functions that
are imported from other modules are frozen into the machine code unseen. The cache therefore lives in a folder named by
a digest of all sources of this package and of what compiles them, below ``NUMBA_CACHE_DIR`` or the user's cache folder.

*One machine code for all.* This process only loads kernels; those that are missing are compiled by another (`cache`).
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserProvidedCacheLocator
from numba.core.compiler import Compiler

from skymap_scanner.errors import ReconstructionError
from skymap_scanner.reconstruction.millipede.cache import ensure_complete
from skymap_scanner.reconstruction.millipede.machine_code import code_digest, target

P = ParamSpec("P")
R = TypeVar("R")


def _choose_folder() -> Path:
    """Name the folder of these sources and this compiler, so that nothing stale is ever loaded."""
    base = numba.config.CACHE_DIR or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "skymap-scanner", "numba"
    )
    return Path(base).absolute() / f"millipede-{code_digest()}"


if numba.config.DISABLE_JIT:
    raise ReconstructionError(
        "numba is told not to compile: unset NUMBA_DISABLE_JIT, and remove disable_jit from .numba_config.yaml in the "
        "current folder"
    )
numba.config.CPU_NAME, numba.config.CPU_FEATURES = target()
#: Where the compiled kernels are.
FOLDER = _choose_folder()


class _Place(UserProvidedCacheLocator):  # type: ignore[misc]  # numba has no types
    """All kernels lie in `FOLDER`, whose name vouches for their sources."""

    def __init__(self, function: Any, file: str) -> None:
        self._py_file, self._lineno, self._cache_path = file, function.__code__.co_firstlineno, str(FOLDER)

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Place:
        """Return the place of a function; numba's own would test whether the folder can be written."""
        return cls(py_func, py_file)

    def get_source_stamp(self) -> str:
        """Return what the sources are known by."""
        return FOLDER.name


class _Files(CompileResultCacheImpl):  # type: ignore[misc]  # numba has no types
    """How a kernel is written to its files."""

    _locator_classes = (_Place,)


class _KernelCache(FunctionCache):  # type: ignore[misc]  # numba has no types
    """The files of one kernel. Numba compiles what `load_overload` does not find; here nothing is compiled unasked."""

    _impl_class = _Files
    may_compile = False

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the kernel for these types of arguments, or None for numba to compile it.

        Raises
        ------
        ReconstructionError
            When the kernels cannot be compiled, or this one is missing or damaged.
        """
        if self.may_compile:
            return super().load_overload(sig, target_context)
        ensure_complete(FOLDER)
        try:
            kernel, fault = super().load_overload(sig, target_context), f"not there for arguments {sig}"
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            kernel, fault = None, f"damaged ({error})"
        if kernel is None:
            raise ReconstructionError(
                f"the compiled kernel {self._py_func.__qualname__} is {fault}: remove the folder {FOLDER}, and it will"
                " be compiled again; if that does not help, report it"
            )
        return kernel

    def _index_key(self, sig: Any, _codegen: Any) -> Any:
        """Look a kernel up by its types alone: who has used numba before us has another target, and loads ours too."""
        return sig


def compile_here() -> None:
    """Let this process compile kernels and keep them in `FOLDER`; it must not fit anything that counts."""
    _KernelCache.may_compile = True


class _DistinctArrays(Compiler):  # type: ignore[misc]  # numba has no types
    """Promise LLVM that no two array arguments overlap; else it does not vectorise loops that look up tables."""

    def __init__(self, typing: Any, target: Any, library: Any, args: Any, result: Any, flags: Any, names: Any) -> None:
        flags.noalias = True
        super().__init__(typing, target, library, args, result, flags, names)


# "nnan" and "ninf" are left out: a NaN must stay visible.
_OPTIONS = {
    "fastmath": {"nsz", "arcp", "contract", "afn", "reassoc"},
    "error_model": "numpy",
    "nogil": True,
    "pipeline_class": _DistinctArrays,
}


def _kernel(function: Callable[P, R], **options: Any) -> Callable[P, R]:
    """Make a kernel that numba loads from our cache."""
    dispatcher = numba.njit(**_OPTIONS, **options)(function)
    dispatcher._cache = _KernelCache(function)  # noqa: SLF001 - numba's enable_caching() knows only its own cache
    return cast("Callable[P, R]", dispatcher)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` with numba: floats may be reassociated, division by zero gives inf.

    Array arguments of a compiled function must not overlap. Reassociation is fixed when the code is compiled: the same
    machine code gives the same bits on every run.
    """
    return _kernel(function)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a scalar formula that becomes part of its callers, so that their loops vectorise."""
    return _kernel(function, forceinline=True)
