"""Realtime events as I3Live sends them: JSON around base64 around zlib around a pickled I3Frame.

Users of the original scanner also keep the message pickled, as the dictionary that its JSON is read into.

A pickle is a program, and these come from a network, so they are never unpickled; ``restricted_pickle.py`` interprets
the instructions that plain values and frames need. Every layer has a size limit, so that a small message cannot fill
the memory.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import zlib
from dataclasses import dataclass

from skymap_scanner.errors import InputError
from skymap_scanner.event.pickled_frame import frame_bytes
from skymap_scanner.event.restricted_pickle import BYTES_FUNCTIONS, Allowed, empty_dictionary, read_pickle

#: Largest message read, bytes. Real ones have 0.1 to 1 MB; JSON takes up to 25 times its size in memory.
MAX_MESSAGE = 16 * 2**20
#: Most bytes of all frames of a message together, after decompression. The largest real frame (C) has 0.7 MB.
MAX_FRAMES_BYTES = 32 * 2**20
#: Most frames in a message. Real ones have five: G C D Q P.
MAX_FRAMES = 8
#: Most instructions in a pickled message. Real ones have a few hundred.
MAX_INSTRUCTIONS = 100_000

#: What a pickled message may hold: the values of JSON, bytes, and dates.
_MESSAGE = Allowed(
    what="a message of I3Live",
    instructions=MAX_INSTRUCTIONS,
    functions={
        **BYTES_FUNCTIONS,
        **{f"datetime {kind.__name__}": kind for kind in (dt.datetime, dt.date, dt.time, dt.timedelta, dt.timezone)},
        "collections OrderedDict": empty_dictionary,
    },
    python2_text=True,
)
#: How the pickle of a dictionary begins: protocols 2 and later, 1, 0, and that of an OrderedDict in protocols 0 and 1.
_PICKLES = (b"\x80", b"}", b"(d", b"ccollections\nOrderedDict\n")


@dataclass(frozen=True)
class I3LiveMessage:
    """A realtime event: its frames, each (stop, serialized frame), and the alert stream it was sent for, if known."""

    frames: tuple[tuple[str, bytes], ...]
    alert: str | None


def is_message(start: bytes) -> bool:
    """Return whether bytes begin as a message does, as JSON or pickled."""
    return start.lstrip().startswith((b"{", b"\xef\xbb\xbf{")) or start.startswith(_PICKLES)


def decode_message(message: bytes) -> I3LiveMessage:
    """Decode an I3Live message, JSON or pickled.

    Raises InputError when the message is neither, or too large; the message names the layer and the frame.
    """
    if len(message) > MAX_MESSAGE:
        raise InputError(f"I3Live message: {len(message)} bytes, more than the {MAX_MESSAGE} allowed")
    content = _unpickled(message) if message.startswith(_PICKLES) else _json(message)
    if not isinstance(content, dict):
        raise InputError("I3Live message: the JSON is not an object, or the pickle not a dictionary")
    value = content.get("value")
    data = value.get("data") if isinstance(value, dict) else None
    packets = data.get("frames") if isinstance(data, dict) else data
    if not isinstance(packets, list | tuple):
        raise InputError("I3Live message: holds no frames; expected a list at value.data or at value.data.frames")
    if not 0 < len(packets) <= MAX_FRAMES:
        raise InputError(f"I3Live message: {len(packets)} frames, expected 1 to {MAX_FRAMES}")
    frames, left = [], MAX_FRAMES_BYTES
    for number, packet in enumerate(packets):
        stop, payload = _pair(number, packet)
        try:
            pickled = _decompress(payload, left)
            frames.append((stop, frame_bytes(pickled)))
        except InputError as error:
            raise InputError(f"I3Live message: frame {number} ({stop}): {error}") from error
        left -= len(pickled)
    return I3LiveMessage(tuple(frames), _alert(content.get("varname"), value))


def _json(message: bytes) -> object:
    try:
        content: object = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise InputError(f"I3Live message: not JSON: {error}") from error
    return content


def _unpickled(message: bytes) -> object:
    try:
        return read_pickle(message, _MESSAGE)
    except InputError as error:
        raise InputError(f"I3Live message: {error}") from error


def _text(value: object) -> object:
    """Return bytes, which pickled messages hold where JSON holds text, as text; anything else as it is."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _pair(number: int, packet: object) -> tuple[str, str]:
    """Return the stop and the payload of a frame."""
    match [_text(item) for item in packet] if isinstance(packet, list | tuple) and len(packet) == 2 else None:
        case [str(stop), str(payload)] if len(stop) == 1 and stop.isascii() and stop.isalpha():
            return stop, payload
    raise InputError(f"I3Live message: frame {number} is not a pair [stop, payload]")


def _decompress(payload: str, limit: int) -> bytes:
    """Return the pickle of a frame, of up to ``limit`` bytes."""
    try:
        compressed = base64.b64decode(payload, validate=True)
    except ValueError as error:
        raise InputError(f"damaged base64: {error}") from error
    decompressor = zlib.decompressobj()
    try:
        data = decompressor.decompress(compressed, limit + 1)
    except zlib.error as error:
        raise InputError(f"damaged zlib stream: {error}") from error
    if len(data) > limit:
        raise InputError(f"with it, all frames take more than the {MAX_FRAMES_BYTES} bytes allowed")
    if not decompressor.eof:
        raise InputError("truncated zlib stream")
    return data


def _alert(varname: object, value: object) -> str | None:
    """Return the alert stream: named in the message since 2021, before that part of the variable's name."""
    streams = value.get("streams") if isinstance(value, dict) else None
    stream = _text(streams[0]) if isinstance(streams, list | tuple) and streams else None
    if isinstance(stream, str):
        return stream
    varname = _text(varname)
    if isinstance(varname, str):
        for alert in ("HESE", "EHE", "ESTRES"):
            if varname.upper().startswith(alert):
                return alert
    return None
