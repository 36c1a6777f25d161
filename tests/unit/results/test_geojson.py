"""GeoJSON as RFC 7946 has it, read by shapely: valid, right-handed and of the right area anywhere on the sky."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Point, shape

from skymap_scanner.results import IC160427A, ScanResult
from skymap_scanner.results.contours import contours
from skymap_scanner.results.geojson import to_geojson
from skymap_scanner.results.skymap import multi_order_map

PLACES = [
    pytest.param(138.65, 0.15, 0.3, id="track"),
    pytest.param(0.01, 10.0, 0.3, id="over RA 0"),
    pytest.param(180.0, 0.0, 0.3, id="over the antimeridian"),
    pytest.param(179.99, -45.0, 2.3, id="beside the antimeridian"),
    pytest.param(45.0, 89.9, 0.3, id="over the north pole"),
    pytest.param(200.0, -89.99, 0.5, id="over the south pole"),
    pytest.param(180.0, 60.0, 25.0, id="over pole and antimeridian"),
    pytest.param(83.6, 22.0, 80.0, id="most of the sky"),
    pytest.param(10.0, 20.0, 1000.0, id="the whole sky"),
]


def read(result, rule=None):
    """Return the features of a result, their shapes, and its regions."""
    skymap = multi_order_map(result, rule) if rule else multi_order_map(result)
    regions = contours(skymap)
    content = json.loads(json.dumps(to_geojson(result, skymap, regions), allow_nan=False))
    return content, [shape(feature["geometry"]) for feature in content["features"]], regions


def area_on_the_sphere(polygons: MultiPolygon) -> float:
    """Area (deg2): the integral of -sin(dec) over right ascension around all rings."""
    total = 0.0
    for polygon in polygons.geoms:
        for ring in (polygon.exterior, *polygon.interiors):
            ra, dec = np.radians(ring.coords).T
            total -= np.sum(np.diff(ra) * np.sin((dec[1:] + dec[:-1]) / 2))
    return total * (180 / np.pi) ** 2


def check(result, rule=None) -> None:
    _, shapes, regions = read(result, rule)
    rng = np.random.default_rng(4)
    directions = [*zip(rng.uniform(-180, 180, 20), np.degrees(np.arcsin(rng.uniform(-1, 1, 20))), strict=True)]
    *areas, best = shapes
    for found in areas[len(regions) :]:  # the interpolated minimum and its ellipses
        assert found.is_valid
        assert found.geom_type == "Point" or all(polygon.exterior.is_ccw for polygon in found.geoms)
    for found, region in zip(areas[: len(regions)], regions, strict=True):
        assert found.is_valid
        assert all(-180 <= value <= 180 for value in found.bounds)
        assert all(polygon.exterior.is_ccw for polygon in found.geoms)
        assert not any(ring.is_ccw for polygon in found.geoms for ring in polygon.interiors)
        assert area_on_the_sphere(found) == pytest.approx(region.area, rel=1e-3)
        assert found.covers(best)
        for ra, dec in [] if region.open else directions:  # `contains` ends before the edge of the scanned sky
            assert found.contains(Point(ra, dec)) == region.contains(ra, dec)


@pytest.mark.parametrize(("ra", "dec", "sigma"), PLACES)
def test_regions_are_valid_polygons_anywhere_on_the_sky(scan, bowl, ra, dec, sigma):
    check(scan(bowl(ra, dec, sigma)))


@given(ra=st.floats(0, 360), sine=st.floats(-1, 1), logarithm=st.floats(-1, 2))
@settings(max_examples=10, deadline=None)
def test_region_of_any_bowl_is_a_valid_polygon(scan, bowl, ra, sine, logarithm):
    check(scan(bowl(ra, np.degrees(np.arcsin(sine)), 10**logarithm), ((8, 0), (64, 12))))


@pytest.mark.parametrize("step", [1, 3])
def test_islands_and_holes_become_polygons_and_rings(level, metadata, step):
    """Random values: islands, islands in holes, and with every third pixel alone open regions."""
    values = np.random.default_rng(8).uniform(0, 12, 768)
    rows = level(8, range(0, 768, step), lambda *_: values[::step])
    result = ScanResult({8: rows}, metadata({8: rows}))
    check(result)
    _, shapes, regions = read(result)
    assert len(shapes[0].geoms) > 20
    assert any(polygon.interiors for polygon in shapes[2].geoms) == (step == 1)
    assert [region.open for region in regions] == [step == 3] * 3


def test_every_region_and_the_best_fit_are_features(track):
    content, shapes, regions = read(track, IC160427A)
    skymap = multi_order_map(track, IC160427A)
    assert content["type"] == "FeatureCollection"
    assert content["rule"] == {
        "name": "ic160427a",
        "statement": IC160427A.statement,
        "source": IC160427A.source,
    }
    *features, best = content["features"]
    features, minimum = features[: len(regions)], features[len(regions) :]
    names = ["50% error ellipse", "90% error ellipse", "interpolated minimum"]
    assert [feature["properties"]["name"] for feature in minimum] == names
    for feature, region in zip(features, regions, strict=True):
        found = feature["properties"]
        assert feature["geometry"]["type"] == "MultiPolygon"
        assert (found["credible_level"], found["rule"]) == (region.credible_level, region.rule)
        assert found["two_delta_llh"] == region.threshold
        assert found["area_deg2"] == pytest.approx(region.area, rel=0.005)
        assert (found["run_id"], found["event_id"], found["event_name"]) == (138632, 31747601, "IC231202A")
        assert found["event_time"] == "2023-12-02T17:08:24.093Z"
    assert features[0]["properties"]["rule_statement"] == IC160427A.statement
    assert features[-1]["properties"]["rule_statement"].startswith("Contours by Wilks' theorem")
    assert best["properties"]["llh"] == skymap.best.llh
    assert (shapes[-1].x % 360, shapes[-1].y) == pytest.approx((skymap.best.ra, skymap.best.dec))
