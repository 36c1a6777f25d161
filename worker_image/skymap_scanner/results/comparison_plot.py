"""The picture of a comparison: the 50 % and 90 % regions of two maps, on one zoom or on the whole sky.

It shows the pixels themselves, as the figures count them. As the pictures of a scan, it follows no ``matplotlibrc``,
and equal comparisons give equal bytes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Patch
from numpy.typing import NDArray

from skymap_scanner.healpix import Floats, nested_to_ring, pixel_reach, pixel_to_radec, radec_to_nested
from skymap_scanner.results.comparison import Comparison
from skymap_scanner.results.directions import radec_to_vector, vector_to_radec
from skymap_scanner.results.plot_grid import draw_all_sky_grid, draw_zoomed_grid
from skymap_scanner.results.plot_text import INK, drawable
from skymap_scanner.results.probability_map import LEVELS
from skymap_scanner.results.projection import gnomonic, gnomonic_inverse, mollweide, mollweide_inverse
from skymap_scanner.results.region import TOP_ORDER, Region
from skymap_scanner.results.rule import percent
from skymap_scanner.results.skymap import intervals_to_cells
from skymap_scanner.results.summary import area_number

#: Colours of A and B, which people of any colour vision can tell apart (Okabe and Ito, "Color Universal Design").
COLOURS = ("#0072b2", "#d55e00")
#: How opaque each credible level is filled, and the width of its line (points).
FILL = {0.5: 0.45, 0.9: 0.22}
WIDTH = {0.5: 1.0, 0.9: 1.8}
#: Least half-width of a zoom, and the farthest that a region may reach from its middle, deg; beyond is the whole sky.
ZOOM = (0.5, 40.0)
#: Room around the regions.
ROOM = 1.15
DPI = 200
#: Points in a row of the picture.
RASTER = 1400


@dataclass(frozen=True)
class View:
    """A part of the sky: its middle (deg), and half of its width in the gnomonic plane (deg)."""

    ra: float
    dec: float
    half: float


def comparison_png(comparison: Comparison) -> bytes:
    """Draw the regions of both maps."""
    style = {key: value for key, value in rcParamsDefault.items() if not key.startswith("backend")}
    with rc_context(style):
        view = choose_view(comparison)
        figure = Figure(figsize=(10, 6.9) if view is None else (7.2, 8.6), dpi=DPI)
        if view is None:
            axes = figure.add_axes((0.06, 0.15, 0.9, 0.68))
            _draw_all_sky(axes, comparison)
        else:
            axes = figure.add_axes((0.13, 0.165, 0.82, 0.6865))  # square: 0.82 * 7.2 = 0.6865 * 8.6
            _draw_zoom(axes, comparison, view)
        _write(figure, comparison)
        file = io.BytesIO()
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
        return file.getvalue()


def choose_view(comparison: Comparison) -> View | None:
    """Return the zoom that shows the 90 % regions of both maps, or None for the whole sky."""
    pixels = [_pixels(skymap.region(0.9)) for skymap in (comparison.a, comparison.b)]
    middles = [np.average(vectors, axis=0, weights=area) for vectors, area, _ in pixels]
    middle = np.sum([vector / max(float(np.linalg.norm(vector)), 1e-9) for vector in middles], axis=0)
    norm = float(np.linalg.norm(middle))
    if norm < 1e-6:
        return None
    middle /= norm
    chords = [np.linalg.norm(vectors - middle, axis=1) for vectors, _, _ in pixels]
    reach = max(
        float(np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1)) + radius).max())
        for chord, (_, _, radius) in zip(chords, pixels, strict=True)
    )
    if reach > ZOOM[1]:
        return None
    ra, dec = vector_to_radec(middle)
    half = float(np.degrees(np.tan(np.radians(reach)))) * ROOM
    return View(float(ra), float(dec), max(half, ZOOM[0]))


def _pixels(region: Region) -> tuple[Floats, Floats, Floats]:
    """Return the centres (n, 3), relative areas (n,) and greatest radii (rad) of the pixels of a region."""
    order, ipix, _ = intervals_to_cells(region.start, region.stop, region.start, TOP_ORDER)
    nside = np.int64(1) << order
    vectors = radec_to_vector(*np.degrees(pixel_to_radec(nside, nested_to_ring(nside, ipix))))
    radii = {int(one): pixel_reach(int(one)) for one in np.unique(nside)}
    return vectors, 1.0 / nside.astype(np.float64) ** 2, np.array([radii[int(one)] for one in nside])


def _draw_zoom(axes: Axes, comparison: Comparison, view: View) -> None:
    """Draw the part of the sky with both regions, in gnomonic projection."""
    half = view.half
    ticks = (np.arange(RASTER) + 0.5) / RASTER * 2 * half - half
    sky = gnomonic_inverse(*np.meshgrid(ticks, ticks), view.ra, view.dec)
    axes.set(xlim=(-half, half), ylim=(-half, half), xticks=[], yticks=[])
    stars = [gnomonic(np.array([m.ra]), np.array([m.dec]), view.ra, view.dec) for m in (comparison.a, comparison.b)]
    draw_zoomed_grid(axes, view.ra, view.dec, half, np.concatenate([np.stack(star, axis=1) for star in stars]))
    _draw_maps(axes, comparison, sky, (ticks, ticks))
    _draw_stars(axes, stars)
    axes.set_xlabel("Right ascension (J2000)", labelpad=20, fontsize=10)
    axes.set_ylabel("Declination (J2000)", labelpad=34, fontsize=10)


def _draw_all_sky(axes: Axes, comparison: Comparison) -> None:
    """Draw the whole sky, in Mollweide's projection."""
    x, y = (np.arange(RASTER) + 0.5) / RASTER * 4 - 2, (np.arange(RASTER // 2) + 0.5) / RASTER * 4 - 1
    axes.set(xlim=(-2.02, 2.02), ylim=(-1.01, 1.01), aspect="equal")
    axes.axis("off")
    axes.add_patch(Ellipse((0, 0), 4, 2, facecolor="none", edgecolor=INK, linewidth=1.0, zorder=5))
    draw_all_sky_grid(axes)
    _draw_maps(axes, comparison, mollweide_inverse(*np.meshgrid(x, y)), (x, y))
    _draw_stars(axes, [mollweide(np.array([m.ra]), np.array([m.dec])) for m in (comparison.a, comparison.b)])


def _draw_maps(axes: Axes, comparison: Comparison, sky: tuple[Floats, Floats], plane: tuple[Floats, Floats]) -> None:
    """Fill the regions of both maps and draw their edges, at directions (deg, NaN: none) of a grid of the plane."""
    known = np.isfinite(sky[0])
    pixel = radec_to_nested(TOP_ORDER, np.radians(sky[0][known]), np.radians(sky[1][known]))
    for skymap, colour in zip((comparison.a, comparison.b), COLOURS, strict=True):
        density = skymap.density_from(pixel)
        for level in reversed(LEVELS):
            inside = np.zeros(known.shape, dtype=bool)
            inside[known] = density >= skymap.threshold(level)
            _draw_region(axes, inside, plane, colour, level)


def _draw_region(
    axes: Axes, inside: NDArray[np.bool_], plane: tuple[Floats, Floats], colour: str, level: float
) -> None:
    """Draw one region, given as whether points of a grid are inside."""
    image = np.zeros((*inside.shape, 4))
    image[inside] = to_rgba(colour, FILL[level])
    x, y = plane
    half_x, half_y = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    extent = (x[0] - half_x, x[-1] + half_x, y[0] - half_y, y[-1] + half_y)
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(image, extent=extent, origin="lower", interpolation="nearest")
    axes.set(xlim=limits[0], ylim=limits[1])
    if inside.any() and not inside.all():
        # Dashes of B on lines of A show both where they coincide.
        style = "solid" if colour == COLOURS[0] else "dashed"
        axes.contour(*plane, inside, levels=[0.5], colors=[colour], linewidths=WIDTH[level], linestyles=style, zorder=6)


def _draw_stars(axes: Axes, places: list[tuple[Floats, Floats]]) -> None:
    """Mark the best fits."""
    for place, colour, size in zip(places, COLOURS, (17, 12), strict=True):
        axes.plot(*place, "*", color=colour, markersize=size, markeredgecolor="white", markeredgewidth=1.0, zorder=8)


def _write(figure: Figure, comparison: Comparison) -> None:
    """Write the title, and the legend with the areas."""
    height = figure.get_figheight()
    for line, (label, skymap) in enumerate((("A", comparison.a), ("B", comparison.b))):
        text = f"{label}: {drawable(skymap.name)}"
        size = min(12.0, 105 * figure.get_figwidth() / len(text))  # a long name still fits
        words: dict[str, Any] = {"fontsize": size, "weight": "bold", "color": COLOURS[line]}
        figure.text(0.5, 1 - (0.24 + 0.25 * line) / height, text, ha="center", va="center", parse_math=False, **words)
    facts = (
        f"best fits {comparison.separation:.3g}° apart  ·  searched probability {comparison.searched_a:.2g} (A in B), "
        f"{comparison.searched_b:.2g} (B in A)  ·  Bayes factor {comparison.bayes_factor:.3g}"
    )
    figure.text(0.5, 1 - 0.74 / height, facts, ha="center", va="center", fontsize=9, color=INK)
    handles = [_patch(label, level) for level in LEVELS for label in range(2)]
    labels = [
        f"{label} {percent(one.credible_level)}: {area_number(area)} deg², {share:.0%} shared"
        for one in comparison.overlaps
        for label, area, share in (("A", one.area_a, one.share_a), ("B", one.area_b, one.share_b))
    ]
    figure.legend(handles, labels, loc="lower center", fontsize=9, frameon=False, ncols=2, bbox_to_anchor=(0.5, 0.01))


def _patch(number: int, level: float) -> Patch:
    """Return the entry of the legend of a map's region."""
    colour = COLOURS[number]
    fill = to_rgba(colour, FILL[level])
    return Patch(facecolor=fill, edgecolor=colour, linewidth=WIDTH[level], linestyle=("solid", "dashed")[number])
