"""The event as the page draws it: strings, hit DOMs, and the best fit with its losses, in the detector's frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skymap_scanner.detector.coordinates import equatorial_to_detector, travel_direction
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.reconstruction.protocol import Loss
from skymap_scanner.results.skymap import MultiOrderMap

#: Losses that are drawn; the smallest of more are left out.
MAX_LOSSES = 200


def event_view(event: PreparedEvent, skymap: MultiOrderMap | None, losses: Sequence[Loss]) -> dict[str, Any]:
    """Return positions (m), times (ns) and charges (PE) of all that is drawn.

    ``strings``: (number, x, y) each; ``hits``: (string, om, x, y, z, time of the first pulse, charge) each;
    ``losses``: (x, y, z, time, GeV) each; ``track``: a point of the best fit, and the unit vector along which the
    particle moves.
    """
    return {
        "strings": _strings(event),
        "hits": _hits(event),
        "losses": _losses(losses),
        "track": None if skymap is None else _track(event, skymap),
    }


def _strings(event: PreparedEvent) -> list[list[float]]:
    geometry = event.geometry
    numbers, first = np.unique(geometry.string, return_index=True)
    return [
        [int(number), *np.round(geometry.position[row, :2], 1).tolist()]
        for number, row in zip(numbers, first, strict=True)
    ]


def _hits(event: PreparedEvent) -> list[list[float]]:
    """Return the hit DOMs; those without a place in the geometry are left out."""
    geometry, pulses = event.geometry, event.pulses
    place = {(int(string), int(om)): row for row, (string, om) in enumerate(zip(geometry.string, geometry.om))}  # noqa: B905 - of one length
    doms, first, which = np.unique(
        pulses.string.astype(np.int64) * 1000 + pulses.om, return_index=True, return_inverse=True
    )
    charge = np.bincount(which, weights=pulses.charge, minlength=len(doms))
    found = []
    for dom, row, total in zip(doms.tolist(), first, charge, strict=True):
        key = divmod(dom, 1000)
        if key in place:
            position = np.round(geometry.position[place[key]], 1).tolist()
            found.append([*key, *position, round(float(pulses.time[row])), round(float(total), 2)])
    return found


def _losses(losses: Sequence[Loss]) -> list[list[float]]:
    """Return the largest losses; those without a place, time or energy, which a program may return, are left out."""
    drawn = [one for one in losses if one.energy > 0 and np.isfinite([*one.position, one.time, one.energy]).all()]
    largest = sorted(drawn, key=lambda one: -one.energy)[:MAX_LOSSES]
    return [
        [*(round(x, 1) for x in one.position), round(one.time), float(f"{one.energy:.3g}")]
        for one in sorted(largest, key=lambda one: one.time)
    ]


def _track(event: PreparedEvent, skymap: MultiOrderMap) -> dict[str, Any] | None:
    best = skymap.best
    row = skymap.pixels[(skymap.nside == best.nside) & (skymap.pixels["index"] == best.index)][0]
    position = np.array([row["X"], row["Y"], row["Z"]])
    if not np.isfinite(position).all():
        return None
    zenith, azimuth = equatorial_to_detector(np.radians(best.ra), np.radians(best.dec), event.mjd)
    return {
        "point": np.round(position, 1).tolist(),
        "along": np.round(travel_direction(float(zenith), float(azimuth)), 6).tolist(),
    }
