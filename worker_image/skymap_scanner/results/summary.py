"""The summary of a result, as text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from skymap_scanner.event.model import OnlineDirection
from skymap_scanner.healpix import pixel_width
from skymap_scanner.results.cautions import cautions
from skymap_scanner.results.contours import Contour, of_rule
from skymap_scanner.results.directions import rounded_longitude, separation
from skymap_scanner.results.fits_files import alert_stream, mjd_to_iso
from skymap_scanner.results.minimum import Minimum, NoMinimum, fit_minimum
from skymap_scanner.results.result import ScanMetadata, ScanResult
from skymap_scanner.results.rule import WILKS, percent
from skymap_scanner.results.skymap import BestFit, MultiOrderMap

#: Number of failed pixels that the text lists; further ones are only counted.
NAMED_FAILURES = 10
#: Frame and units of the summary as JSON; the keys ``ra``, ``dec`` and those of errors are angles.
FRAME = "ICRS (J2000)"
UNITS = {"angle": "deg", "area": "deg2", "energy": "GeV", "llh": "-ln L", "mjd": "d (UTC)", "wall_time": "s"}
#: What GCN calls the selections of alerts, by their streams, and the topologies.
PIPELINES = {
    "ICECUBE_ASTROTRACK_GOLD": "Gold Track Alert",
    "ICECUBE_ASTROTRACK_BRONZE": "Bronze Track Alert",
    "ICECUBE_CASCADE": "Cascade Alert",
}
TOPOLOGIES = {"track": "Track", "cascade": "Shower"}
#: What the summary gives where nothing was fitted, by the keys that a map fills.
NO_MAP: dict[str, Any] = {
    "best_fit": None,
    "interpolated_minimum": None,
    "no_interpolated_minimum": None,
    "online_direction": None,
    "cautions": [],
    "notice": None,
    "rule": None,
    "rule_statement": None,
    "rule_source": None,
    "regions": [],
    "statistical_regions": [],
}
#: A region with fewer pixel centres inside is mostly interpolation.
RESOLVED = 5


def summary_text(result: ScanResult, skymap: MultiOrderMap | None, regions: Sequence[Contour]) -> str:
    """Return the summary as text; ``skymap`` is None where nothing was fitted."""
    metadata = result.metadata
    lines = [
        f"Event: {event_name(metadata)}",
        f"Time: {mjd_to_iso(metadata.mjd)} UTC (MJD {metadata.mjd:.8f})",
        f"Type: {metadata.event_type}{'' if metadata.is_real_event else ' (simulated)'}",
    ]
    lines += [f"CAUTION: {caution}" for caution in (metadata.choice, metadata.caution) if caution]
    if metadata.reconstruction:
        lines.append(f"Reconstruction: {metadata.reconstruction}")
    if metadata.topology:
        lines.append(f"Topology of the best fit: {metadata.topology}")
    lines.append(f"Pixels: {_pixels_text(result)}")
    lines.append(f"Failed pixels: {_failures_text(result)}")
    if metadata.wall_time is not None:
        lines.append(f"Wall time: {metadata.wall_time:.0f} s")
    lines.append("")
    if skymap is None:
        lines.append("No pixel has a fit: there is no direction to give.")
        return "\n".join(lines) + "\n"
    best = skymap.best
    lines += [
        f"Best fit: pixel {best.index} of nside {best.nside}, -ln L = {best.llh:.2f}",
        f"Galactic coordinates: {galactic_text(best.galactic)}",
        *([] if metadata.online is None else [online_text(metadata.online, best)]),
        *_energy_lines(best),
        *(f"CAUTION: {caution}" for caution in cautions(skymap)),
    ]
    quoted = of_rule(regions, skymap.rule)
    for region in quoted:
        direction = direction_lines(best, region) if region.credible_level in (0.5, 0.9) else []
        lines += ["", *direction, _area_line(region)]
    lines += ["", *_minimum_lines(fit_minimum(skymap, regions))]
    lines += ["", skymap.rule.statement, f"Thresholds: {skymap.rule.source}"]
    if skymap.rule.name != WILKS.name:
        lines += ["", WILKS.statement, *map(_area_line, of_rule(regions, WILKS))]
    if any(region.pixels < RESOLVED for region in quoted if region.credible_level == 0.9):
        width = np.degrees(pixel_width(best.nside))
        lines += [
            "",
            f"CAUTION: the 90% region is hardly larger than its pixels ({width:.2g} deg wide):",
            "scan a finer level before the errors above are quoted.",
        ]
    if not result.complete:
        lines += ["", "The scan is not complete: everything above may still change."]
    return "\n".join(lines) + "\n"


def online_text(online: OnlineDirection, best: BestFit) -> str:
    """Return the online direction in a sentence, with its distance from the best fit."""
    radius = online.radius_90
    error = "without an error" if radius is None else f"90% within {radius:.2f} deg, statistical only"
    away = separation((online.ra, online.dec), (best.ra, best.dec))
    return (
        f"Online direction: RA {online.ra:.2f}, Dec {online.dec:.2f} deg J2000 ({online.name}, {error}), "
        f"{away:.2f} deg from the best fit"
    )


def summary_json(result: ScanResult, skymap: MultiOrderMap | None, regions: Sequence[Contour]) -> bytes:
    """Return the summary as JSON, with its frame and units; ``skymap`` is None where nothing was fitted."""
    content = {"frame": FRAME, "units": UNITS, **_scan_json(result), **NO_MAP}
    if skymap is not None:
        content |= _map_json(result, skymap, regions)
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _scan_json(result: ScanResult) -> dict[str, Any]:
    """Return what is known of the event and the scan without a map."""
    metadata = result.metadata
    return {
        "run_id": metadata.run_id,
        "event_id": metadata.event_id,
        "sub_event_id": metadata.sub_event_id,
        "sub_event_stream": metadata.sub_event_stream,
        "choice": metadata.choice,
        "caution": metadata.caution,
        "event_type": metadata.event_type,
        "name": metadata.name,
        "mjd": metadata.mjd,
        "time": f"{time}Z" if (time := mjd_to_iso(metadata.mjd)) else None,
        "is_real_event": metadata.is_real_event,
        "reconstruction": metadata.reconstruction,
        "likelihood": metadata.likelihood,
        "topology": metadata.topology,
        "scanner_version": metadata.scanner_version,
        "wall_time": metadata.wall_time,
        "complete": result.complete,
        "levels": [
            {
                "nside": nside,
                "scanned": len(result.levels.get(nside, ())),
                "planned": metadata.plan.get(nside),
                "failed": result.failed.get(nside, []),
            }
            for nside in result.nsides
        ],
    }


def _map_json(result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour]) -> dict[str, Any]:
    """Return the values of the keys of `NO_MAP` for a map."""
    return {
        "best_fit": _best_fit_json(skymap.best) | {"at_edge": skymap.best_at_edge},
        **_minimum_json(skymap, fit_minimum(skymap, regions)),
        "online_direction": _online_json(result.metadata.online, skymap.best),
        "cautions": cautions(skymap),
        "notice": notice_fields(result, skymap, regions),
        "rule": skymap.rule.name,
        "rule_statement": skymap.rule.statement,
        "rule_source": skymap.rule.source,
        "regions": [_region_json(region) for region in of_rule(regions, skymap.rule)],
        "statistical_regions": [_region_json(region) for region in of_rule(regions, WILKS)],
    }


def notice_fields(result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour]) -> dict[str, Any]:
    """Return what is known of the notice ``gcn/notices/icecube/single_neutrino_alerts``, by its keys.

    The error is the radius of a circle with the area of the 90 % region.
    """
    best = skymap.best
    quoted = next(region for region in of_rule(regions, skymap.rule) if region.credible_level == 0.9)
    solid_angle = quoted.area * np.radians(1) ** 2
    return event_fields(result.metadata) | {
        "ra": rounded_longitude(best.ra, 4),
        "dec": round(best.dec, 4),
        "ra_dec_error": round(float(np.degrees(np.arccos(1 - min(solid_angle / (2 * np.pi), 2.0)))), 4),
        "containment_probability": 0.9,
        "systematic_included": skymap.rule.name != WILKS.name,
    }


def event_fields(metadata: ScanMetadata) -> dict[str, Any]:
    """Return the fields of the notice that are known before there is a map."""
    known = {
        "mission": "IceCube",
        "instrument": "IC86",
        "messenger": "Neutrino",
        "pipeline": PIPELINES.get(alert_stream(metadata.event_type)),
        "event_name": [metadata.name] if metadata.name else None,
        "id": [f"{metadata.run_id}_{metadata.event_id}"],
        "trigger_time": f"{time}Z" if (time := mjd_to_iso(metadata.mjd)) else None,
        "alert_tense": None if metadata.is_real_event else "test",
        "alert_topology": TOPOLOGIES.get(metadata.topology),
    }
    return {key: value for key, value in known.items() if value is not None}


def _best_fit_json(best: BestFit) -> dict[str, Any]:
    """Return the best fit as JSON."""
    return {
        "nside": best.nside,
        "pixel": best.index,
        "ra": rounded_longitude(best.ra, 6),
        "dec": round(best.dec, 6),
        "galactic_longitude": rounded_longitude(best.galactic[0], 4),
        "galactic_latitude": round(best.galactic[1], 4),
        "llh": best.llh,
        "energy_in": _number(best.energy_in),
        "energy_total": _number(best.energy_total),
    }


def _online_json(online: OnlineDirection | None, best: BestFit) -> dict[str, Any] | None:
    """Return the online direction as JSON, with its distance from the best fit."""
    if online is None:
        return None
    return {
        "name": online.name,
        "ra": rounded_longitude(online.ra, 4),
        "dec": round(online.dec, 4),
        "radius_90": None if online.radius_90 is None else round(online.radius_90, 4),
        "separation": round(separation((online.ra, online.dec), (best.ra, best.dec)), 4),
    }


def _minimum_json(skymap: MultiOrderMap, minimum: Minimum | NoMinimum) -> dict[str, Any]:
    """Return the interpolated minimum as JSON, or why there is none."""
    if isinstance(minimum, NoMinimum):
        return {"interpolated_minimum": None, "no_interpolated_minimum": minimum.reason}
    # Rounded to what all machines agree on; + 0.0 turns -0.0 into 0.0.
    (east_east, east_north), (_, north_north) = np.round(minimum.covariance, 9) + 0.0
    content = {
        "ra": rounded_longitude(minimum.ra, 6),
        "dec": round(minimum.dec, 6),
        "galactic_longitude": rounded_longitude(minimum.galactic[0], 4),
        "galactic_latitude": round(minimum.galactic[1], 4),
        "llh": round(skymap.best.llh - minimum.below, 6),
        "covariance_deg2": {"east_east": east_east, "east_north": east_north, "north_north": north_north},
        "ellipses": [
            {
                "credible_level": level,
                "semi_major": round(ellipse.semi_major, 6),
                "semi_minor": round(ellipse.semi_minor, 6),
                "position_angle": round(ellipse.position_angle, 3) % 180.0,
                "area_deg2": float(f"{ellipse.area:.3g}"),
            }
            for level, ellipse in sorted(minimum.ellipses.items())
        ],
        "pixels": minimum.pixels,
        "unexplained": round(minimum.unexplained, 6),
    }
    return {"interpolated_minimum": content, "no_interpolated_minimum": None}


def _minimum_lines(minimum: Minimum | NoMinimum) -> list[str]:
    """Return the interpolated minimum and its 90 % ellipse as text, or why there is none."""
    if isinstance(minimum, NoMinimum):
        return [f"Interpolated minimum: none, {minimum.reason}"]
    ellipse = minimum.ellipses[0.9]
    axes = f"{ellipse.semi_major:.3g} and {ellipse.semi_minor:.3g} deg"
    place = f"RA {minimum.ra:.2f}, Dec {minimum.dec:.2f} deg J2000"
    return [
        f"Interpolated minimum: {place} ({galactic_text(minimum.galactic)})",
        f"90% error ellipse around it: semi-axes {axes}, position angle {ellipse.position_angle:.0f} deg east of north",
    ]


def _region_json(region: Contour) -> dict[str, Any]:
    """Return one region as JSON."""
    return {
        "credible_level": region.credible_level,
        "two_delta_llh": region.threshold,
        "area_deg2": float(f"{region.area:.3g}"),
        "ra_plus": round(region.box.ra_plus, 4),
        "ra_minus": round(region.box.ra_minus, 4),
        "dec_plus": round(region.box.dec_plus, 4),
        "dec_minus": round(region.box.dec_minus, 4),
        "lines": len(region.lines),
        "pixels": region.pixels,
        "open": region.open,
    }


def direction_lines(best: BestFit, region: Contour) -> list[str]:
    """Return the direction with its errors, as IceCube's circulars give them.

    Errors by Wilks' theorem are no containment, and are not called one.
    """
    covers = "statistical only" if region.rule == WILKS.name else "PSF containment"
    box, share = region.box, f"{100 * region.credible_level:.0f}% {covers}"
    return [
        f"RA: {best.ra:.2f} (+{box.ra_plus:.2f}/-{box.ra_minus:.2f} deg {share}) J2000",
        f"Dec: {best.dec:.2f} (+{box.dec_plus:.2f}/-{box.dec_minus:.2f} deg {share}) J2000",
    ]


def galactic_text(galactic: tuple[float, float]) -> str:
    """Return galactic longitude and latitude (deg) in words."""
    return f"l = {rounded_longitude(galactic[0], 2):.2f} deg, b = {galactic[1]:+.2f} deg"


def event_name(metadata: ScanMetadata) -> str:
    """Return the event's name with run and number, which the name itself often is."""
    number = f"run {metadata.run_id}, event {metadata.event_id}"
    if metadata.sub_event_id is not None:
        stream = f" ({metadata.sub_event_stream})" if metadata.sub_event_stream else ""
        number += f", sub-event {metadata.sub_event_id}{stream}"
    repeats = str(metadata.run_id) in metadata.name and str(metadata.event_id) in metadata.name
    return number if repeats or not metadata.name else f"{metadata.name} ({number})"


def area_number(area: float) -> str:
    """Return an area with three significant figures and without an exponent."""
    rounded = float(f"{area:.3g}")
    if rounded == 0:
        return "0"
    return f"{rounded:.{max(0, 2 - math.floor(math.log10(rounded)))}f}"


def _area_line(region: Contour) -> str:
    """Return the area of a region, with notes on its reliability."""
    notes = [f"2 delta ln L < {region.threshold:.4g}"]
    if len(region.lines) > 1:
        notes.append(f"{len(region.lines)} closed lines")
    if region.pixels < RESOLVED:
        notes.append(f"interpolated: {region.pixels} pixel centre{'s' if region.pixels != 1 else ''} inside")
    if region.open:
        notes.append("open: reaches sky without a fit, may be larger")
    return f"{percent(region.credible_level)} area: {area_number(region.area)} deg2 ({'; '.join(notes)})"


def _energy_lines(best: BestFit) -> list[str]:
    """Return the energy losses of the best fit, where it has them."""
    both = (("in the detector", best.energy_in), ("along the track", best.energy_total))
    return [f"Energy losses {where}: {energy / 1000:.3g} TeV" for where, energy in both if math.isfinite(energy)]


def _pixels_text(result: ScanResult) -> str:
    """Count the pixels per level: ``768/768 at nside 8, 345/768 at nside 64``."""
    parts = []
    for nside in result.nsides:
        planned = result.metadata.plan.get(nside)
        of = "" if planned is None else f"/{planned}"
        parts.append(f"{len(result.levels.get(nside, ()))}{of} at nside {nside}")
    return ", ".join(parts) + ("" if result.complete else " (not complete)") if parts else "none"


def _failures_text(result: ScanResult) -> str:
    """Return the names of the failed pixels, or of the first of them."""
    names = [f"nside {nside} pixel {index}" for nside, indices in result.failed.items() for index in indices]
    if not names:
        return "none"
    more = f" and {len(names) - NAMED_FAILURES} more" if len(names) > NAMED_FAILURES else ""
    return f"{len(names)} ({', '.join(names[:NAMED_FAILURES])}{more})"


def _number(value: float) -> float | None:
    """Return None for NaN, which JSON lacks."""
    return value if math.isfinite(value) else None
