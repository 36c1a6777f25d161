"""The pictures: right projections, right colours at right places, equal bytes, no global state."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from dataclasses import replace

import healpy
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, angular_separation
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import rc_context, rcParams
from matplotlib.colors import PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Annotation

from skymap_scanner.event.model import OnlineDirection
from skymap_scanner.event.preparation import NO_BAD_DOMS
from skymap_scanner.results import ScanResult, plot_grid, plot_text, plots
from skymap_scanner.results.contours import contours
from skymap_scanner.results.projection import (
    galactic_to_equatorial,
    gnomonic,
    gnomonic_inverse,
    mollweide,
    mollweide_inverse,
)
from skymap_scanner.results.rule import IC160427A, WILKS
from skymap_scanner.results.skymap import multi_order_map


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Draw at half the resolution, which takes a third of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "DPI", 150)
        patch.setattr(plots, "SAMPLES", (1200, 900, 250))
        yield


directions = {"ra": st.floats(0.001, 359.999), "dec": st.floats(-89.9, 89.9)}


@given(**directions)
def test_mollweide_projection_round_trips(ra, dec):
    x, y = mollweide(np.array([ra]), np.array([dec]))
    assert x[0] ** 2 / 4 + y[0] ** 2 <= 1 + 1e-12
    found = mollweide_inverse(x, y)
    assert found[0][0] == pytest.approx(ra, abs=1e-4)
    assert found[1][0] == pytest.approx(dec, abs=1e-6)


def test_mollweide_is_as_healpy_projects_and_turned_to_the_left():
    ra, dec = np.array([10.0, 100.0, 200.0, 350.0]), np.array([-70.0, 5.0, 45.0, 89.0])
    projector = healpy.projector.MollweideProj(rot=(180.0, 0.0, 0.0))  # healpy flips for astronomers by itself
    x, y = projector.ang2xy(ra, dec, lonlat=True)
    np.testing.assert_allclose(mollweide(ra, dec), (x, y), atol=1e-6)
    assert (np.diff(mollweide(np.linspace(1, 359, 50), np.zeros(50))[0]) < 0).all()


def test_mollweide_has_the_poles_at_its_ends():
    x, y = mollweide(np.array([70.0, 70.0]), np.array([90.0, -90.0]))
    np.testing.assert_allclose(x, 0, atol=1e-3)
    np.testing.assert_allclose(y, [1, -1], atol=1e-6)
    assert np.isnan(mollweide_inverse(np.array([1.9]), np.array([0.9]))).all()


def angle(ra: float, dec: float, ra0: float, dec0: float) -> float:
    """Return the angle between two directions, deg."""
    return float(np.degrees(angular_separation(*np.radians([ra, dec, ra0, dec0]))))


@given(**directions, ra0=st.floats(0, 360), dec0=st.floats(-90, 90))
def test_gnomonic_projection_round_trips(ra, dec, ra0, dec0):
    distance = angle(ra, dec, ra0, dec0)
    x, y = gnomonic(np.array([ra]), np.array([dec]), ra0, dec0)
    if distance > 89.5:
        assert distance < 90.5 or np.isnan([x, y]).all()
        return
    assert np.hypot(x, y)[0] == pytest.approx(np.degrees(np.tan(np.radians(distance))), rel=1e-9, abs=1e-9)
    back = gnomonic_inverse(x, y, ra0, dec0)
    assert angle(back[0][0], back[1][0], ra, dec) < 1e-7


def test_gnomonic_has_east_to_the_left_and_north_up():
    x, y = gnomonic(np.array([0.5, 0.0]), np.array([20.0, 20.5]), 0.0, 20.0)
    assert x[0] < -0.4
    assert y[1] > 0.4


@given(longitude=st.floats(0, 360), latitude=st.floats(-89, 89))
def test_galactic_plane_agrees_with_astropy(longitude, latitude):
    ra, dec = galactic_to_equatorial(np.array([longitude]), np.array([latitude]))
    expected = SkyCoord(l=longitude * u.deg, b=latitude * u.deg, frame="galactic").icrs
    assert angle(ra[0], dec[0], expected.ra.deg, expected.dec.deg) < 1e-3


def draw(result):
    skymap = multi_order_map(result)
    regions = contours(skymap)
    return plots.all_sky(result, skymap, regions), plots.zoomed(result, skymap, regions)


@pytest.fixture(scope="module")
def pictures(track):
    return draw(track)


def chunks(png: bytes) -> list[bytes]:
    """Names of the chunks of a PNG file, whose checks must hold."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    names, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        name, body = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        assert struct.unpack(">I", png[place + 8 + length : place + 12 + length])[0] == zlib.crc32(name + body)
        names.append(name)
        place += 12 + length
    return names


def test_pictures_contain_no_metadata_and_are_reproducible(pictures, track):
    for picture in pictures:
        assert set(chunks(picture)) <= {b"IHDR", b"pHYs", b"IDAT", b"IEND"}
    assert draw(track) == pictures


def pixel_at(picture: bytes, box: tuple[float, float, float, float], x: float, y: float) -> np.ndarray:
    """Colour of a picture at a place given as a share of the axes at ``box`` (shares of the figure)."""
    image = imread(io.BytesIO(picture))
    height, width = image.shape[:2]
    column = round((box[0] + x * box[2]) * width)
    row = round((1 - box[1] - y * box[3]) * height)
    return image[row, column, :3]


def test_zoomed_picture_has_the_colours_of_the_pixels(track, pictures):
    skymap = multi_order_map(track)
    half = plots.zoom_half_width(skymap, contours(skymap))
    for x, y in ((0.30, 0.52), (0.61, 0.57), (0.45, 0.28), (0.9, 0.9)):
        ra, dec = gnomonic_inverse(
            np.array([(2 * x - 1) * half]), np.array([(2 * y - 1) * half]), skymap.best.ra, skymap.best.dec
        )
        delta = skymap.delta[skymap.owner[skymap.cells_at(ra, dec)]]
        expected = plots.COLOURS(delta / plots.MAX_DELTA)[0, :3]
        found = pixel_at(pictures[1], plots.ZOOMED_AXES, x, y)
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_sky_without_fits_is_grey(partial):
    skymap = multi_order_map(partial)
    picture, _ = draw(partial)
    compared = 0
    for ra, dec in ((200.0, 50.0), (250.0, -40.0), (170.0, -20.0), (285.0, 10.0), (225.0, 12.0), (190.0, -50.0)):
        x, y = mollweide(np.array([ra]), np.array([dec]))
        grey = skymap.owner[skymap.cells_at(np.array([ra]), np.array([dec]))][0] < 0
        found = pixel_at(picture, plots.ALL_SKY_AXES, *_share_of_axes(x[0], y[0]))
        assert np.allclose(found, to_rgb(plots.NO_FIT), atol=0.02) == grey
        compared += grey
    assert 0 < compared < 6


def _share_of_axes(x: float, y: float) -> tuple[float, float]:
    """The ellipse stands in the middle of its axes, whose box (9.2 by 4.68 inches) is narrower than 2:1."""
    scale = min(9.2 / 4.04, 4.68 / 2.02)
    return 0.5 + x * scale / 9.2, 0.5 + y * scale / 4.68


@pytest.mark.parametrize(("sigma", "square_roots"), [(40.0, False), (12.0, False), (5.0, True), (1.0, True)])
def test_whole_sky_uses_square_root_colours_if_needed(scan, bowl, sigma, square_roots):
    # 30 % of the sky lie within 66.4 deg: (66.4 / sigma)^2
    skymap = multi_order_map(scan(bowl(100.0, 20.0, sigma), plan=[(8, 0)]))
    norm = plots.all_sky_scale(skymap)
    assert isinstance(norm, PowerNorm) == square_roots
    assert norm.vmax == (skymap.delta.max() if square_roots else 40.0)


@pytest.mark.parametrize("top", [41.0, 130.0, 999.0, 7717.0, 8000.0, 1e5, 3.3e7])
def test_ticks_of_square_root_scale_do_not_overlap(top):
    norm = PowerNorm(0.5, 0.0, top)
    ticks = plots._round_values(norm)
    assert ticks[0] == 0
    assert ticks[-1] > top / 2.6
    assert np.diff(norm(ticks)).min() > 0.1
    assert 4 <= len(ticks) <= 9


def test_colours_of_the_surroundings_reach_the_outer_contour(track):
    for rule, top in ((WILKS, 40.0), (IC160427A, 80.0)):
        assert plots.zoomed_scale(contours(multi_order_map(track, rule))).vmax == top


def test_colour_bar_has_no_arrow_for_values_that_do_not_exist(scan, bowl):
    whole = multi_order_map(scan(bowl(100.0, 20.0, 40.0), plan=[(8, 0)]))
    track_like = multi_order_map(scan(bowl(100.0, 20.0, 3.0), plan=[(8, 0)]))
    found = []
    for skymap in (whole, track_like):
        for norm in (plots.all_sky_scale(skymap), plots.zoomed_scale(contours(skymap))):
            figure = Figure()
            plots._colour_bar(figure, (0, 0, 1, 0.1), norm, skymap)
            found.append(figure.axes[0]._colorbar.extend)
    assert found == ["neither", "neither", "neither", "max"]


def test_partial_scan_is_labelled_partial(partial, track):
    assert plot_text.partial_note(partial) == "partial: 345/768 pixels"
    assert not partial.complete
    assert track.complete


def notes(result: ScanResult) -> str:
    return plot_text.notes_text(result, multi_order_map(result))


def test_notes_of_a_picture_fit_into_one_line(partial, track, metadata):
    assert notes(track) == ""
    at_edge = "CAUTION: the best fit is at the edge of the sky with fits, so the minimum may lie beyond it"
    assert notes(partial) == f"partial: 345/768 pixels · {at_edge}"
    known = replace(track, metadata=metadata(track.levels, caution=NO_BAD_DOMS))
    assert notes(known) == f"CAUTION: {NO_BAD_DOMS}"
    both = replace(partial, metadata=replace(partial.metadata, choice="one of two", caution=NO_BAD_DOMS))
    start = "partial: 345/768 pixels · CAUTION: one of two · CAUTION: the event has no BadDomsList"
    assert notes(both).startswith(start)
    assert len(notes(both)) <= plot_text.FOOT


def test_caution_is_drawn_in_both_pictures(track, metadata, pictures):
    cautious = draw(replace(track, metadata=metadata(track.levels, caution=NO_BAD_DOMS)))
    assert all(one != other for one, other in zip(cautious, pictures, strict=True))


@pytest.mark.parametrize("length", [60, len(NO_BAD_DOMS), 200])
def test_caution_stays_within_the_picture(track, metadata, length):
    caution = (NO_BAD_DOMS + " and more")[:length].ljust(length, "m")
    for picture in draw(replace(track, metadata=metadata(track.levels, caution=caution))):
        title = imread(io.BytesIO(picture), format="png")[:160, :, :3]
        assert (title < 0.5).any(), "there is a title"
        margins = np.concatenate([title[:, :20], title[:, -20:]], axis=1)
        assert (margins == 1).all()


def test_foot_of_a_picture_names_thresholds_and_source(calibrated):
    assert (
        plot_text.rule_text(WILKS)
        == "Contours where 2Δ(−ln L) = 1.39 (50%), 4.61 (90%), 11.8 (3 sigma): Wilks' theorem"
    )
    assert plot_text.rule_text(calibrated) == "Contours where 2Δ(−ln L) = 2.2 (50%), 8 (90%): test.json, version 1"
    assert len(plot_text.rule_text(replace(calibrated, source="a word " * 70))) <= plot_text.FOOT


def test_calibrated_lines_are_solid_and_statistical_ones_dashed(track, calibrated, pictures):
    skymap = multi_order_map(track, calibrated)
    regions = contours(skymap)
    assert {plots._line_style(skymap, region)["linestyle"] for region in regions[:2]} == {"-"}
    assert "-" not in {plots._line_style(skymap, region)["linestyle"] for region in regions[2:]}
    assert plots.zoomed(track, skymap, regions) != pictures[1]


@pytest.mark.parametrize(("sigma", "angle"), [(0.05, None), (2.0, 2.0 * 11.83**0.5), (20.0, 50.0)])
def test_zoom_holds_the_outermost_contour_within_limits(scan, bowl, sigma, angle):
    skymap = multi_order_map(scan(bowl(180.0, 30.0, sigma)))
    expected = 1.15 * np.degrees(np.tan(np.radians(angle))) if angle else 3.0
    assert plots.zoom_half_width(skymap, contours(skymap)) == pytest.approx(expected, rel=0.02)


def test_labels_around_a_pole_lie_on_no_contour(scan, bowl):
    skymap = multi_order_map(scan(bowl(40.0, 89.0, 0.6)))
    half = plots.zoom_half_width(skymap, contours(skymap))
    rings = [
        np.stack(gnomonic(*line.T, skymap.best.ra, skymap.best.dec), axis=1)
        for region in contours(skymap)
        for line in region.lines
    ]
    figure = Figure(figsize=(6, 6))
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.set(xlim=(-half, half), ylim=(-half, half))
    avoid = np.concatenate(rings)
    plot_grid.draw_zoomed_grid(axes, skymap.best.ra, skymap.best.dec, half, avoid)
    within = [text for text in axes.texts if not isinstance(text, Annotation)]
    around = [text for text in axes.texts if isinstance(text, Annotation)]
    assert len(within) >= 2
    for text in within:
        assert np.hypot(*(avoid - text.get_position()).T).min() > 0.05 * half
    assert len({text.get_text() for text in around}) == len(around) >= 10, "each meridian is labelled once"


@pytest.mark.parametrize(("ra", "dec"), [(0.1, 0.0), (45.0, 89.9), (120.0, -75.0)])
def test_every_place_of_the_sky_can_be_drawn(scan, bowl, ra, dec):
    for picture in draw(scan(bowl(ra, dec, 0.8))):
        chunks(picture)


def test_one_pixel_can_be_drawn(level, bowl, metadata, track):
    rows = level(512, [1_000_000], bowl(0.0, 0.0, 1.0))
    for picture in draw(type(track)({512: rows}, metadata({512: rows}, name=""))):
        chunks(picture)


@pytest.mark.parametrize(
    ("wanted", "step"), [(1.0, 1.0), (0.9, 1.0), (0.3, 0.2), (3.6, 5.0), (100.0, 30.0), (0.001, 0.1)]
)
def test_grid_steps_are_round(wanted, step):
    assert plot_grid.round_step(wanted) == step


def test_numbers_on_the_grid_are_plain():
    assert [plot_grid.plain(value) for value in (-0.0, 0.30000000000000004, 12.0, -3.5)] == ["0", "0.3", "12", "-3.5"]


@pytest.mark.parametrize("draw", [plots.all_sky, plots.zoomed])
@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF-1"), ("svg", b"<?xml")])
def test_pictures_of_every_kind_are_reproducible(partial, draw, kind, start):
    skymap = multi_order_map(partial)
    regions = contours(skymap)
    found = draw(partial, skymap, regions, kind)
    assert found.startswith(start)
    assert draw(partial, skymap, regions, kind) == found
    assert b"CreationDate" not in found
    assert b"dc:date" not in found


@pytest.mark.parametrize("draw", [plots.all_sky, plots.zoomed])
def test_pictures_do_not_follow_the_style_of_the_user(partial, draw):
    skymap = multi_order_map(partial)
    regions = contours(skymap)
    before = draw(partial, skymap, regions)
    style = {"font.family": "monospace", "text.color": "red", "figure.facecolor": "green", "axes.grid": True}
    with rc_context(style | {"image.origin": "upper", "savefig.dpi": 30}):
        assert draw(partial, skymap, regions) == before
        assert rcParams["text.color"] == "red", "the user's own figures keep the style"


@pytest.mark.parametrize("name", [r"$\frac{$", "a$b$c", "🔭 次 ν", r"{0} %s \\ & <b>", "Größe"])
def test_names_of_any_characters_can_be_drawn(partial, metadata, name):
    """Dollar signs begin no formula, and a character that the font lacks is no warning."""
    named = ScanResult(partial.levels, metadata(partial.levels, name=name, event_type=name, reconstruction=name))
    for picture in draw(named):
        assert chunks(picture)


def test_matplotlib_keeps_no_global_state():
    check = "import sys, skymap_scanner.results.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def changed_by_online(track, draw, away):
    """Return which points of a picture change if the event has an online direction, (rows, columns)."""
    skymap = multi_order_map(track)
    regions = contours(skymap)
    online = OnlineDirection("l2_online_SplineMPE", skymap.best.ra + away, skymap.best.dec, 0.2)
    images = [
        imread(io.BytesIO(draw(ScanResult(track.levels, metadata), skymap, regions)))
        for metadata in (track.metadata, replace(track.metadata, online=online))
    ]
    return np.abs(images[1] - images[0]).max(axis=-1) > 0.5


@pytest.mark.parametrize(("draw", "away"), [(plots.all_sky, 20.0), (plots.zoomed, 0.5)])
def test_online_direction_of_the_event_is_drawn(track, draw, away):
    changed = changed_by_online(track, draw, away)
    height = len(changed)
    assert changed[height // 5 : 3 * height // 4].sum() > 50  # on the map
    assert changed[3 * height // 4 :].sum() > 50  # in the legend


def test_online_direction_under_the_star_is_in_the_inset(track):
    changed = changed_by_online(track, plots.all_sky, 0.2)
    left, bottom, width, height = plots.INSET_AXES
    rows, columns = changed.shape
    inset = changed[round((1 - bottom - height) * rows) : round((1 - bottom) * rows)]
    assert inset[:, round(left * columns) : round((left + width) * columns)].sum() > 50
