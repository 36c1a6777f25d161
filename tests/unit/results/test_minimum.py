"""The interpolated minimum: exact for paraboloids, and absent, with a reason, for other shapes."""

from __future__ import annotations

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from shapely.geometry import shape as shapely_shape

from skymap_scanner.results import ScanResult
from skymap_scanner.results.contours import contours
from skymap_scanner.results.geojson import to_geojson
from skymap_scanner.results.minimum import Minimum, NoMinimum, fit_minimum
from skymap_scanner.results.rule import WILKS
from skymap_scanner.results.skymap import multi_order_map
from skymap_scanner.results.summary import summary_json, summary_text


def paraboloid(ra0, dec0, major, minor, angle):
    """Return 2 delta ln L with these axes (deg, 1 sigma), in angles by astropy."""
    center = SkyCoord(ra0, dec0, unit="deg")

    def surface(ra, dec):
        places = SkyCoord(ra, dec, unit="deg")
        distance = center.separation(places).deg
        turn = center.position_angle(places).rad - np.radians(angle)
        return (distance * np.cos(turn) / major) ** 2 + (distance * np.sin(turn) / minor) ** 2

    return surface


def minimum_of(result: ScanResult, rule=WILKS) -> Minimum | NoMinimum:
    skymap = multi_order_map(result, rule)
    return fit_minimum(skymap, contours(skymap))


PLACES = [
    (138.65, 0.15, 0.5, 0.2, 30.0),
    (0.02, -35.0, 0.5, 0.3, 140.0),
    (359.99, 60.0, 0.4, 0.2, 91.0),
    (40.0, 89.9, 0.6, 0.3, 10.0),
    (200.0, -89.97, 0.6, 0.3, 77.0),
    (10.0, 5.0, 3.0, 2.0, 170.0),
]


@pytest.mark.parametrize("place", PLACES)
def test_minimum_and_ellipse_of_a_paraboloid_are_exact(scan, place):
    ra, dec, major, minor, angle = place
    found = minimum_of(scan(paraboloid(*place)))
    assert SkyCoord(found.ra, found.dec, unit="deg").separation(SkyCoord(ra, dec, unit="deg")).deg < 1e-8
    for level, threshold in WILKS.levels.items():
        ellipse = found.ellipses[level]
        assert ellipse.semi_major == pytest.approx(major * threshold**0.5, rel=1e-8)
        assert ellipse.semi_minor == pytest.approx(minor * threshold**0.5, rel=1e-8)
        assert ellipse.position_angle == pytest.approx(angle, abs=1e-6)
    values, vectors = np.linalg.eigh(found.covariance)
    assert values == pytest.approx([minor**2, major**2], rel=1e-8)
    assert abs(vectors[:, 1] @ [np.sin(np.radians(angle)), np.cos(np.radians(angle))]) == pytest.approx(1, abs=1e-8)


def test_minimum_at_the_pole_is_found(scan):
    found = minimum_of(scan(paraboloid(17.0, 90.0, 0.5, 0.2, 45.0)))
    assert found.dec == pytest.approx(90, abs=1e-6)
    assert found.ellipses[0.9].semi_major == pytest.approx(0.5 * 4.61**0.5, rel=1e-8)
    # Turned by as much as the meridian that the angle counts from.
    assert (found.ellipses[0.9].position_angle - found.ra) % 180 == pytest.approx(45.0 - 17.0, abs=1e-6)


@pytest.mark.parametrize("place", PLACES)
def test_ellipse_has_area_and_probability_of_the_contour(scan, place):
    result = scan(paraboloid(*place))
    skymap = multi_order_map(result)
    regions = contours(skymap)
    found, ninety = fit_minimum(skymap, regions), regions[1]
    assert found.ellipses[0.9].area == pytest.approx(ninety.area, rel=0.02)
    probability = skymap.density * skymap.area
    pixels = np.flatnonzero((skymap.owner >= 0) & (probability > 1e-7))
    rows = skymap.owner[pixels]
    held = [found.contains(0.9, ra, dec) for ra, dec in zip(skymap.ra[rows], skymap.dec[rows], strict=True)]
    assert probability[pixels][held].sum() == pytest.approx(0.9, abs=0.02)


def test_ellipse_line_has_the_axes_of_the_ellipse(scan):
    found = minimum_of(scan(paraboloid(*PLACES[1])))
    line, ellipse = found.line(0.9), found.ellipses[0.9]
    center, points = SkyCoord(found.ra, found.dec, unit="deg"), SkyCoord(*line.T, unit="deg")
    distance = center.separation(points)
    assert distance.max().deg == pytest.approx(ellipse.semi_major, rel=1e-9)
    assert distance.min().deg == pytest.approx(ellipse.semi_minor, rel=1e-9)
    farthest = center.position_angle(points[np.argmax(distance)])
    assert farthest.deg % 180 == pytest.approx(ellipse.position_angle, abs=1e-6)
    turns = np.unwrap(center.position_angle(points).rad)
    assert turns[-1] - turns[0] == pytest.approx(-2 * np.pi), "counter-clockwise as seen from outside"
    inside = center.directional_offset_by(farthest, 0.99 * ellipse.semi_major * u.deg)
    outside = center.directional_offset_by(farthest, 1.01 * ellipse.semi_major * u.deg)
    assert found.contains(0.9, inside.ra.deg, inside.dec.deg)
    assert not found.contains(0.9, outside.ra.deg, outside.dec.deg)


def test_noise_moves_the_minimum_only_slightly(scan):
    random = np.random.default_rng(2)
    smooth = paraboloid(138.65, 0.15, 0.5, 0.3, 30.0)
    found = minimum_of(scan(lambda ra, dec: smooth(ra, dec) + random.normal(0, 0.2, len(ra))))
    assert SkyCoord(found.ra, found.dec, unit="deg").separation(SkyCoord(138.65, 0.15, unit="deg")).deg < 0.05
    assert found.ellipses[0.9].semi_major == pytest.approx(0.5 * 4.61**0.5, rel=0.1)
    assert 0 < found.unexplained < 0.1


def test_calibrated_rule_widens_ellipse_and_covariance(scan, calibrated):
    result = scan(paraboloid(*PLACES[0]))
    narrow, wide = minimum_of(result), minimum_of(result, calibrated)
    assert wide.ellipses[0.9].semi_major == pytest.approx(0.5 * 8.0**0.5, rel=1e-8)
    assert wide.covariance == pytest.approx(narrow.covariance * 8.0 / 4.61, rel=1e-6)


def ridge(ra, dec):
    return (dec - 10.0) ** 2 + 0 * ra


def two_wells(ra, dec):
    first = paraboloid(100.0, 0.0, 1.0, 1.0, 0.0)(ra, dec)
    return np.minimum(first, paraboloid(108.0, 0.0, 1.0, 1.0, 0.0)(ra, dec) + 0.3)


@pytest.mark.parametrize(
    ("surface", "plan", "reason"),
    [
        (two_wells, ((64, 0),), "quadratic|outside|rise"),
        (ridge, ((16, 0),), "rise|outside|quadratic|longer"),
        (paraboloid(200.0, 30.0, 60.0, 60.0, 0.0), ((8, 0),), "longer|quadratic"),
        (lambda ra, dec: 0 * (ra + dec), ((8, 0),), "rise|quadratic"),
    ],
    ids=["two parts", "ridge", "too large", "flat"],
)
def test_other_shapes_give_a_reason_instead_of_a_minimum(scan, surface, plan, reason):
    found = minimum_of(scan(surface, plan))
    assert isinstance(found, NoMinimum)
    assert any(word in found.reason for word in reason.split("|"))


def test_open_region_and_edge_have_no_minimum(scan, partial, separation, metadata):
    assert "edge" in minimum_of(partial).reason
    whole = scan(paraboloid(187.5, 0.0, 2.0, 2.0, 0.0), ((32, 0),))
    pixels = multi_order_map(whole)
    rows = whole.levels[32][separation(pixels.ra, pixels.dec, 187.5, 0.0) < 4.2]
    assert minimum_of(ScanResult({32: rows}, metadata({32: rows}))).reason == "the 90% region is open"


def test_too_few_pixels_have_no_minimum(scan, metadata):
    rows = scan(paraboloid(187.5, 0.0, 2.0, 2.0, 0.0), ((1, 0),)).levels[1]
    found = minimum_of(ScanResult({1: rows}, metadata({1: rows})))
    assert isinstance(found, NoMinimum)
    assert "pixels are around the best fit" in found.reason


def test_summary_and_geojson_state_the_minimum(scan, partial):
    result = scan(paraboloid(*PLACES[1]))
    skymap = multi_order_map(result)
    regions = contours(skymap)
    text = summary_text(result, skymap, regions)
    assert "Interpolated minimum: RA 0.02, Dec -35.00 deg J2000 (l = " in text
    assert "90% error ellipse around it: semi-axes 1.07 and 0.644 deg, position angle 140 deg east of north" in text
    content = json.loads(summary_json(result, skymap, regions))["interpolated_minimum"]
    assert (content["ra"], content["dec"]) == pytest.approx((0.02, -35.0), abs=1e-6)
    assert content["llh"] == pytest.approx(1000.0, abs=1e-9)
    assert [ellipse["credible_level"] for ellipse in content["ellipses"]] == [0.5, 0.9, 0.9973]
    features = to_geojson(result, skymap, regions)["features"]
    (ellipse,) = (one for one in features if one["properties"]["name"] == "90% error ellipse")
    polygon = shapely_shape(ellipse["geometry"])
    assert polygon.is_valid
    plane = content["ellipses"][1]["area_deg2"] / np.cos(np.radians(35.0))  # of right ascension and declination
    assert polygon.area == pytest.approx(plane, rel=0.01)


def test_absent_minimum_is_explained_in_the_summary(partial):
    skymap = multi_order_map(partial)
    regions = contours(skymap)
    assert "Interpolated minimum: none, the best fit is at the edge" in summary_text(partial, skymap, regions)
    content = json.loads(summary_json(partial, skymap, regions))
    assert content["interpolated_minimum"] is None
    assert content["no_interpolated_minimum"].startswith("the best fit is at the edge")


@pytest.mark.parametrize(
    "place", [(138.65, 0.15, 0.5, 0.2, 30.0), (40.0, 20.0, 0.5, 0.3, 0.0), (10.0, 5.0, 3.0, 2.0, 90.0)]
)
def test_rounding_errors_do_not_change_the_output(scan, place, monkeypatch):
    result = scan(paraboloid(*place))
    skymap = multi_order_map(result)
    regions = contours(skymap)

    def written():
        return summary_json(result, skymap, regions), json.dumps(to_geojson(result, skymap, regions))

    here, solve = written(), np.linalg.lstsq
    chance = np.random.default_rng(3)

    def elsewhere(*arguments, **options):
        found, *rest = solve(*arguments, **options)
        return found * (1 + 1e-14 * chance.uniform(-1, 1, found.shape)), *rest

    monkeypatch.setattr(np.linalg, "lstsq", elsewhere)
    assert written() == here
