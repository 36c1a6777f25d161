"""How fast frames are decoded and encoded: microseconds a task or fit frame, megabytes a second.

    python benchmarks/i3/codec.py [FILE.i3 ...]

CPU time, best of 9 runs. Every object is decoded to its typed form, or encoded from it; the files given are measured
too, frame by frame, in memory.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from skymap_scanner.i3 import (
    PULSE_DTYPE,
    FitStatus,
    Frame,
    I3Direction,
    I3Double,
    I3EventHeader,
    I3Geometry,
    I3Int,
    I3LogLikelihoodFitParams,
    I3OMGeoMap,
    I3Particle,
    I3Position,
    I3RecoPulseSeriesMap,
    I3String,
    I3Time,
    I3VectorI3Particle,
    OMKey,
    ParticleShape,
    omgeo_records,
    read_frames,
)

RUNS = 9
LIMIT_US = 100.0


def seconds(action: Callable[[], object]) -> float:
    """Return the CPU time of one call: the best of several runs of about 50 ms."""
    start = time.process_time()
    action()
    number = max(1, int(0.05 / max(time.process_time() - start, 1e-6)))
    best = float("inf")
    for _ in range(RUNS):
        start = time.process_time()
        for _ in range(number):
            action()
        best = min(best, (time.process_time() - start) / number)
    return best


def particle(status: FitStatus) -> I3Particle:
    """Make a track."""
    return I3Particle(
        minor_id=3,
        major_id=1 << 60,
        shape=ParticleShape.InfiniteTrack,
        fit_status=status,
        pos=I3Position(-12.5, 48.0, -310.0),
        dir=I3Direction(1.2, 3.4),
        time=10_321.5,
    )


def task_frame() -> Frame:
    """Make the frame that goes to a worker."""
    start = I3Time(2023, 290057040932302199)
    frame = Frame("P")
    stream = "SCAN_nside0008_pixel0437_posvar0003"
    frame["I3EventHeader"] = I3EventHeader(138632, 0, 31747601, 20, 437, stream, start, start)
    frame["MillipedeSeedParticle"] = particle(FitStatus.OK)
    frame["SCAN_HealpixNSide"] = I3Int(8)
    frame["SCAN_HealpixPixel"] = I3Int(437)
    frame["SCAN_PositionVariationIndex"] = I3Int(3)
    frame["SCAN_EventOverallIndex"] = I3Int(0)
    frame["SCAN_EventName"] = I3String("138632_31747601")
    return frame


def fit_frame() -> Frame:
    """Make the frame that a worker sends back (without the losses)."""
    frame = task_frame()
    frame["MillipedeStarting2ndPass"] = particle(FitStatus.OK)
    frame["MillipedeStarting2ndPass_millipedellh"] = I3LogLikelihoodFitParams(4123.5, 6.3, 650, 41)
    frame["MillipedeStarting2ndPass_totalRecoLossesInside"] = I3Double(123_456.0)
    frame["MillipedeStarting2ndPass_totalRecoLossesTotal"] = I3Double(234_567.0)
    return frame


def losses_frame() -> Frame:
    """Make a fit frame with 100 losses."""
    frame = fit_frame()
    frame["MillipedeStarting2ndPassParams"] = I3VectorI3Particle(tuple(particle(FitStatus.NotSet) for _ in range(100)))
    return frame


def pulses_frame() -> Frame:
    """Make a frame of 10,000 pulses in 1,000 DOMs."""
    pulses = np.zeros(10, PULSE_DTYPE)
    frame = Frame("Q")
    keys = [OMKey(1 + i // 60, 1 + i % 60) for i in range(1000)]
    frame["Pulses"] = I3RecoPulseSeriesMap(dict.fromkeys(keys, pulses))
    return frame


def geometry_frame() -> Frame:
    """Make a frame of 5,160 DOMs."""
    rows = [(1 + i // 60, 1 + i % 60, 0, 1.0, 2.0, 3.0, 1.0, 0.0, 0.0, 0.0, 20, 0.0444, 0) for i in range(5160)]
    frame = Frame("G")
    frame["I3Geometry"] = I3Geometry(I3OMGeoMap(omgeo_records(rows)))
    return frame


def decode(raw: bytes) -> Frame:
    """Read a frame and decode every object."""
    frame = Frame.from_bytes(raw)
    for key in frame:
        frame[key]
    return frame


def encode(objects: dict[str, object]) -> bytes:
    """Encode the objects into a frame."""
    frame = Frame("P")
    for key, value in objects.items():
        frame[key] = value
    return frame.to_bytes()


def report(name: str, raw: bytes) -> tuple[float, float]:
    """Measure one frame, print its line, and return the microseconds of decoding and encoding."""
    frame = decode(raw)
    objects = {key: frame[key] for key in frame if not frame.is_opaque(key)}
    times = seconds(lambda: decode(raw)), seconds(lambda: encode(objects))
    rates = [len(raw) / once / 1e6 for once in times]
    micro = [once * 1e6 for once in times]
    print(
        f"{name:28} {len(frame):4} objects {len(raw):9,} bytes"
        f"  decode {micro[0]:10.1f} us {rates[0]:8.1f} MB/s  encode {micro[1]:10.1f} us {rates[1]:8.1f} MB/s"
    )
    return micro[0], micro[1]


def report_file(path: Path) -> None:
    """Measure a whole file, decompression included: every object decoded, and encoded again."""
    size = sum(len(frame.to_bytes()) for frame in read_frames(path))
    read = seconds(lambda: [decode(frame.to_bytes()) for frame in read_frames(path)])
    both = seconds(lambda: [frame.reencoded().to_bytes() for frame in read_frames(path)])
    rates = f"decode {size / read / 1e6:.1f} MB/s, decode and encode {size / both / 1e6:.1f} MB/s"
    print(f"{path.name}, {size:,} bytes, whole: {rates}")


def main() -> int:
    """Measure; return 1 when a task or fit frame takes longer than it may."""
    slowest = max(*report("task frame", task_frame().to_bytes()), *report("fit frame", fit_frame().to_bytes()))
    report("fit frame, 100 losses", losses_frame().to_bytes())
    report("10,000 pulses, 1,000 DOMs", pulses_frame().to_bytes())
    report("geometry, 5,160 DOMs", geometry_frame().to_bytes())
    for path in map(Path, sys.argv[1:]):
        for index, frame in enumerate(read_frames(path)):
            report(f"{path.name[:22]} {index} {frame.stop}", frame.to_bytes())
        report_file(path)
    print(f"slowest task or fit frame: {slowest:.1f} us; may take {LIMIT_US:.0f} us")
    return int(slowest > LIMIT_US)


if __name__ == "__main__":
    sys.exit(main())
