"""Regions as GeoJSON (RFC 7946): right ascension from -180 to 180 deg as longitude, declination as latitude.

A region is a MultiPolygon in the plane of both, cut at right ascension 180 deg and closed along the edge of the plane
over a pole. Its outer rings run counter-clockwise. Every feature has the event, the rule and the best fit in its
properties, since most readers keep nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from skymap_scanner.healpix import Floats
from skymap_scanner.results.contours import Contour
from skymap_scanner.results.directions import radec_to_vector, rounded_longitude
from skymap_scanner.results.fits_files import mjd_to_iso
from skymap_scanner.results.minimum import NoMinimum, fit_minimum
from skymap_scanner.results.result import ScanResult
from skymap_scanner.results.rule import WILKS, percent
from skymap_scanner.results.skymap import MultiOrderMap

#: Decimals of a position (deg): finer than the smallest piece of a contour, so that rings stay simple.
DECIMALS = 8
#: A vertex exactly at the cut is moved by this (deg) to the east, so that it lies on one side.
ASIDE = 1e-7
#: Corners of the plane, and how far along its edge they are (deg), counter-clockwise from the south-east.
CORNERS = ((180.0, (180.0, 90.0)), (540.0, (-180.0, 90.0)), (720.0, (-180.0, -90.0)), (1080.0, (180.0, -90.0)))
AROUND = CORNERS[-1][0]
WHOLE_SKY = np.array([(-180.0, -90.0), (180.0, -90.0), (180.0, 90.0), (-180.0, 90.0), (-180.0, -90.0)])


def to_geojson(result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour]) -> dict[str, Any]:
    """Make a FeatureCollection: a MultiPolygon for each region, and a Point for the best fit, which is the last one.

    Between them are the interpolated minimum, a Point, and its error ellipses, if there are any.

    The map's rule is a further member of the collection, as RFC 7946 (6.1) allows.
    """
    rule, best = skymap.rule, skymap.best
    common = {
        "run_id": result.metadata.run_id,
        "event_id": result.metadata.event_id,
        "event_name": result.metadata.name,
        "event_time": f"{time}Z" if (time := mjd_to_iso(result.metadata.mjd)) else None,
        "ra": rounded_longitude(best.ra, 6),
        "dec": round(best.dec, 6),
        "galactic_longitude": rounded_longitude(best.galactic[0], 4),
        "galactic_latitude": round(best.galactic[1], 4),
    }
    point = {"type": "Point", "coordinates": [_longitude(best.ra), best.dec]}
    about = {
        "name": "best fit",
        "at_edge": skymap.best_at_edge,
        "llh": best.llh,
        "nside": best.nside,
        "pixel": best.index,
        "rule": rule.name,
    }
    return {
        "type": "FeatureCollection",
        "rule": {"name": rule.name, "statement": rule.statement, "source": rule.source},
        "features": [
            *(_feature(common | _about(skymap, region), _geometry(region)) for region in regions),
            *(_feature(common | about, geometry) for about, geometry in _minimum(skymap, regions)),
            _feature(common | about, point),
        ],
    }


def polygons(lines: Sequence[Floats], contains: Callable[[float, float], bool]) -> list[list[Floats]]:
    """Return the polygons of a region, each as its outer ring and its holes; rings are closed, (k, 2), deg.

    ``lines``: closed, (k, 2), right ascension and declination, the region on their left. ``contains`` says whether a
    direction (deg) is in the region.
    """
    rings: list[Floats] = []
    pieces: list[Floats] = []
    for line in lines:
        parts = _cut(line)
        (pieces if parts else rings).extend(parts or [_plane(line)])
    rings += _join(pieces)
    if not pieces and contains(180.0, 0.0):
        rings.append(WHOLE_SKY)
    areas = [_signed_area(ring) for ring in rings]
    found = {number: [rings[number]] for number in np.argsort(areas) if areas[number] > 0}  # the smallest first
    for ring, area in zip(rings, areas, strict=True):
        outer = next((number for number in found if area < 0 and _is_inside(ring[0], rings[number])), None)
        if outer is not None:
            found[outer].append(ring)
    return [*found.values()]


def _feature(properties: dict[str, Any], geometry: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def _about(skymap: MultiOrderMap, region: Contour) -> dict[str, Any]:
    """Return the properties of a region."""
    rule = skymap.rule if region.rule == skymap.rule.name else WILKS
    return {
        "name": percent(region.credible_level),
        "credible_level": region.credible_level,
        "rule": region.rule,
        "rule_statement": rule.statement,
        "two_delta_llh": region.threshold,
        "area_deg2": float(f"{region.area:.3g}"),
        "open": region.open,
    }


def _minimum(skymap: MultiOrderMap, regions: Sequence[Contour]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield properties and geometry of the interpolated minimum and its error ellipses."""
    minimum = fit_minimum(skymap, regions)
    if isinstance(minimum, NoMinimum):
        return
    place = {
        "minimum_ra": rounded_longitude(minimum.ra, 6),
        "minimum_dec": round(minimum.dec, 6),
        "rule": skymap.rule.name,
    }
    for level, ellipse in sorted(minimum.ellipses.items()):
        about = {
            "name": f"{percent(level)} error ellipse",
            "ellipse_level": level,
            "semi_major": round(ellipse.semi_major, 6),
            "semi_minor": round(ellipse.semi_minor, 6),
            "position_angle": round(ellipse.position_angle, 3) % 180.0,
        }
        yield place | about, _multi_polygon([minimum.line(level)], partial(minimum.contains, level))
    point = {"type": "Point", "coordinates": [round(_longitude(minimum.ra), DECIMALS), round(minimum.dec, DECIMALS)]}
    yield place | {"name": "interpolated minimum", "llh": round(skymap.best.llh - minimum.below, 6)}, point


def _geometry(region: Contour) -> dict[str, Any]:
    """Return the MultiPolygon of a region."""
    return _multi_polygon(region.lines, region.contains)


def _multi_polygon(lines: Sequence[Floats], contains: Callable[[float, float], bool]) -> dict[str, Any]:
    coordinates = [[np.round(ring, DECIMALS).tolist() for ring in polygon] for polygon in polygons(lines, contains)]
    return {"type": "MultiPolygon", "coordinates": coordinates}


def _longitude(ra: float) -> float:
    """Return a right ascension (deg) from -180 to 180."""
    return (ra + 180.0) % 360.0 - 180.0


def _plane(line: Floats) -> Floats:
    """Return a line with right ascension from -180 to 180 deg, nowhere exactly at the cut."""
    longitude = (line[:, 0] + 180.0) % 360.0 - 180.0
    return np.stack([np.where(longitude == -180.0, longitude + ASIDE, longitude), line[:, 1]], axis=1)


def _cut(line: Floats) -> list[Floats]:
    """Cut a closed line at the antimeridian into pieces from edge to edge; none if it does not cross."""
    line = _plane(line)
    crossings = np.flatnonzero(np.abs(np.diff(line[:, 0])) > 180.0)
    if not len(crossings):
        return []
    vectors = radec_to_vector(line[:, 0], line[:, 1])
    before, after = vectors[crossings], vectors[crossings + 1]
    part = (before[:, 1] / (before[:, 1] - after[:, 1]))[:, None]
    points = before + part * (after - before)  # where the great circle meets the plane of the meridian
    heights = np.degrees(np.arctan2(points[:, 2], np.abs(points[:, 0])))
    sides = np.copysign(180.0, line[crossings, 0])
    ring = np.concatenate([line[crossings[0] + 1 : -1], line[: crossings[0] + 1]])  # begins after the first crossing
    stops = np.append(crossings[1:], crossings[0] + len(line) - 1) - crossings[0]
    starts = np.concatenate([[0], stops[:-1]])
    pieces = []
    for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        last = (number + 1) % len(crossings)
        first_point, last_point = (-sides[number], heights[number]), (sides[last], heights[last])
        pieces.append(np.concatenate([[first_point], ring[start:stop], [last_point]]))
    return pieces


def _join(pieces: Sequence[Floats]) -> list[Floats]:
    """Join pieces from edge to edge to closed rings, along the edge of the plane and counter-clockwise."""
    begins = [_place(piece[0]) for piece in pieces]
    waiting = set(range(len(pieces)))
    rings = []
    while waiting:
        first = current = min(waiting)
        ring: list[Floats] = []
        while current in waiting:
            waiting.remove(current)
            end = _place(pieces[current][-1])
            # A line never ends where it begins: there it would only touch the edge.
            ahead = [(begin - end) % AROUND for begin in begins]
            following = int(np.argmin(ahead))
            corners = sorted(((place - end) % AROUND, corner) for place, corner in CORNERS)
            ring += [pieces[current], *(np.array([corner]) for way, corner in corners if way < ahead[following])]
            current = following
        ring.append(pieces[first][:1])
        rings.append(np.concatenate(ring))
    return rings


def _place(point: Floats) -> float:
    """Return how far along the edge of the plane, counter-clockwise from the south-east, a point of it is (deg)."""
    return float(90.0 + point[1] if point[0] > 0 else 630.0 - point[1])


def _signed_area(ring: Floats) -> float:
    """Return the area of a ring in the plane (deg2), positive if it runs counter-clockwise."""
    x, y = (ring - ring[0]).T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)


def _is_inside(point: Floats, ring: Floats) -> bool:
    """Return whether a point lies in a ring, by the crossings of the line from it to the east."""
    (x0, y0), (x1, y1) = ring[:-1].T, ring[1:].T
    crossed = (y0 > point[1]) != (y1 > point[1])
    height = np.divide(point[1] - y0, y1 - y0, out=np.zeros_like(y0), where=crossed)
    return bool(np.count_nonzero(crossed & (point[0] < x0 + height * (x1 - x0))) % 2)
