"""Seeded random generators for the simulation's tests."""

from __future__ import annotations

import numpy as np


def random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))
