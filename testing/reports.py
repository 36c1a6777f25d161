"""A small scan with everything that a report shows, for tests of its content and of its page."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.healpix import nested_to_ring, pixel_to_radec, ring_to_nested
from skymap_scanner.i3 import I3EventHeader, OMKey, Pulses
from skymap_scanner.i3.pulse_columns import PULSE_DTYPE
from skymap_scanner.reconstruction.protocol import Loss
from skymap_scanner.report import FitRecord, ScanReport
from skymap_scanner.results import PIXEL, ScanMetadata, ScanResult
from skymap_scanner.results.directions import radec_to_vector
from skymap_scanner.results.rule import calibrated_rule

#: Where the bowl of the scan is deepest (deg), and when its first fit began (s since 1970).
RA, DEC, BEGAN = 80.0, 20.0, 1_700_000_000.0
#: Text that breaks out of HTML, of an attribute, of a script, of JSON and of a table in CSV.
HOSTILE = "\"'></script><script>document.body.dataset.broken='yes'</script><img src=x onerror=alert(1)>,\n=1+1 ö"


def make_report(name: str = "IC231202A", text: str = "", *, fine: int = 64) -> ScanReport:
    """Return a scan of two levels; ``text`` stands wherever text from outside may stand."""
    coarse = _level(8, np.arange(768))
    coarse["llh"][700] = np.nan
    lowest = coarse["index"][np.argsort(coarse["llh"])[:4]]
    ratio = (fine // 8) ** 2
    children = (ring_to_nested(8, lowest)[:, None] * ratio + np.arange(ratio)).ravel()
    levels = {8: coarse, fine: _level(fine, np.sort(nested_to_ring(fine, children)))}
    counts = {nside: len(rows) for nside, rows in levels.items()}
    metadata = ScanMetadata(
        run_id=138632,
        event_id=31747601,
        event_type="neutrino",
        mjd=60280.71416774572,
        is_real_event=True,
        complete=dict.fromkeys(levels, True),
        plan=counts,
        name=name,
        choice=text,
        caution=text,
        reconstruction="dummy",
        scanner_version="0.1.0",
        rule=calibrated_rule(2.5, 8.0, "Calibrated for a test.", "a test"),
    )
    result = ScanResult(levels, metadata)
    return ScanReport(result, _event(), _losses(), make_history(result, text), ("a.json", "b c.npz"))


def make_history(result: ScanResult, text: str = "", workers: int = 3) -> list[FitRecord]:
    """Return a fit of half a second for each pixel, in turn by each worker; a failed one, and a repeated one."""
    rows = [(nside, row) for nside, level in result.levels.items() for row in level]
    return [
        FitRecord(
            nside=nside,
            pixel=int(row["index"]),
            round=0,
            seed=0,
            llh=float(row["llh"]),
            worker=f"worker-{number % workers}{text}",
            began=BEGAN + 0.5 * (number // workers),
            ended=BEGAN + 0.5 * (number // workers) + 0.45,
            attempt=2 if number == 5 else 1,
            failure=(text or "it diverged") if math.isnan(row["llh"]) else "",
        )
        for number, (nside, row) in enumerate(rows)
    ]


def with_name(report: ScanReport, name: str) -> ScanReport:
    """Return the report of an event with another name."""
    result = report.result
    return replace(report, result=ScanResult(result.levels, replace(result.metadata, name=name)))


def _level(nside: int, index: np.ndarray) -> np.ndarray:
    ra, dec = np.degrees(pixel_to_radec(nside, index))
    chord = np.linalg.norm(radec_to_vector(ra, dec) - radec_to_vector(np.array(RA), np.array(DEC)), axis=-1)
    rows = np.zeros(len(index), PIXEL)
    rows["index"], rows["llh"] = index, 1000 + np.degrees(chord) ** 2 / 2
    rows["E_in"], rows["E_tot"], rows["X"], rows["T"] = 120e3, 340e3, 10.0, 9800.0
    return rows


def _event() -> PreparedEvent:
    pulses = {OMKey(36, om): np.array([(9500.0 + 60 * om, 2.0 + om / 10, 8.0, 7)], PULSE_DTYPE) for om in range(20, 30)}
    return PreparedEvent(
        name="an event",
        header=I3EventHeader(),
        mjd=60280.71416774572,
        pulse_series="pulses",
        pulses=Pulses.from_series(pulses),
        window=(9000.0, 14000.0),
        errata={},
        late={},
        excluded=frozenset(),
        bright=frozenset(),
        vertex=np.zeros(3),
        vertex_time=9800.0,
        geometry=ic86(),
    )


def _losses() -> list[Loss]:
    return [Loss((10.0 * one, 0.0, 5.0 * one), 9800.0 + 30 * one, 1000.0 * one) for one in range(12)]
