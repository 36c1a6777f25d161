"""The calculations of the page, compared with those of Python's libraries."""

from __future__ import annotations

import math
from collections.abc import Iterator

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy_healpix import HEALPix
from playwright.sync_api import Browser, Page

from skymap_scanner.healpix import ring_to_nested
from skymap_scanner.report.page import asset
from skymap_scanner.scan.pixels import Pixel, children
from skymap_scanner.scan.refinement import best_pixel


@pytest.fixture(scope="module")
def scripts(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    for name in ("healpix.js", "projection.js", "colour.js", "replay.js", "lines.js"):
        page.add_script_tag(content=asset(name))
    yield page
    page.close()


def directions(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return z and phi all over the sky, with poles, RA 0, and the edges of the polar caps."""
    draw = np.random.default_rng(1)
    z = np.concatenate([[1, 1, -1, -1, 2 / 3, -2 / 3, 0], draw.uniform(-1, 1, count)])
    phi = np.concatenate([[0, 3, 0, 3, 0, 6.283185307, 0], draw.uniform(-7, 14, count)])
    return z, phi


@pytest.mark.parametrize("order", [0, 1, 3, 9, 13, 14])
def test_pixels_are_those_of_astropy(scripts: Page, order: int) -> None:
    z, phi = directions(2000)
    both = np.stack([z, phi], axis=1).tolist()
    program = "([order, both]) => both.map(([z, phi]) => directionToPixel(order, z, phi))"
    found = np.array(scripts.evaluate(program, [order, both]))
    oracle = HEALPix(2**order, order="nested")
    expected = oracle.lonlat_to_healpix((phi % (2 * np.pi)) * u.rad, np.arcsin(z) * u.rad)
    inside = np.arange(len(z)) >= 7  # a direction on an edge may belong to either side
    assert (found[inside] == expected[inside]).mean() > 0.999
    centres = scripts.evaluate("([order, list]) => list.map((one) => pixelCentre(order, one))", [order, found.tolist()])
    lon, lat = oracle.healpix_to_lonlat(found)
    np.testing.assert_allclose([one["z"] for one in centres], np.sin(lat.rad), atol=1e-12)
    turned = np.exp(1j * np.array([one["phi"] for one in centres])) - np.exp(1j * lon.rad)
    np.testing.assert_allclose(np.abs(turned), 0, atol=1e-7)


@pytest.mark.parametrize("whole", [True, False])
def test_projection_and_its_inverse_agree(scripts: Page, whole: bool) -> None:
    program = """([whole, list]) => {
        const view = new View(80, 35, 60, whole);
        view.resize(800, 500);
        return list.map(([ra, dec]) => view.invert(...view.project(ra, dec)));
    }"""
    draw = np.random.default_rng(2)
    ra = draw.uniform(30, 130, 500)
    dec = draw.uniform(-15, 85, 500)
    found = scripts.evaluate(program, [whole, np.stack([ra, dec], axis=1).tolist()])
    np.testing.assert_allclose([one["z"] for one in found], np.sin(np.radians(dec)), atol=1e-7)
    turned = np.exp(1j * np.array([one["phi"] for one in found])) - np.exp(1j * np.radians(ra))
    np.testing.assert_allclose(np.abs(turned), 0, atol=1e-5)


def test_zooming_keeps_the_direction_under_the_pointer(scripts: Page) -> None:
    program = """() => {
        const view = new View(10, -60, 30, false);
        view.resize(800, 500);
        const before = view.invert(200, 120);
        view.zoom(0.8, [200, 120]);
        return [before, view.invert(200, 120), view.radius];
    }"""
    before, after, radius = scripts.evaluate(program)
    assert radius == 24
    assert abs(before["z"] - after["z"]) < 1e-3
    assert abs(before["phi"] - after["phi"]) < 1e-3


def test_galactic_plane_is_that_of_astropy(scripts: Page) -> None:
    longitudes = list(range(0, 360, 5))
    found = np.array(scripts.evaluate("(list) => list.map((l) => galacticToEquatorial(l, 0))", longitudes))
    expected = SkyCoord(l=longitudes * u.deg, b=np.zeros(len(longitudes)) * u.deg, frame="galactic").icrs
    separation = SkyCoord(*found.T * u.deg).separation(expected)
    assert separation.max() < 1 * u.arcsec


def test_replay_has_a_coarse_pixel_that_finer_ones_replace(scripts: Page) -> None:
    program = """() => {
        const rounds = { row: [0, 1, 2], time: [1, 2, 3], rise: [-2, null, 0] };
        const levels = [{ nside: 1, nested: [4, 5], rise: [-2, null] }, { nside: 2, nested: [0], rise: [0] }];
        const replay = new Replay({ levels, history: { rounds } });
        return [0, 1, 2, 3].map((time) => {
            replay.seek(time);
            return [[0, 1, 2].map((row) => replay.has(row)), replay.best];
        });
    }"""
    assert scripts.evaluate(program) == [
        [[False, False, False], -1],
        [[True, False, False], 0],
        [[True, False, False], 0],
        [[True, False, True], -1],  # the end: the page states the best fit
    ]


def test_replay_forwards_and_backwards_shows_the_same(scripts: Page) -> None:
    program = """() => {
        const rounds = { row: [0, 1, 0, 2, 1], time: [1, 2, 3, 4, 5], rise: [5, null, 2, 7, 0] };
        const levels = [{ nside: 1, nested: [0, 1, 2], rise: [2, 0, 7] }];
        const replay = new Replay({ levels, history: { rounds } });
        const look = (time) => {
            replay.seek(time);
            return [[...replay.rise].map((one) => (one >= 0 ? one : -1)), replay.best];
        };
        const times = [0, 1, 2, 3, 4, 4.9, 5];
        return [times.map(look), times.reverse().map(look).reverse()];
    }"""
    forwards, backwards = scripts.evaluate(program)
    assert forwards == backwards
    assert forwards[0] == [[-1, -1, -1], -1]
    assert forwards[2] == [[5, -1, -1], 0]
    assert forwards[3] == [[2, -1, -1], 0]
    assert forwards[5] == [[2, -1, 7], 0]
    assert forwards[6] == [[2, 0, 7], -1]


@pytest.mark.parametrize("seed", range(8))
def test_replayed_best_fit_follows_the_rule_of_the_scan(scripts: Page, seed: int) -> None:
    """Finer pixels often fit worse here than the coarse ones that they cover, and some fail."""
    rng = np.random.default_rng(seed)
    pixels, llh = [Pixel(1, index) for index in range(12)], {}
    for nside in (1, 2):
        parents = [one for one in pixels if one.nside == nside and rng.random() < 0.5]
        pixels += [child for parent in parents for child in children(parent, 2 * nside)]
    pixels.sort()
    values = [None if rng.random() < 0.05 else int(rng.integers(0, 9)) + 10 * pixel.nside for pixel in pixels]
    order = rng.permutation(len(pixels)).tolist()
    levels = [
        {
            "nside": nside,
            "nested": [int(ring_to_nested(nside, np.array(one.index))) for one in pixels if one.nside == nside],
            "rise": [value for one, value in zip(pixels, values, strict=True) if one.nside == nside],
        }
        for nside in (1, 2, 4)
    ]
    program = """([levels, order, rise]) => {
        const rounds = { row: order, time: order.map((_, i) => i + 1), rise: order.map((row) => rise[row]) };
        const replay = new Replay({ levels, history: { rounds } });
        const look = (time) => { replay.seek(time); return replay.best; };
        const times = order.map((_, i) => i + 0.5);
        return [times.map(look), times.reverse().map(look).reverse()];
    }"""
    forwards, backwards = scripts.evaluate(program, [levels, order, values])
    for step, row in enumerate(forwards):
        best = best_pixel([1, 2, 4], llh)
        assert row == (-1 if best is None else pixels.index(best)), step
        llh[pixels[order[step]]] = math.nan if values[order[step]] is None else float(values[order[step]])
    assert backwards == forwards


def test_star_is_at_the_stated_best_fit_unless_replayed(scripts: Page) -> None:
    """A live page may have got lower fits than the one that its server has stated."""
    program = """() => {
        const level = { nside: 1, nested: [4, 5], rise: [0.5, -0.1] };
        const rounds = { row: [0, 1], time: [1, 2], rise: [0.5, -0.1] };
        const data = { levels: [level], history: { rounds }, best: { ra: 12, dec: 34 } };
        const replay = new Replay(data);
        const model = { data, replay, rows: (index) => ({ level, index }) };
        return [2, 0, 1].map((time) => {
            replay.seek(time);
            return bestDirection(model);
        });
    }"""
    stated, nothing, replayed = scripts.evaluate(program)
    assert stated == [12, 34]
    assert nothing is None
    assert replayed == pytest.approx([0, 0])  # the centre of pixel 4 of nside 1


@pytest.mark.parametrize("dec", [0, 60, 86, -88])
def test_line_around_the_sky_is_broken_at_the_edge(scripts: Page, dec: int) -> None:
    """A circle of one declination crosses the edge of the whole sky once, however near the pole it is."""
    program = """(dec) => {
        const view = new View(200, 0, 60, true);
        view.resize(800, 500);
        const moves = [];
        const context = { beginPath() {}, stroke() {}, lineTo() {}, moveTo: (x) => moves.push(x) };
        const line = [];
        for (let ra = 0; ra <= 360; ra += 5) line.push(ra, dec);
        drawPath(context, view, line);
        return moves.length;
    }"""
    assert scripts.evaluate(program, dec) == 2
