"""Realtime events as I3Live sends them: JSON around base64 around zlib around a pickled I3Frame.

A pickle is a program, and these come from a network, so they are never unpickled. A pickled I3Frame needs a dozen
instructions; ``_Machine`` interprets these only, with a limit on their number. Every layer has a size limit, so that a
small message cannot fill the memory.

The two ways of writing a frame (i3-format: "pnf framing"):

- Python 2: ``I3Frame()`` built from ``({}, bytes)``, the bytes as BINSTRING;
- Python 3: the same, the bytes as ``_codecs.encode(text, 'latin1')``, or as BINBYTES from protocol 3 on.
"""

from __future__ import annotations

import base64
import json
import pickletools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skymap_scanner.errors import InputError

#: Largest message read, bytes. Real ones have 0.1 to 1 MB; JSON takes up to 25 times its size in memory.
MAX_MESSAGE = 16 * 2**20
#: Largest frame, bytes after decompression. The largest real one (a C frame) has 0.7 MB.
MAX_FRAME = 32 * 2**20
#: Most frames in a message. Real ones have five: G C D Q P.
MAX_FRAMES = 8
#: Most instructions in a pickle. Real ones have 22.
MAX_INSTRUCTIONS = 64


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


def frame_bytes(pickled: bytes) -> bytes:
    """Return the serialized frame inside a pickled I3Frame.

    Raises InputError when the pickle is anything else than one I3Frame.
    """
    machine = _Machine()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
            if number == MAX_INSTRUCTIONS:
                raise InputError(f"a pickle of more than {MAX_INSTRUCTIONS} instructions is not an I3Frame")
            machine.step(opcode.name, argument)
    except (ValueError, DeprecationWarning) as error:
        raise InputError(f"damaged pickle: {error}") from error
    except LookupError as error:
        raise InputError("damaged pickle: an instruction misses its operands") from error
    match machine.stack:
        case [_PickledFrame(state=({}, bytes(data)))]:
            return data
    raise InputError("the pickle is not an I3Frame")


@dataclass(frozen=True)
class _PickledFrame:
    state: object = None


_FRAME_CLASS, _ENCODE = object(), object()
_GLOBALS = {
    "icecube.icetray I3Frame": _FRAME_CLASS,
    "icecube._icetray I3Frame": _FRAME_CLASS,
    "_codecs encode": _ENCODE,
}


def _find(name: str) -> object:
    if name not in _GLOBALS:
        raise InputError(f"the pickle asks for {name[:100].replace(' ', '.')!r}, and only I3Frame is allowed")
    return _GLOBALS[name]


def _call(function: object, arguments: object) -> object:
    match arguments:
        case () if function is _FRAME_CLASS:
            return _PickledFrame()
        case (str(text), "latin1" | "latin-1") if function is _ENCODE:
            return text.encode("latin-1")
    raise InputError("the pickle calls something else than I3Frame() and encode(text, 'latin1')")


#: Instructions that push one value, which their argument makes.
_PUSH: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"), lambda text: text),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"), lambda data: data),
    # pickletools gives the bytes of a BINSTRING as Latin-1 text
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), lambda text: text.encode("latin-1")),
    "EMPTY_DICT": lambda _: {},
    "GLOBAL": _find,
}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2}
_NO_EFFECT = {"PROTO", "FRAME", "STOP"}


class _Machine:
    """The part of the pickle machine that an I3Frame needs."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSH:
            self.stack.append(_PUSH[name](argument))
        elif name in _TUPLES:
            items = [self.stack.pop() for _ in range(_TUPLES[name])]
            self.stack.append(tuple(reversed(items)))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in ("STACK_GLOBAL", "REDUCE", "BUILD"):
            self._combine(name)
        elif name not in _NO_EFFECT:
            raise InputError(f"the pickle holds the instruction {name}, which an I3Frame does not need")

    def _combine(self, name: str) -> None:
        """Take two values from the stack and push what they make."""
        upper, lower = self.stack.pop(), self.stack.pop()
        if name == "STACK_GLOBAL":
            self.stack.append(_find(f"{lower} {upper}"))
        elif name == "REDUCE":
            self.stack.append(_call(lower, upper))
        elif isinstance(lower, _PickledFrame):
            self.stack.append(_PickledFrame(state=upper))
        else:
            raise InputError("the pickle gives a state to something else than an I3Frame")
