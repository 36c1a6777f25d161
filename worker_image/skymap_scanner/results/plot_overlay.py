"""Draws sources, the online direction and a circle on the pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from skymap_scanner.healpix import Floats
from skymap_scanner.results.catalogue import Catalogue
from skymap_scanner.results.contours import Contour
from skymap_scanner.results.directions import separation
from skymap_scanner.results.overlay import Overlay, circle_line
from skymap_scanner.results.plot_grid import ON_MAP
from skymap_scanner.results.plot_text import drawable
from skymap_scanner.results.projection import break_jumps, gnomonic
from skymap_scanner.results.skymap import BestFit, MultiOrderMap
from skymap_scanner.results.sources import find_sources

#: Most sources that are drawn, the nearest ones; and most that are named, those in the 90 % region first.
DRAWN, NAMED = 2000, 12
SOURCE: dict[str, Any] = {
    "marker": "D",
    "markersize": 5,
    "markerfacecolor": "white",
    "markeredgecolor": "#5f3dc4",
    "markeredgewidth": 1.4,
    "linestyle": "none",
    "zorder": 7,
}
ONLINE: dict[str, Any] = {
    "color": "black",
    "linewidth": 1.2,
    "linestyle": "dashdot",
    "path_effects": [withStroke(linewidth=2.6, foreground="white")],
    "zorder": 6,
}
CIRCLE: dict[str, Any] = {"color": "#2b8a3e", "linewidth": 1.3, "linestyle": (0, (5, 2)), "zorder": 6}


def draw_circle(
    axes: Axes, overlay: Overlay, project: Callable[[Floats, Floats], tuple[Floats, Floats]], limit: float
) -> dict[Artist, str]:
    """Draw the circle, interrupted where it jumps further than ``limit``; return its entry of the legend."""
    if overlay.circle is None:
        return {}
    (line,) = axes.plot(*break_jumps(*project(*circle_line(*overlay.circle).T), limit), **CIRCLE)
    ra, dec, radius = overlay.circle
    return {line: f"Circle: {ra:.2f}°, {dec:+.2f}°, radius {radius:.3g}°".replace("-", "−")}


def draw_online(
    axes: Axes,
    overlay: Overlay,
    project: Callable[[Floats, Floats], tuple[Floats, Floats]],
    limit: float,
    best: BestFit,
) -> dict[Artist, str]:
    """Draw the online direction with its 90 % circle, as `draw_circle` does; return its entry of the legend."""
    online = overlay.online
    if online is None:
        return {}
    marker = {"marker": "+", "markersize": 10, "markeredgewidth": 1.6}
    axes.plot(*project(np.array([online.ra]), np.array([online.dec])), **ONLINE | marker | {"linestyle": "none"})
    label = f"Online: {separation((online.ra, online.dec), (best.ra, best.dec)):.2g}° away"
    if online.radius_90 is not None:
        line = circle_line(online.ra, online.dec, min(online.radius_90, 180.0))
        axes.plot(*break_jumps(*project(*line.T), limit), **ONLINE)
        label += ", 90 % circle"
    (sample,) = axes.plot([], [], **ONLINE | marker)
    return {sample: label}


def draw_sources(
    axes: Axes, skymap: MultiOrderMap, regions: Sequence[Contour], catalogue: Catalogue, half: float
) -> dict[Artist, str]:
    """Draw the sources in a gnomonic picture of this half-width (deg); return their entry of the legend."""
    found = find_sources(skymap, regions, catalogue, nearest=DRAWN)
    near = dict.fromkeys((*found.inside[:DRAWN], *found.nearest))  # each once, those inside first
    named = 0
    for source in near:
        place = gnomonic(np.array([source.ra]), np.array([source.dec]), skymap.best.ra, skymap.best.dec)
        x, y = float(place[0][0]), float(place[1][0])
        if not (abs(x) < 0.98 * half and abs(y) < 0.98 * half):  # nor NaN, on the other hemisphere
            continue
        axes.plot([x], [y], **SOURCE)
        if named < NAMED:
            shift, side = ((7, 4), "left") if x < 0.4 * half else ((-7, 4), "right")
            axes.annotate(
                drawable(source.name),
                (x, y),
                shift,
                textcoords="offset points",
                ha=side,
                parse_math=False,  # a name may hold dollar signs
                zorder=8,
                **ON_MAP,
            )
            named += 1
    (mark,) = axes.plot([], [], **SOURCE)
    return {mark: drawable(catalogue.title)[:40]}
