"""Two pictures of a result: the whole sky, and the surroundings of the best fit.

Both show the pixels themselves, each in the colour of its 2 delta ln L, with the contours of ``contours.py`` on top:
those of the map's rule are solid; where these are calibrated, those of Wilks' theorem are dashed.
Only the pixels of the picture are looked up in the map, whatever its nside. The figures live outside matplotlib's
global state and do not follow a user's ``matplotlibrc``: equal results give equal bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, wraps
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context, rcParamsDefault
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, PowerNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from skymap_scanner.detector.coordinates import angular_separation
from skymap_scanner.healpix import Floats
from skymap_scanner.results import projection
from skymap_scanner.results.contours import Contour
from skymap_scanner.results.minimum import NoMinimum, fit_minimum
from skymap_scanner.results.outputs import ImageKind
from skymap_scanner.results.overlay import Overlay
from skymap_scanner.results.plot_grid import draw_all_sky_grid, draw_zoomed_grid
from skymap_scanner.results.plot_overlay import draw_circle, draw_online, draw_sources
from skymap_scanner.results.plot_text import INK, write_title
from skymap_scanner.results.projection import break_jumps, gnomonic, mollweide
from skymap_scanner.results.result import ScanResult
from skymap_scanner.results.rule import THREE_SIGMA, WILKS, percent
from skymap_scanner.results.skymap import MultiOrderMap
from skymap_scanner.results.summary import area_number

#: Upper end of the colour scale; higher values look the same. The zoomed picture extends it to its outer contour. The
#: scale of the whole sky is that of square roots up to the greatest value where less than COLOURED of the sky would
#: have a colour, as for most tracks: it shows how the sky falls off around the best fit, and other minima.
MAX_DELTA = 40.0
COLOURED = 0.3
#: Least half-width of the zoomed picture, and the greatest distance from the best fit that it shows, deg.
ZOOM = (3.0, 50.0)
#: The inset of the whole sky is drawn if the region is not larger than this, deg.
INSET = 15.0
#: Least half-width of the inset, deg.
INSET_LEAST = 0.5
DPI = 300
#: Colours along the width of the whole sky, of the surroundings, and of the inset.
SAMPLES = (2400, 1500, 500)
#: Places of the axes, as shares of the figure: left, bottom, width, height.
ALL_SKY_AXES = (0.04, 0.2, 0.92, 0.65)
INSET_AXES = (0.795, 0.035, 0.175, 0.243)  # square: 0.175 * 10 = 0.243 * 7.2
ZOOMED_AXES = (0.13, 0.245, 0.78, 0.6207)  # square: 0.78 * 7.2 = 0.6207 * 9.048
#: From dark for the best fit to pale for excluded sky, where lines stand out.
COLOURS = colormaps["GnBu_r"]
NO_FIT = "#c9c9c9"
GALACTIC = "#8b1a1a"
STAR: dict[str, Any] = {"marker": "*", "color": "#ffd43b", "markeredgecolor": "black", "linestyle": "none"}
#: The interpolated minimum and its error ellipse.
MINIMUM: dict[str, Any] = {"marker": "x", "markersize": 7, "markeredgewidth": 1.4, "color": "#d6336c", "zorder": 9}
ELLIPSE: dict[str, Any] = {"color": "#d6336c", "linewidth": 1.1, "linestyle": (0, (1, 1.5)), "zorder": 7}
#: Line of a credible level: colour, width, style.
LINES = {
    0.5: ("#ffffff", 1.6, "-"),
    0.9: ("#e8590c", 1.6, "-"),
    THREE_SIGMA: ("#444444", 0.9, (0, (4, 2))),
}
#: Width and style of the lines of Wilks' theorem beside calibrated ones.
STATISTICAL: tuple[float, Any] = (1.2, (0, (3, 2)))
#: Metadata without the time and the version of the library, so that equal pictures are equal files.
METADATA: dict[ImageKind, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
}


NOTHING = Overlay()


def _encoded(draw: Callable[[MultiOrderMap, Sequence[Contour], Overlay], Figure]) -> Callable[..., bytes]:
    """Add the title to a picture of a result, and encode it as a ``kind`` of file.

    It is drawn in matplotlib's own style: a ``matplotlibrc`` of the current folder or of the user has no effect.
    """

    @wraps(draw)
    def picture(
        result: ScanResult,
        skymap: MultiOrderMap,
        regions: Sequence[Contour],
        kind: ImageKind = "png",
        overlay: Overlay = NOTHING,
    ) -> bytes:
        style = {key: value for key, value in rcParamsDefault.items() if not key.startswith("backend")}
        with rc_context(style | {"svg.hashsalt": "skymap-scanner"}):
            figure = draw(skymap, regions, replace(overlay, online=result.metadata.online))
            write_title(figure, result, skymap, regions)
            return _encode(figure, kind)

    return picture


@_encoded
def all_sky(skymap: MultiOrderMap, regions: Sequence[Contour], overlay: Overlay) -> Figure:
    """Draw the whole sky in Mollweide's projection, with the galactic plane and an inset of the region.

    Of the ``overlay`` only directions and circles are drawn: sources would hide the sky.
    """
    figure = Figure(figsize=(10, 7.2), dpi=DPI)
    axes = figure.add_axes(ALL_SKY_AXES)
    axes.set(xlim=(-2.02, 2.02), ylim=(-1.01, 1.01), aspect="equal")
    axes.axis("off")
    norm = all_sky_scale(skymap)
    image = _image(
        skymap, np.linspace(-2, 2, SAMPLES[0]), np.linspace(-1, 1, SAMPLES[0] // 2), projection.mollweide_inverse, norm
    )
    picture = axes.imshow(image, extent=(-2, 2, -1, 1), origin="lower", interpolation="none")
    edge = Ellipse((0, 0), 4, 2, facecolor="none", edgecolor=INK, linewidth=1.0, zorder=5)
    axes.add_patch(edge)
    picture.set_clip_path(edge)

    draw_all_sky_grid(axes)
    plane = projection.galactic_to_equatorial(np.linspace(0, 360, 721), np.zeros(721))
    axes.plot(*break_jumps(*mollweide(*plane), limit=0.5), color=GALACTIC, linewidth=1.1, alpha=0.8, zorder=3)
    center = mollweide(*projection.galactic_to_equatorial(np.zeros(1), np.zeros(1)))
    axes.plot(*center, marker="+", markersize=8, color=GALACTIC, linestyle="none", zorder=3)
    _draw_contours(axes, skymap, regions, mollweide, limit=0.5)
    circle = draw_online(axes, overlay, mollweide, 0.5, skymap.best)
    circle |= draw_circle(axes, overlay, mollweide, limit=0.5)
    star = mollweide(np.array([skymap.best.ra]), np.array([skymap.best.dec]))
    axes.plot(*star, markersize=13, markeredgewidth=0.8, zorder=8, **STAR)
    handles, labels = _legend(axes, skymap, regions)
    (galactic,) = axes.plot([], [], color=GALACTIC, linewidth=1.1, marker="+")
    words = {"loc": "lower left", "fontsize": 8, "frameon": False, "bbox_to_anchor": (0.01, 0.025)}
    figure.legend([*handles, galactic, *circle], [*labels, "Galactic plane", *circle.values()], **words)
    _colour_bar(figure, (0.36, 0.1, 0.33, 0.017), norm, skymap)
    _draw_inset(figure, skymap, regions, overlay)
    return figure


@_encoded
def zoomed(skymap: MultiOrderMap, regions: Sequence[Contour], overlay: Overlay) -> Figure:
    """Draw the surroundings of the best fit on the plane that touches the sky there, with the overlay."""
    best = skymap.best
    half = zoom_half_width(skymap, regions)
    figure = Figure(figsize=(7.2, 9.048), dpi=DPI)
    axes = figure.add_axes(ZOOMED_AXES)
    _draw_surroundings(axes, skymap, regions, half, SAMPLES[1], 15)
    more = _draw_minimum(axes, skymap, regions)
    project = partial(gnomonic, ra0=best.ra, dec0=best.dec)
    more |= draw_online(axes, overlay, project, half, best)
    more |= draw_circle(axes, overlay, project, limit=half)
    if overlay.catalogue is not None:
        more |= draw_sources(axes, skymap, regions, overlay.catalogue, half)
    lines = [
        np.stack(gnomonic(line[:, 0], line[:, 1], best.ra, best.dec), axis=1)
        for region in regions
        for line in region.lines
    ]
    drawn = np.concatenate([np.zeros((1, 2)), *lines])  # with the best fit
    avoid = drawn[np.isfinite(drawn).all(axis=1)]
    draw_zoomed_grid(axes, best.ra, best.dec, half, avoid[:: len(avoid) // 2000 + 1])
    axes.set_xlabel("Right ascension (J2000)", labelpad=20, fontsize=10)
    axes.set_ylabel("Declination (J2000)", labelpad=34, fontsize=10)
    handles, labels = _legend(axes, skymap, regions)
    handles, labels = [*handles, *more], [*labels, *more.values()]
    words = {"loc": "center", "fontsize": 8.5, "frameon": False, "bbox_to_anchor": (0.5, 0.145), "ncols": 3}
    figure.legend(handles, labels, **words)
    _colour_bar(figure, (0.28, 0.075, 0.53, 0.016), zoomed_scale(regions), skymap)
    return figure


def _draw_minimum(axes: Axes, skymap: MultiOrderMap, regions: Sequence[Contour]) -> dict[Artist, str]:
    """Draw the interpolated minimum and its 90 % ellipse, if there is one; return their entry of the legend."""
    minimum = fit_minimum(skymap, regions)
    if isinstance(minimum, NoMinimum):
        return {}
    ra, dec = minimum.line(0.9).T
    axes.plot(*gnomonic(ra, dec, skymap.best.ra, skymap.best.dec), **ELLIPSE)
    place = gnomonic(np.array([minimum.ra]), np.array([minimum.dec]), skymap.best.ra, skymap.best.dec)
    axes.plot(*place, **MINIMUM)
    (mark,) = axes.plot([], [], **ELLIPSE, **{key: value for key, value in MINIMUM.items() if key.startswith("mark")})
    return {mark: "Minimum, 90 % ellipse"}


def zoom_half_width(skymap: MultiOrderMap, regions: Sequence[Contour], least: float = ZOOM[0]) -> float:
    """Return the half-width (deg in the plane) that shows all contours up to ZOOM away with some room."""
    return float(max(1.15 * np.degrees(np.tan(np.radians(min(_reach(skymap, regions), ZOOM[1])))), least))


def _reach(skymap: MultiOrderMap, regions: Sequence[Contour]) -> float:
    """Return how far the contours reach from the best fit (deg); 180 without any."""
    best = np.radians([skymap.best.ra, skymap.best.dec])
    lines = [line for region in regions for line in region.lines]
    return max((float(np.degrees(angular_separation(*np.radians(line.T), *best).max())) for line in lines), default=180)


def all_sky_scale(skymap: MultiOrderMap) -> Normalize:
    """Return the colour scale of the whole sky: up to MAX_DELTA, or of square roots up to the greatest value."""
    shown = np.flatnonzero(skymap.owner >= 0)
    delta, area = skymap.delta[skymap.owner[shown]], skymap.area[shown]
    if area[delta <= MAX_DELTA].sum() >= COLOURED * area.sum():
        return Normalize(0.0, MAX_DELTA, clip=True)
    return PowerNorm(0.5, 0.0, float(delta.max()), clip=True)


def zoomed_scale(regions: Sequence[Contour]) -> Normalize:
    """Return the colour scale of the zoomed picture: up to MAX_DELTA, or a round value beyond its outer contour."""
    outer = max((region.threshold for region in regions), default=0.0)
    return Normalize(0.0, max(MAX_DELTA, 10.0 * np.ceil(0.12 * outer)), clip=True)


def _draw_surroundings(
    axes: Axes, skymap: MultiOrderMap, regions: Sequence[Contour], half: float, samples: int, star: float
) -> None:
    """Draw pixels, contours and best fit, a ``star`` of this size (points), on the plane that touches the sky there."""
    best = skymap.best
    ticks = np.linspace(-half, half, samples)
    inverse = partial(projection.gnomonic_inverse, ra0=best.ra, dec0=best.dec)
    image = _image(skymap, ticks, ticks, inverse, zoomed_scale(regions))
    axes.imshow(image, extent=(-half, half, -half, half), origin="lower", interpolation="none")
    axes.set(xlim=(-half, half), ylim=(-half, half), xticks=[], yticks=[])
    _draw_contours(axes, skymap, regions, partial(gnomonic, ra0=best.ra, dec0=best.dec), limit=half)
    axes.plot(np.zeros(1), np.zeros(1), markersize=star, markeredgewidth=0.8, zorder=8, **STAR)


def _draw_inset(figure: Figure, skymap: MultiOrderMap, regions: Sequence[Contour], overlay: Overlay) -> None:
    """Draw the region at the foot of the whole sky, in the colours of the zoomed picture, if it is small there."""
    if _reach(skymap, regions) > INSET:
        return
    half = zoom_half_width(skymap, regions, least=INSET_LEAST)
    axes = figure.add_axes(INSET_AXES)
    _draw_surroundings(axes, skymap, regions, half, SAMPLES[2], 8)
    project = partial(gnomonic, ra0=skymap.best.ra, dec0=skymap.best.dec)
    draw_online(axes, overlay, project, half, skymap.best)
    draw_circle(axes, overlay, project, limit=half)
    top = zoomed_scale(regions).vmax
    axes.set_title(f"{2 * half:.2g}° wide, colours 0 to {top:g}", fontsize=7.5, color=INK, pad=3)


def _image(
    skymap: MultiOrderMap, x: Floats, y: Floats, inverse: Callable[..., tuple[Floats, Floats]], norm: Normalize
) -> NDArray[np.uint8]:
    """Return the colours (len(y), len(x), 4) of a plane; some of its rows are looked up at a time, to save memory."""
    bands = np.array_split(y, 12)
    return np.concatenate([_colours(skymap, *inverse(*np.meshgrid(x, band)), norm) for band in bands])


def _colours(skymap: MultiOrderMap, ra: Floats, dec: Floats, norm: Normalize) -> NDArray[np.uint8]:
    """Return the colours (..., 4; RGBA) of the pixels at these directions; transparent where they are NaN."""
    image = np.zeros((*ra.shape, 4), dtype=np.uint8)
    known = np.isfinite(ra)
    owner = skymap.owner[skymap.cells_at(ra[known], dec[known])]
    palette = COLOURS(np.append(norm(skymap.delta), 0.0), bytes=True)
    palette[-1] = 255 * np.array(to_rgba(NO_FIT))  # the last row is that of owner -1
    image[known] = palette[owner]
    return image


def _draw_contours(
    axes: Axes, skymap: MultiOrderMap, regions: Sequence[Contour], project: Callable[..., Any], limit: float
) -> None:
    """Draw the closed lines of the regions, but not where they only follow the edge of the scanned sky."""
    for region in regions:
        for line, border in zip(region.lines, region.borders, strict=True):
            cuts = np.flatnonzero(border[:-1] & border[1:]) + 1
            x, y = (np.insert(axis, cuts, np.nan) for axis in project(line[:, 0], line[:, 1]))
            axes.plot(*break_jumps(x, y, limit), zorder=6, **_line_style(skymap, region))


def _line_style(skymap: MultiOrderMap, region: Contour) -> dict[str, Any]:
    """Return colour, width, dashes and halo of a region's line."""
    colour, width, dashes = LINES[region.credible_level]
    rim = 1.4 if dashes == "-" else 0.0
    if region.rule != skymap.rule.name and rim:
        (width, dashes), rim = STATISTICAL, 0.8
    halo = [withStroke(linewidth=width + rim, foreground="black", alpha=0.55)] if rim else None
    return {"color": colour, "linewidth": width, "linestyle": dashes, "path_effects": halo}


def _legend(axes: Axes, skymap: MultiOrderMap, regions: Sequence[Contour]) -> tuple[list[Artist], list[str]]:
    """Return the legend: the best fit, each contour with its area, and the meaning of grey."""
    (star,) = axes.plot([], [], markersize=11, **STAR)
    handles: list[Artist] = [star]
    labels = ["Best fit"]
    for region in regions:
        (line,) = axes.plot([], [], **_line_style(skymap, region))
        name = percent(region.credible_level).replace("%", " %").replace("sigma", "σ")
        more = "≥ " if region.open else ""
        handles.append(line)
        kind = (
            "" if skymap.rule.name == WILKS.name else f" {'statistical' if region.rule == WILKS.name else 'calibrated'}"
        )
        labels.append(f"{name}{kind}: {more}{area_number(region.area)} deg²")
    if skymap.covered < 1 - 1e-12:
        handles.append(Patch(facecolor=NO_FIT, edgecolor=INK, linewidth=0.5))
        labels.append("No fit (yet)")
    return handles, labels


def _colour_bar(
    figure: Figure, place: tuple[float, float, float, float], norm: Normalize, skymap: MultiOrderMap
) -> None:
    """Draw the scale of the colours, with an arrow for the values beyond its end, if there are any."""
    extend = "max" if skymap.delta.max() > norm.vmax else "neither"
    mappable = ScalarMappable(norm, COLOURS)
    bar = figure.colorbar(mappable, cax=figure.add_axes(place), orientation="horizontal", extend=extend)
    if isinstance(norm, PowerNorm):
        bar.set_ticks(_round_values(norm))
    bar.set_label(r"$-2\,\Delta\,\ln L$", fontsize=10)
    bar.ax.tick_params(labelsize=8.5)
    bar.outline.set_linewidth(0.6)


def _round_values(norm: PowerNorm) -> list[float]:
    """Return round values for the ticks of a square-root scale, so far apart that their numbers do not overlap."""
    top = float(norm.vmax or 0.0)
    found = [0.0]
    for value in sorted((m * 10.0**e for m in (1, 2, 5) for e in range(-3, 13)), reverse=True):
        room = min([1.0, *(float(norm(one)) for one in found if one > value)]) - float(norm(value))
        if value <= top and float(norm(value)) > 0.12 and (room > 0.12 or len(found) == 1):
            found.append(value)
    return sorted(found)


def _encode(figure: Figure, kind: ImageKind) -> bytes:
    """Encode the figure; equal pictures are equal files."""
    file = io.BytesIO()
    if kind == "png":
        FigureCanvasAgg(figure).print_png(file, metadata=METADATA[kind])
    elif kind == "pdf":
        from matplotlib.backends.backend_pdf import FigureCanvasPdf  # noqa: PLC0415 - slow, for its fonts

        FigureCanvasPdf(figure).print_pdf(file, metadata=METADATA[kind])
    else:
        from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415 - as above

        FigureCanvasSVG(figure).print_svg(file, metadata=METADATA[kind])
    return file.getvalue()
