"""Realtime events as I3Live sends them: JSON around base64 around zlib around a pickled I3Frame.

A pickle is a program, and these come from a network, so they are never unpickled; ``pickled_frame.py`` interprets the
few instructions of a frame. Every layer has a size limit, so that a small message cannot fill the memory.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass

from skymap_scanner.errors import InputError
from skymap_scanner.event.pickled_frame import frame_bytes

#: Largest message read, bytes. Real ones have 0.1 to 1 MB; JSON takes up to 25 times its size in memory.
MAX_MESSAGE = 16 * 2**20
#: Largest frame, bytes after decompression. The largest real one (a C frame) has 0.7 MB.
MAX_FRAME = 32 * 2**20
#: Most frames in a message. Real ones have five: G C D Q P.
MAX_FRAMES = 8


@dataclass(frozen=True)
class I3LiveMessage:
    """A realtime event: its frames, each (stop, serialized frame), and the alert stream it was sent for, if known."""

    frames: tuple[tuple[str, bytes], ...]
    alert: str | None


def decode_message(message: bytes) -> I3LiveMessage:
    """Decode an I3Live JSON message.

    Raises InputError when the message is not such JSON, or too large; the message names the layer and the frame.
    """
    if len(message) > MAX_MESSAGE:
        raise InputError(f"I3Live message: {len(message)} bytes, more than the {MAX_MESSAGE} allowed")
    try:
        content = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise InputError(f"I3Live message: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError("I3Live message: the JSON is not an object")
    value = content.get("value")
    data = value.get("data") if isinstance(value, dict) else None
    packets = data.get("frames") if isinstance(data, dict) else data
    if not isinstance(packets, list):
        raise InputError("I3Live message: holds no frames; expected a list at value.data or at value.data.frames")
    if not 0 < len(packets) <= MAX_FRAMES:
        raise InputError(f"I3Live message: {len(packets)} frames, expected 1 to {MAX_FRAMES}")
    return I3LiveMessage(
        frames=tuple(_packet(number, packet) for number, packet in enumerate(packets)),
        alert=_alert(content.get("varname"), value),
    )


def _packet(number: int, packet: object) -> tuple[str, bytes]:
    match packet:
        case [str(stop), str(payload)] if len(stop) == 1 and stop.isascii() and stop.isalpha():
            pass
        case _:
            raise InputError(f"I3Live message: frame {number} is not a pair [stop, payload]")
    place = f"I3Live message: frame {number} ({stop})"
    try:
        compressed = base64.b64decode(payload, validate=True)
    except ValueError as error:
        raise InputError(f"{place}: damaged base64: {error}") from error
    try:
        return stop, frame_bytes(_decompress(compressed))
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def _decompress(compressed: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        data = decompressor.decompress(compressed, MAX_FRAME)
    except zlib.error as error:
        raise InputError(f"damaged zlib stream: {error}") from error
    if decompressor.unconsumed_tail:
        raise InputError(f"more than the {MAX_FRAME} bytes allowed after decompression")
    if not decompressor.eof:
        raise InputError("truncated zlib stream")
    return data


def _alert(varname: object, value: object) -> str | None:
    """Return the alert stream: named in the message since 2021, before that part of the variable's name."""
    streams = value.get("streams") if isinstance(value, dict) else None
    if isinstance(streams, list) and streams and isinstance(streams[0], str):
        return streams[0]
    if isinstance(varname, str):
        for alert in ("HESE", "EHE", "ESTRES"):
            if varname.upper().startswith(alert):
                return alert
    return None
