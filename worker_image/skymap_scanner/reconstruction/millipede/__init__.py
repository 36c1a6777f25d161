"""The built-in likelihood: Millipede's (arXiv:1311.4767) on its own photon table (docs/explanation/likelihood.md)."""

from __future__ import annotations

from skymap_scanner.reconstruction.millipede.millipede import Millipede

__all__ = ["Millipede"]
