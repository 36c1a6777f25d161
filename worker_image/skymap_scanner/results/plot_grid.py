"""Meridians and parallels of the pictures, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from skymap_scanner.healpix import Floats
from skymap_scanner.results.plot_text import INK
from skymap_scanner.results.projection import gnomonic, mollweide

#: Lines of the grid: dark on a pale rim, so that they can be seen on any colour.
GRID: dict[str, Any] = {
    "color": "#444444",
    "linewidth": 0.5,
    "alpha": 0.7,
    "zorder": 2,
    "path_effects": [withStroke(linewidth=1.1, foreground="white", alpha=0.35)],
}
#: Style of text on the map itself.
ON_MAP: dict[str, Any] = {
    "fontsize": 8,
    "color": INK,
    "path_effects": [withStroke(linewidth=2.2, foreground="white", alpha=0.85)],
}
#: Sides of a picture: the axis along which a line leaves it (0: x, 1: y), its end, and the shift of a label (points).
SIDES = {"bottom": (1, -1, (0, -4)), "left": (0, -1, (-4, 0)), "top": (1, 1, (0, 4)), "right": (0, 1, (4, 0))}


def draw_all_sky_grid(axes: Axes) -> None:
    """Draw meridians and parallels every 30 deg, with labels."""
    dec = np.linspace(-90, 90, 181)
    for ra in range(30, 360, 30):
        axes.plot(*mollweide(np.full(181, float(ra)), dec), **GRID)
        x, y = mollweide(np.array([float(ra)]), np.zeros(1))
        axes.text(x[0], y[0] - 0.012, f"{ra}°", ha="center", va="top", zorder=4, **ON_MAP)
    ra_line = np.linspace(0, 360, 361)
    for parallel in range(-60, 90, 30):
        x, y = mollweide(ra_line, np.full(361, float(parallel)))
        axes.plot(x, y, **GRID)
        name = f"{parallel:+d}°".replace("-", "−").replace("+0", "0")
        axes.text(x.min() - 0.05, y[0], name, ha="right", va="center", fontsize=8, color=INK)


def draw_zoomed_grid(axes: Axes, ra0: float, dec0: float, half: float, avoid: Floats) -> None:
    """Draw meridians and parallels at round values around the middle of a gnomonic picture of this half-width (deg).

    They are labelled where they leave the picture. Around a pole, meridians leave at any side. Parallels that do not
    leave it on the left are labelled within it, as far from the points ``avoid`` (k, 2) as possible.
    """
    corner = float(np.degrees(np.arctan(np.radians(np.hypot(half, half))))) * 1.02
    step = round_step(half / 3)
    low, high = max(dec0 - corner, -90.0), min(dec0 + corner, 90.0)
    polar = high >= 90.0 or low <= -90.0
    sine = np.sin(np.radians(corner)) / max(np.cos(np.radians(dec0)), 1e-9)
    reach = 180.0 if polar else float(np.degrees(np.arcsin(min(1.0, sine))))
    ra_step = min(30.0, round_step(half / 3 / max(np.cos(np.radians(dec0)), 1e-3)))
    along = np.linspace(-1, 1, 801)
    for k in range(int(np.ceil((ra0 - reach) / ra_step)), int(np.floor((ra0 + reach - 1e-9) / ra_step)) + 1):
        line = gnomonic(np.full(801, k * ra_step), (low + high) / 2 + along * (high - low) / 2, ra0, dec0)
        axes.plot(*line, **GRID)
        _label_sides(axes, line, half, f"{plain(k * ra_step % 360)}°", [*SIDES] if polar else ["bottom"])
    for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1):
        line = gnomonic(ra0 + along * reach, np.full(801, k * step), ra0, dec0)
        axes.plot(*line, **GRID)
        name = f"{plain(k * step)}°".replace("-", "−")
        labelled = not polar and _label_sides(axes, line, half, name, ["left"])
        if not labelled and abs(k * step) < 90.0:
            _label_within(axes, np.stack(line, axis=1), half, name, avoid)


def _label_sides(axes: Axes, line: tuple[Floats, Floats], half: float, name: str, sides: Sequence[str]) -> bool:
    """Label a line outside the picture where it first crosses each of these sides; return whether it crosses any."""
    found = False
    for side in sides:
        axis, end, shift = SIDES[side]
        along, across = line[1 - axis], line[axis]
        with np.errstate(invalid="ignore"):
            cut = np.flatnonzero((across[:-1] - end * half) * (across[1:] - end * half) <= 0)
        part = (end * half - across[cut]) / (across[cut + 1] - across[cut])
        where = along[cut] + part * (along[cut + 1] - along[cut])
        for place in where[np.abs(where) < half][:1]:
            spot = (place, end * half) if axis else (end * half, place)
            ha = "center" if axis else ("right" if end < 0 else "left")
            va = ("top" if end < 0 else "bottom") if axis else "center"
            axes.annotate(name, spot, shift, textcoords="offset points", ha=ha, va=va, fontsize=9, color=INK)
            found = True
    return found


def _label_within(axes: Axes, line: Floats, half: float, name: str, avoid: Floats) -> None:
    """Label a line (k, 2) where it is furthest from the points ``avoid``, and not at the rim of the picture."""
    with np.errstate(invalid="ignore"):
        spots = line[(np.abs(line) < 0.92 * half).all(axis=1)][::8]
    if not len(spots):
        return
    if len(avoid):
        nearest = np.hypot(*(spots[:, None] - avoid).T).min(axis=0)
        spots = spots[[np.argmax(nearest)]]
    axes.text(spots[0, 0], spots[0, 1], name, ha="center", va="center", zorder=7, **ON_MAP)


def round_step(wanted: float) -> float:
    """Return the round step (deg) nearest to ``wanted``."""
    steps = np.array([0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30])
    return float(steps[np.argmin(np.abs(np.log(steps / wanted)))])


def plain(value: float) -> str:
    """Return a round number without superfluous digits; never -0."""
    return f"{round(value, 2) + 0.0:g}"
