"""Conversion between IceTray's I3Geometry and the geometry of the reconstructions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.detector.ic86 import OMS, STRINGS, ic86
from skymap_scanner.errors import I3Error
from skymap_scanner.event.lookup import find
from skymap_scanner.i3 import Frame, I3Geometry, I3OMGeoMap, I3Time, OMKey
from skymap_scanner.i3.layouts.geometry_layouts import omgeo_records

KEY = "I3Geometry"

#: The same for every in-ice DOM in IceTray's geometry: oriented down (half a turn about x), OMType IceCube, area in
#: m^2, and PMTType unspecified.
_LOOKING_DOWN = (1.0, 0.0, 0.0, 0.0)
_OM_TYPE_ICECUBE = 20
_AREA = 0.0444
_PMT_TYPE = 0

#: IceCube-86 has been complete since 2011. The end is arbitrary; IceTray cannot print a later one, since it counts
#: seconds in 32 bits.
_VALID_FROM, _VALID_TO = I3Time(2011, 0), I3Time(2038, 0)

#: No DOM is farther than this from the origin of the detector frame (m).
_FARTHEST = 5000.0


def event_geometry(frames: Mapping[str, Frame]) -> Geometry:
    """Return the geometry of an event: its own where its frames hold a complete one, else IceCube-86.

    Realtime events hold only the difference to a baseline (I3GeometryDiff), and no in-ice DOM ever moved in one.
    """
    stored = find(frames, KEY, I3Geometry)
    return ic86() if stored is None else geometry_from_i3(stored)


def omkeys(geometry: Geometry) -> list[OMKey]:
    """Return the address of each DOM, in the order of the geometry."""
    return [OMKey(string, om) for string, om in zip(geometry.string.tolist(), geometry.om.tolist(), strict=True)]


def geometry_from_i3(stored: I3Geometry) -> Geometry:
    """Return the in-ice DOMs of an I3Geometry, with IceCube-86's efficiency and noise of the same string and om.

    Raises I3Error when it has no in-ice DOM, one at an impossible place, or one twice.
    """
    doms = stored.omgeo
    in_ice = (doms.string >= 1) & (doms.string <= STRINGS) & (doms.om >= 1) & (doms.om <= OMS) & (doms.pmt == 0)
    if not in_ice.any():
        raise I3Error("has no in-ice DOM (string 1-86, om 1-60)", key=KEY)
    position = doms.position[in_ice]
    if not (np.abs(position) < _FARTHEST).all():
        raise I3Error(f"places an in-ice DOM more than {_FARTHEST:g} m from the origin", key=KEY)
    string, om = doms.string[in_ice].astype(np.int16), doms.om[in_ice].astype(np.int16)
    same = (string.astype(np.intp) - 1) * OMS + om - 1  # its place in ic86()
    order = np.argsort(same)
    repeated = order[1:][np.diff(same[order]) == 0]
    if repeated.size:
        first = repeated[0]
        raise I3Error(f"has the DOM (string {string[first]}, om {om[first]}) more than once", key=KEY)
    return Geometry(
        string=string[order],
        om=om[order],
        position=position[order],
        efficiency=ic86().efficiency[same[order]],
        noise=ic86().noise[same[order]],
    )


def geometry_to_i3(geometry: Geometry) -> I3Geometry:
    """Return an I3Geometry of the in-ice DOMs, for viewers that need more than a difference."""
    rows = [
        (*key, *position, *_LOOKING_DOWN, _OM_TYPE_ICECUBE, _AREA, _PMT_TYPE)
        for key, position in zip(omkeys(geometry), geometry.position.tolist(), strict=True)
    ]
    return I3Geometry(I3OMGeoMap(omgeo_records(rows)), start_time=_VALID_FROM, end_time=_VALID_TO)
