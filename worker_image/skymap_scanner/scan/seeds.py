"""Seeds: the vertex positions that the fits of one pixel start from."""

from __future__ import annotations

from collections.abc import Sequence

from skymap_scanner.errors import InputError

#: The vertex itself and 20 m along each axis, in the order of the position variation index (Millipede's scans).
VARIATIONS: tuple[tuple[float, float, float], ...] = (
    (0.0, 0.0, 0.0),
    (-20.0, 0.0, 0.0),
    (20.0, 0.0, 0.0),
    (0.0, -20.0, 0.0),
    (0.0, 20.0, 0.0),
    (0.0, 0.0, -20.0),
    (0.0, 0.0, 20.0),
)


def check_seeds(count: int) -> int:
    """Return ``count`` if it is a valid number of seeds; raises InputError if it is not."""
    if not 1 <= count <= len(VARIATIONS):
        raise InputError(f"seeds {count}: choose 1 to {len(VARIATIONS)}")
    return count


def seed_positions(vertex: Sequence[float], count: int) -> list[tuple[float, float, float]]:
    """Return the first ``count`` seed positions around ``vertex`` (m)."""
    x, y, z = vertex
    return [(x + dx, y + dy, z + dz) for dx, dy, dz in VARIATIONS[:count]]
