"""Events: messages of I3Live as JSON and pickled, .i3 files, and the pickles inside them."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zlib

import numpy as np

from skymap_scanner.errors import InputError
from skymap_scanner.event.i3live import decode_message
from skymap_scanner.event.pickled_frame import frame_bytes
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.sources import decode_event
from skymap_scanner.i3 import PULSE_DTYPE, Frame, I3EventHeader, I3RecoPulseSeriesMap, I3Time, I3TimeWindow, OMKey
from testing.fuzz.target import Target, require


def small_event() -> list[Frame]:
    """Make an event of a Q and a P frame with a few pulses."""
    daq, physics = Frame("Q"), Frame("P")
    physics["I3EventHeader"] = I3EventHeader(run_id=1, event_id=2, start_time=I3Time(2024, 10**15))
    pulses = [(10_000.0 + 20 * number, 1.5, 8.0, 7) for number in range(3)]
    physics["SplitInIcePulses"] = I3RecoPulseSeriesMap(
        {OMKey(string, om): np.array(pulses, PULSE_DTYPE) for string, om in ((21, 30), (21, 31), (36, 20))}
    )
    physics["SplitInIcePulsesTimeRange"] = I3TimeWindow(9000.0, 12000.0)
    return [daq, physics]


def pickled_frame(frame: Frame) -> bytes:
    """Pickle a frame as Python 2 does."""
    data = frame.to_bytes()
    begin = b"cicecube.icetray\nI3Frame\nq\0)Rq\1}q\2T"
    return b"\x80\2" + begin + len(data).to_bytes(4, "little") + data + b"q\3\x86q\4b."


def packets(frames: list[Frame]) -> list[list[str]]:
    """Return frames as a message holds them."""
    return [[frame.stop, base64.b64encode(zlib.compress(pickled_frame(frame))).decode()] for frame in frames]


def message() -> dict[str, object]:
    """Return a message of I3Live with a small event."""
    return {"varname": "heseEvent16Data", "value": {"streams": ["neutrino"], "data": packets(small_event())}}


def check_event(data: bytes) -> None:
    """Read an event in any form and prepare it."""
    event = decode_event(io.BytesIO(data), "an event")
    require(event.name.isprintable() and "/" not in event.name, "a name that is no part of a file's")
    prepared = prepare(event)
    require(bool(np.isfinite(prepared.vertex).all()), "a vertex that is not finite")


def event_seeds() -> list[bytes]:
    """Make events: an .i3 file, and messages as JSON and pickled."""
    stream = b"".join(frame.to_bytes() for frame in small_event())
    older = {"varname": "HESE", "value": {"data": {"frames": packets(small_event())}}}
    return [stream, *(json.dumps(one).encode() for one in (message(), older)), pickle.dumps(message(), 2)]


def check_message(data: bytes) -> None:
    """Read the layers of a message: JSON or a pickle around the frames, then the pickle of a frame.

    The first byte says what the rest is, so that mutations need not get through base64, zlib and checksums.
    """
    if data[:1] == b"j":
        decode_message(b"{" + data[1:])
    elif data[:1] == b"p":
        decode_message(b"\x80\2" + data[1:])
    elif data[:1] == b"f":
        frame_bytes(data[1:])
    else:
        wrapped = base64.b64encode(zlib.compress(data[1:])).decode()
        decode_message(json.dumps({"value": {"data": [["P", wrapped]]}}).encode())


def message_seeds() -> list[bytes]:
    """Make messages in several protocols, and pickles of frames."""
    plain = {"varname": "HESE", "value": {"data": [["P", "eJwDAAAAAAE="]], "streams": ["neutrino"]}, "time": [1, 2.5]}
    frame = pickled_frame(Frame("P"))
    return [
        b"j" + json.dumps(message()).encode()[1:],
        *(b"p" + pickle.dumps(plain, protocol)[2:] for protocol in (2, 3, 4, 5)),
        b"f" + frame,
        b"w" + frame,
    ]


TARGETS = (
    Target("event", check_event, event_seeds, (InputError,), longest=16384),
    Target("unpickler", check_message, message_seeds, (InputError,)),
)
