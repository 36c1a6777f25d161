"""Two pictures of a result: the whole sky, and the surroundings of the best fit.

Both show the pixels themselves, each in the colour of its 2 delta ln L, with the contours of ``contours.py`` on top:
those of the map's rule are solid; where these are calibrated, those of Wilks' theorem are dashed.
Only the pixels of the picture are looked up in the map, whatever its nside. The figures live outside matplotlib's
global state and do not follow a user's ``matplotlibrc``: equal results give equal bytes.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context, rcParamsDefault
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Ellipse, Patch
from matplotlib.patheffects import withStroke

from skymap_scanner.detector.coordinates import angular_separation
from skymap_scanner.healpix import Floats
from skymap_scanner.results import projection
from skymap_scanner.results.contours import Contour, of_rule
from skymap_scanner.results.fits_files import mjd_to_iso
from skymap_scanner.results.projection import gnomonic, mollweide
from skymap_scanner.results.result import ScanResult
from skymap_scanner.results.rule import THREE_SIGMA, WILKS, ContourRule, percent
from skymap_scanner.results.skymap import MultiOrderMap
from skymap_scanner.results.summary import area_number, event_name

#: Upper end of the colour scale; higher values look the same. The all-sky picture extends it where less than COLOURED
#: of the sky would have a colour, as for a well-measured track.
MAX_DELTA = 40.0
COLOURED = 0.3
#: Least and greatest half-width of the zoomed picture, deg.
ZOOM = (3.0, 15.0)
DPI = 150
#: Number of characters at the foot of a picture, and in its notes.
FOOT = 145
#: From dark for the best fit to pale for excluded sky, where lines stand out.
COLOURS = colormaps["GnBu_r"]
INK = "#222222"
NO_FIT = "#c9c9c9"
GALACTIC = "#8b1a1a"
STAR: dict[str, Any] = {"marker": "*", "color": "#ffd43b", "markeredgecolor": "black", "linestyle": "none"}
GRID: dict[str, Any] = {"color": "#555555", "alpha": 0.6, "zorder": 2}
#: Style of text on the map itself.
ON_MAP: dict[str, Any] = {
    "fontsize": 8,
    "color": INK,
    "path_effects": [withStroke(linewidth=2.2, foreground="white", alpha=0.85)],
}
#: Line of a credible level: colour, width, style.
LINES = {
    0.5: ("#ffffff", 1.6, "-"),
    0.9: ("#e8590c", 1.6, "-"),
    THREE_SIGMA: ("#444444", 0.9, (0, (4, 2))),
}
#: Width and style of the lines of Wilks' theorem beside calibrated ones.
STATISTICAL: tuple[float, Any] = (1.2, (0, (3, 2)))


Draw = Callable[[ScanResult, MultiOrderMap, Sequence[Contour]], bytes]


def _in_default_style(draw: Draw) -> Draw:
    """Draw in matplotlib's own style: it reads a ``matplotlibrc`` of the current folder or of the user."""

    @wraps(draw)
    def drawn(result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour]) -> bytes:
        with rc_context({key: value for key, value in rcParamsDefault.items() if not key.startswith("backend")}):
            return draw(result, skymap, regions)

    return drawn


@_in_default_style
def all_sky_png(result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour]) -> bytes:
    """Draw the whole sky in Mollweide's projection, with the galactic plane."""
    figure = Figure(figsize=(10, 6.5), dpi=DPI)
    axes = figure.add_axes((0.04, 0.14, 0.92, 0.7))
    axes.set(xlim=(-2.02, 2.02), ylim=(-1.01, 1.01), aspect="equal")
    axes.axis("off")
    x, y = np.meshgrid(np.linspace(-2, 2, 1600), np.linspace(-1, 1, 800))
    ra, dec = projection.mollweide_inverse(x, y)
    top = all_sky_scale(skymap)
    picture = axes.imshow(
        _colours(skymap, ra, dec, top), extent=(-2, 2, -1, 1), origin="lower", interpolation="nearest"
    )
    edge = Ellipse((0, 0), 4, 2, facecolor="none", edgecolor=INK, linewidth=1.0, zorder=5)
    axes.add_patch(edge)
    picture.set_clip_path(edge)

    _all_sky_grid(axes)
    plane = projection.galactic_to_equatorial(np.linspace(0, 360, 721), np.zeros(721))
    _broken_line(axes, *mollweide(*plane), limit=0.5, color=GALACTIC, linewidth=1.1, alpha=0.8, zorder=3)
    center = mollweide(*projection.galactic_to_equatorial(np.zeros(1), np.zeros(1)))
    axes.plot(*center, marker="+", markersize=8, color=GALACTIC, linestyle="none", zorder=3)
    _draw_contours(axes, skymap, regions, mollweide, limit=0.5)
    star = mollweide(np.array([skymap.best.ra]), np.array([skymap.best.dec]))
    axes.plot(*star, markersize=13, markeredgewidth=0.8, zorder=8, **STAR)
    handles, labels = _legend(axes, skymap, regions)
    (galactic,) = axes.plot([], [], color=GALACTIC, linewidth=1.1, marker="+")
    figure.legend(
        [*handles, galactic],
        [*labels, "Galactic plane"],
        loc="lower left",
        fontsize=8.5,
        frameon=False,
        ncols=2,
        bbox_to_anchor=(0.03, 0.02),
        facecolor="#dddddd",
    )
    _colour_bar(figure, (0.62, 0.08, 0.33, 0.02), top)
    _title(figure, result, skymap, regions)
    return _encode(figure)


@_in_default_style
def zoomed_png(result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour]) -> bytes:
    """Draw the surroundings of the best fit on the plane that touches the sky there."""
    best = skymap.best
    half = zoom_half_width(skymap, regions)
    figure = Figure(figsize=(7.2, 8.4), dpi=DPI)
    axes = figure.add_axes((0.13, 0.155, 0.83, 0.7114))  # square: 0.83 * 7.2 = 0.7114 * 8.4
    ticks = np.linspace(-half, half, 900)
    ra, dec = projection.gnomonic_inverse(*np.meshgrid(ticks, ticks), best.ra, best.dec)
    axes.imshow(
        _colours(skymap, ra, dec, MAX_DELTA), extent=(-half, half, -half, half), origin="lower", interpolation="nearest"
    )
    axes.set(xlim=(-half, half), ylim=(-half, half), xticks=[], yticks=[])
    _zoomed_grid(axes, best.ra, best.dec, half)
    _draw_contours(axes, skymap, regions, partial(gnomonic, ra0=best.ra, dec0=best.dec), limit=half)
    axes.plot(np.zeros(1), np.zeros(1), markersize=15, markeredgewidth=0.8, zorder=8, **STAR)
    handles, labels = _legend(axes, skymap, regions)
    legend = axes.legend(
        handles, labels, loc="lower right", fontsize=9, framealpha=0.92, facecolor="#e4e4e4", edgecolor="none"
    )
    legend.set_zorder(9)
    _colour_bar(figure, (0.28, 0.065, 0.53, 0.017), MAX_DELTA)
    _title(figure, result, skymap, regions)
    return _encode(figure)


def zoom_half_width(skymap: MultiOrderMap, regions: Sequence[Contour]) -> float:
    """Return the half-width (deg) that shows the 90 % contour with some room, within the limits of ZOOM."""
    lines = [line for region in regions if region.credible_level <= 0.9 for line in region.lines]
    best = np.radians([skymap.best.ra, skymap.best.dec])
    reach = [np.degrees(angular_separation(*np.radians(line.T), *best).max()) for line in lines]
    return float(np.clip(1.4 * max(reach, default=ZOOM[1]), *ZOOM))


def all_sky_scale(skymap: MultiOrderMap) -> float:
    """Return the upper end of the all-sky colour scale: MAX_DELTA, or a round value above it."""
    shown = np.flatnonzero(skymap.owner >= 0)
    delta, area = skymap.delta[skymap.owner[shown]], skymap.area[shown]
    by_delta = np.argsort(delta)
    covered = np.cumsum(area[by_delta]) / area.sum()
    wanted = float(delta[by_delta][np.searchsorted(covered, COLOURED)])
    if wanted <= MAX_DELTA:
        return MAX_DELTA
    decade = 10.0 ** np.floor(np.log10(wanted))
    return float(min(step * decade for step in (1, 2, 5, 10) if step * decade >= wanted))


def _colours(skymap: MultiOrderMap, ra: Floats, dec: Floats, top: float) -> Floats:
    """Return the colours (..., 4) of the pixels at these directions, 0 to ``top``; transparent where they are NaN."""
    image = np.zeros((*ra.shape, 4))
    known = np.isfinite(ra)
    owner = skymap.owner[skymap.cells_at(ra[known], dec[known])]
    colours = COLOURS(np.append(skymap.delta, 0.0)[owner] / top)
    colours[owner < 0] = to_rgba(NO_FIT)
    image[known] = colours
    return image


def _all_sky_grid(axes: Axes) -> None:
    """Draw meridians and parallels every 30 deg, with labels."""
    dec = np.linspace(-90, 90, 181)
    for ra in range(30, 360, 30):
        axes.plot(*mollweide(np.full(181, float(ra)), dec), linewidth=0.4, **GRID)
        x, y = mollweide(np.array([float(ra)]), np.zeros(1))
        axes.text(x[0], y[0] - 0.012, f"{ra}°", ha="center", va="top", zorder=4, **ON_MAP)
    ra_line = np.linspace(0, 360, 361)
    for parallel in range(-60, 90, 30):
        x, y = mollweide(ra_line, np.full(361, float(parallel)))
        axes.plot(x, y, linewidth=0.4, **GRID)
        name = f"{parallel:+d}°".replace("-", "−").replace("+0", "0")
        axes.text(x.min() - 0.03, y[0], name, ha="right", va="center", fontsize=8, color=INK)


def _zoomed_grid(axes: Axes, ra0: float, dec0: float, half: float) -> None:
    """Draw meridians and parallels at round values, labelled where they leave the picture."""
    corner = np.hypot(half, half) * 1.05
    step = _round_step(half / 3)
    low, high = max(dec0 - corner, -90.0), min(dec0 + corner, 90.0)
    reach = 180.0
    if high < 90.0 and low > -90.0:
        sine = np.sin(np.radians(corner)) / np.cos(np.radians(dec0))
        reach = np.degrees(np.arcsin(min(1.0, sine)))
    ra_step = min(30.0, _round_step(half / 3 / max(np.cos(np.radians(dec0)), 1e-3)))
    along = np.linspace(-1, 1, 801)
    for k in range(int(np.ceil((ra0 - reach) / ra_step)), int(np.floor((ra0 + reach - 1e-9) / ra_step)) + 1):
        ra = np.full(801, k * ra_step)
        x, y = gnomonic(ra, (low + high) / 2 + along * (high - low) / 2, ra0, dec0)
        axes.plot(x, y, linewidth=0.5, **GRID)
        _name_line(axes, x, y, half, f"{_plain((k * ra_step) % 360)}°", "bottom")
    for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1):
        x, y = gnomonic(ra0 + along * reach, np.full(801, k * step), ra0, dec0)
        axes.plot(x, y, linewidth=0.5, **GRID)
        _name_line(axes, x, y, half, f"{_plain(k * step)}°".replace("-", "−"), "left")
    axes.set_xlabel("Right ascension (J2000)", labelpad=20, fontsize=10)
    axes.set_ylabel("Declination (J2000)", labelpad=34, fontsize=10)


def _name_line(axes: Axes, x: Floats, y: Floats, half: float, name: str, side: str) -> None:
    """Label a line outside the picture where it crosses one side, or on the line where it stays inside."""
    along, across = (x, y) if side == "bottom" else (y, x)
    with np.errstate(invalid="ignore"):
        cut = np.flatnonzero((across[:-1] + half) * (across[1:] + half) <= 0)
        inside = np.flatnonzero(np.maximum(np.abs(x), np.abs(y)) < half)
    for place in cut:
        part = (-half - across[place]) / (across[place + 1] - across[place])
        where = along[place] + part * (along[place + 1] - along[place])
        if abs(where) < half:
            spot, shift = ((where, -half), (0, -4)) if side == "bottom" else ((-half, where), (-4, 0))
            ha, va = ("center", "top") if side == "bottom" else ("right", "center")
            axes.annotate(name, spot, shift, textcoords="offset points", ha=ha, va=va, fontsize=9, color=INK)
            return
    if len(inside) == len(x):  # a whole circle around a pole
        lowest = int(np.argmin(y))
        axes.text(x[lowest], y[lowest], name, ha="center", va="center", zorder=7, **ON_MAP)


def _draw_contours(
    axes: Axes, skymap: MultiOrderMap, regions: Sequence[Contour], project: Callable[..., Any], limit: float
) -> None:
    """Draw the closed lines of the regions, but not where they only follow the edge of the scanned sky."""
    for region in regions:
        for line, border in zip(region.lines, region.borders, strict=True):
            cuts = np.flatnonzero(border[:-1] & border[1:]) + 1
            x, y = (np.insert(axis, cuts, np.nan) for axis in project(line[:, 0], line[:, 1]))
            _broken_line(axes, x, y, limit=limit, zorder=6, **_line_style(skymap, region))


def _line_style(skymap: MultiOrderMap, region: Contour) -> dict[str, Any]:
    """Return colour, width, dashes and halo of a region's line."""
    colour, width, dashes = LINES[region.credible_level]
    rim = 1.4 if dashes == "-" else 0.0
    if region.rule != skymap.rule.name and rim:
        (width, dashes), rim = STATISTICAL, 0.8
    halo = [withStroke(linewidth=width + rim, foreground="black", alpha=0.55)] if rim else None
    return {"color": colour, "linewidth": width, "linestyle": dashes, "path_effects": halo}


def _broken_line(axes: Axes, x: Floats, y: Floats, *, limit: float, **style: Any) -> None:
    """Draw a line that is interrupted where it jumps further than ``limit``: over the edge of the sky."""
    with np.errstate(invalid="ignore"):
        jumps = np.flatnonzero(np.hypot(np.diff(x), np.diff(y)) > limit) + 1
    axes.plot(np.insert(x, jumps, np.nan), np.insert(y, jumps, np.nan), **style)


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


def _colour_bar(figure: Figure, place: tuple[float, float, float, float], top: float) -> None:
    """Draw the scale of the colours, 0 to ``top``."""
    mappable = ScalarMappable(Normalize(0, top), COLOURS)
    bar = figure.colorbar(mappable, cax=figure.add_axes(place), orientation="horizontal", extend="max")
    bar.set_label(r"$-2\,\Delta\,\ln L$", fontsize=10)
    bar.ax.tick_params(labelsize=8.5)
    bar.outline.set_linewidth(0.6)


def _title(figure: Figure, result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour]) -> None:
    """Write the title, line by line: event, time and reconstruction, best fit, notes.

    The foot of the picture has the thresholds of the contours and their source.
    """
    metadata = result.metadata
    time = mjd_to_iso(metadata.mjd).split(".", maxsplit=1)[0].replace("T", " ")
    facts = [f"{time} UTC", metadata.event_type, metadata.reconstruction, f"contours: {skymap.rule.label}"]
    name = event_name(metadata)
    size = min(13.0, 100 * figure.get_figwidth() / len(name))  # a long name still fits
    lines = [
        (name, size, "bold", INK),
        ("  ·  ".join(filter(None, facts)), 9.5, "normal", INK),
        (_direction_text(skymap, regions), 9.5, "normal", INK),
    ]
    notes = notes_text(result)
    if notes:
        lines.append((notes, min(10.5, 100 * figure.get_figwidth() / len(notes)), "bold", "#c92a2a"))
    figure.text(0.5, 0.005, rule_text(skymap.rule), ha="center", va="bottom", fontsize=6.5, color=INK)
    height = figure.get_figheight()
    for line, (text, size, weight, colour) in enumerate(lines):
        y = 1 - (0.24 + 0.25 * line) / height
        figure.text(
            *(0.5, y, _drawable(text)),
            ha="center",
            va="center",
            fontsize=size,
            weight=weight,
            color=colour,
            parse_math=False,  # a name may hold dollar signs
        )


def _drawable(text: str) -> str:
    """Return text with escapes for the characters that the font lacks."""
    font = get_font(findfont(FontProperties()))
    return "".join(c if font.get_char_index(ord(c)) else c.encode("unicode_escape").decode() for c in text)


def _direction_text(skymap: MultiOrderMap, regions: Sequence[Contour]) -> str:
    """Return the best fit with the errors of the 90 % region."""
    best = skymap.best
    text = f"RA {best.ra:.2f}°, Dec {best.dec:.2f}°"
    for box in (region.box for region in of_rule(regions, skymap.rule) if region.credible_level == 0.9):
        text = (
            f"RA {best.ra:.2f}° (+{box.ra_plus:.2f}/-{box.ra_minus:.2f}),  "
            f"Dec {best.dec:.2f}° (+{box.dec_plus:.2f}/-{box.dec_minus:.2f}),  90 %, J2000"
        )
    return text.replace("-", "−")


def rule_text(rule: ContourRule) -> str:
    """Return the thresholds of a rule and their source, shortened to one line."""
    levels = ", ".join(f"{threshold:.3g} ({percent(level)})" for level, threshold in rule.levels.items())
    return textwrap.shorten(f"Contours where 2Δ(−ln L) = {levels}: {rule.source}", FOOT, placeholder=" …")


def notes_text(result: ScanResult) -> str:
    """Return how much of a partial scan is done, and the cautions about its event, shortened to one line; or ""."""
    notes = [] if result.complete else [partial_note(result)]
    notes += [f"CAUTION: {caution}" for caution in (result.metadata.choice, result.metadata.caution) if caution]
    return textwrap.shorten(" · ".join(notes), FOOT, placeholder=" …")


def partial_note(result: ScanResult) -> str:
    """Return how much of a scan is done: ``partial: 345/768 pixels``."""
    planned = sum(result.metadata.plan.values())
    return f"partial: {result.scanned}{f'/{planned}' if planned else ''} pixels"


def _round_step(wanted: float) -> float:
    """Return the round step (deg) nearest to ``wanted``."""
    steps = np.array([0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30])
    return float(steps[np.argmin(np.abs(np.log(steps / wanted)))])


def _plain(value: float) -> str:
    """Return a round number without superfluous digits; never -0."""
    return f"{round(value, 2) + 0.0:g}"


def _encode(figure: Figure) -> bytes:
    """Encode as PNG, without the version of the library, so that equal pictures are equal files."""
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()
