"""The frame inside a pickled I3Frame, found without unpickling.

A pickle is a program. A pickled I3Frame needs two dozen instructions at most; these are interpreted on plain data, with
a limit on their number, and all others are an error. Each is read once, so the time grows with the size.

The ways of writing a frame, all as ``I3Frame()`` built from ``({}, bytes)``:

- Python 2: the bytes as BINSTRING, or in protocol 0 as a quoted STRING;
- Python 3: the bytes as ``_codecs.encode(text, 'latin1')``, or as BINBYTES from protocol 3 on.

In protocols 0 and 1 tuples and dictionaries are marked on the stack. ``pickletools`` cannot be used: it takes a quoted
STRING for ASCII, and Python 2 writes any bytes there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from skymap_scanner.errors import InputError

#: Most instructions in a pickle. Real ones have 27 in protocol 0, and 22 from protocol 2 on.
MAX_INSTRUCTIONS = 64


def frame_bytes(pickled: bytes) -> bytes:
    """Return the serialized frame inside a pickled I3Frame.

    Raises InputError when the pickle is anything else than one I3Frame.
    """
    machine = _Machine()
    try:
        for number, (name, argument) in enumerate(_instructions(pickled)):
            if number == MAX_INSTRUCTIONS:
                raise InputError(f"a pickle of more than {MAX_INSTRUCTIONS} instructions is not an I3Frame")
            machine.step(name, argument)
    except ValueError as error:
        raise InputError(f"damaged pickle: {error}") from error
    except LookupError as error:
        raise InputError("damaged pickle: an instruction misses its operands") from error
    match machine.stack:
        case [_PickledFrame(state=({}, bytes(data)))]:
            return data
    raise InputError("the pickle is not an I3Frame")


# --- instructions -----------------------------------------------------------------------------------------------------


class _Cursor:
    """A place in the pickle; every read raises ValueError when the bytes end before."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise ValueError(f"{size} bytes expected at {self.position}, {len(self.data) - self.position} are left")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise ValueError(f"a line that begins at {self.position} does not end")
        taken = self.take(end - self.position)
        self.position += 1
        return taken


def _unquoted(line: bytes) -> bytes:
    """Return the bytes that Python 2 wrote as ``repr`` of a ``str``."""
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[:1] != line[-1:]:
        raise ValueError("a string without quotes")
    return _ESCAPED.sub(_unescaped, line[1:-1])


_ESCAPED = re.compile(rb"\\(x[0-9a-fA-F]{2}|.?)", re.DOTALL)
_ESCAPES = {b"\\": b"\\", b"'": b"'", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if len(code) == 3:
        return bytes([int(code[1:], 16)])
    if code not in _ESCAPES:
        raise ValueError(f"a string with the escape {match[0]!r}")
    return _ESCAPES[code]


def _sized(size: int, decode: Callable[[bytes], Any]) -> Callable[[_Cursor], Any]:
    """Read what has its length before it, in ``size`` bytes."""
    return lambda cursor: decode(cursor.take(cursor.number(size)))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


#: Instructions by their byte: name, and how the argument is read.
_OPCODES: dict[bytes, tuple[str, Callable[[_Cursor], Any] | None]] = {
    b"\x80": ("PROTO", lambda cursor: cursor.take(1)),
    b"\x95": ("FRAME", lambda cursor: cursor.take(8)),
    b".": ("STOP", None),
    b"c": ("GLOBAL", lambda cursor: b" ".join((cursor.line(), cursor.line())).decode("utf-8", "replace")),
    b"\x93": ("STACK_GLOBAL", None),
    b"R": ("REDUCE", None),
    b"b": ("BUILD", None),
    b"(": ("MARK", None),
    b"t": ("TUPLE", None),
    b"d": ("DICT", None),
    b")": ("TUPLE0", None),
    b"\x85": ("TUPLE1", None),
    b"\x86": ("TUPLE2", None),
    b"}": ("EMPTY_DICT", None),
    b"p": ("PUT", lambda cursor: int(cursor.line())),
    b"q": ("PUT", lambda cursor: cursor.number(1)),
    b"r": ("PUT", lambda cursor: cursor.number(4)),
    b"\x94": ("MEMOIZE", None),
    b"g": ("GET", lambda cursor: int(cursor.line())),
    b"h": ("GET", lambda cursor: cursor.number(1)),
    b"j": ("GET", lambda cursor: cursor.number(4)),
    b"V": ("PUSH", lambda cursor: cursor.line().decode("raw-unicode-escape")),
    b"X": ("PUSH", _sized(4, _text)),
    b"\x8c": ("PUSH", _sized(1, _text)),
    b"\x8d": ("PUSH", _sized(8, _text)),
    b"S": ("PUSH", lambda cursor: _unquoted(cursor.line())),
    b"T": ("PUSH", _sized(4, bytes)),
    b"U": ("PUSH", _sized(1, bytes)),
    b"B": ("PUSH", _sized(4, bytes)),
    b"C": ("PUSH", _sized(1, bytes)),
    b"\x8e": ("PUSH", _sized(8, bytes)),
}


def _instructions(pickled: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the instructions up to STOP, each with its argument; raises ValueError, InputError."""
    cursor = _Cursor(pickled)
    name = ""
    while name != "STOP":
        place, byte = cursor.position, cursor.take(1)
        if byte not in _OPCODES:
            raise InputError(
                f"the pickle holds the instruction {repr(byte)[1:]} at byte {place}, which an I3Frame does not need"
            )
        name, read = _OPCODES[byte]
        yield name, None if read is None else read(cursor)


# --- the machine ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _PickledFrame:
    state: object = None


_FRAME_CLASS, _ENCODE, _BYTES, _MARK = object(), object(), object(), object()
_GLOBALS = {
    "icecube.icetray I3Frame": _FRAME_CLASS,
    "icecube._icetray I3Frame": _FRAME_CLASS,
    "_codecs encode": _ENCODE,
    "__builtin__ bytes": _BYTES,  # how Python 3 writes empty bytes for Python 2
}


def _find(name: str) -> object:
    if name not in _GLOBALS:
        raise InputError(f"the pickle asks for {name[:100].replace(' ', '.')!r}, and only I3Frame is allowed")
    return _GLOBALS[name]


def _call(function: object, arguments: object) -> object:
    match arguments:
        case () if function is _FRAME_CLASS:
            return _PickledFrame()
        case () if function is _BYTES:
            return b""
        case (str(text), "latin1" | "latin-1") if function is _ENCODE:
            return text.encode("latin-1")
    raise InputError("the pickle calls something else than I3Frame() and encode(text, 'latin1')")


class _Machine:
    """The part of the pickle machine that an I3Frame needs."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        match name:
            case "PUSH":
                self.stack.append(argument)
            case "GLOBAL":
                self.stack.append(_find(argument))
            case "MARK":
                self.stack.append(_MARK)
            case "TUPLE" | "TUPLE0" | "TUPLE1" | "TUPLE2":
                items = self._marked() if name == "TUPLE" else [self.stack.pop() for _ in range(int(name[-1]))]
                self.stack.append(tuple(reversed(items)))
            case "EMPTY_DICT" | "DICT":
                if name == "DICT" and self._marked():
                    raise InputError("the pickle fills a dictionary, and that of an I3Frame is empty")
                self.stack.append({})
            case "PUT" | "MEMOIZE":
                self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
            case "GET":
                self.stack.append(self.memo[argument])
            case "STACK_GLOBAL" | "REDUCE" | "BUILD":
                self._combine(name)

    def _marked(self) -> list[Any]:
        """Take what lies on the stack above the last mark, the last item first, and the mark."""
        items: list[Any] = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items

    def _combine(self, name: str) -> None:
        """Take two values from the stack and push what they make."""
        upper, lower = self.stack.pop(), self.stack.pop()
        if name == "STACK_GLOBAL":
            if not (isinstance(lower, str) and isinstance(upper, str)):
                raise InputError("the pickle names a class by something else than text")
            self.stack.append(_find(f"{lower} {upper}"))
        elif name == "REDUCE":
            self.stack.append(_call(lower, upper))
        elif isinstance(lower, _PickledFrame):
            self.stack.append(_PickledFrame(state=upper))
        else:
            raise InputError("the pickle gives a state to something else than an I3Frame")
