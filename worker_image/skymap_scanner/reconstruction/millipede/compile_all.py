"""Compile all kernels into the cache folder and mark it as complete; started by `cache`, which holds the lock."""

from __future__ import annotations

from skymap_scanner.reconstruction.millipede.cache import mark_complete
from skymap_scanner.reconstruction.millipede.compiled import FOLDER, compile_here
from skymap_scanner.reconstruction.millipede.millipede import Millipede
from skymap_scanner.reconstruction.millipede.photon_mc import Binning, simulate


def main() -> None:
    """Run everything that is compiled once."""
    compile_here()
    Millipede().compile()
    simulate(1, 1, Binning())
    mark_complete(FOLDER)


if __name__ == "__main__":
    main()
