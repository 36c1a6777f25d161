"""The instructions of a pickle that make plain values: how each is written. ``restricted_pickle.py`` interprets them.

Protocols 0 to 5 are read, from Python 2 and 3. ``pickletools``, which describes the instructions, cannot be used: it
takes a quoted STRING for ASCII, and Python 2 writes any bytes there. Every byte is read once, and numbers are short.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

#: Longest number that is read (bytes or digits): 512 bits are more than any field has.
MAX_NUMBER = 64


class UnknownInstructionError(Exception):
    """An instruction that plain values do not need: which one, and where."""


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

    def size(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def signed(self, width: int) -> int:
        if width > MAX_NUMBER:
            raise ValueError(f"a number of {width} bytes")
        return int.from_bytes(self.take(width), "little", signed=True)

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise ValueError(f"a line that begins at {self.position} does not end")
        taken = self.take(end - self.position)
        self.position += 1
        return taken

    def digits(self) -> bytes:
        line = self.line()
        if len(line) > MAX_NUMBER:
            raise ValueError(f"a number of {len(line)} characters")
        return line


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


def _sized(width: int, decode: Callable[[bytes], Any]) -> Callable[[_Cursor], Any]:
    """Read what has its length before it, in ``width`` bytes."""
    return lambda cursor: decode(cursor.take(cursor.size(width)))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _number(line: bytes) -> int | bool:
    """Return a number of protocol 0; ``01`` and ``00`` are True and False, and Python 2's long numbers end in L."""
    return line == b"01" if line in (b"00", b"01") else int(line.removesuffix(b"L"))


#: Instructions by their byte: name, and how the argument is read.
_OPCODES: dict[bytes, tuple[str, Callable[[_Cursor], Any] | None]] = {
    b"\x80": ("NOTHING", lambda cursor: cursor.take(1)),  # protocol
    b"\x95": ("NOTHING", lambda cursor: cursor.take(8)),  # length of a part
    b".": ("STOP", None),
    b"c": ("GLOBAL", lambda cursor: b" ".join((cursor.line(), cursor.line())).decode("utf-8", "replace")),
    b"\x93": ("STACK_GLOBAL", None),
    b"R": ("REDUCE", None),
    b"b": ("BUILD", None),
    b"(": ("MARK", None),
    b"t": ("TUPLE", None),
    b")": ("TUPLE0", None),
    b"\x85": ("TUPLE1", None),
    b"\x86": ("TUPLE2", None),
    b"\x87": ("TUPLE3", None),
    b"]": ("EMPTY_LIST", None),
    b"l": ("LIST", None),
    b"a": ("APPEND", None),
    b"e": ("APPENDS", None),
    b"}": ("EMPTY_DICT", None),
    b"d": ("DICT", None),
    b"s": ("SETITEM", None),
    b"u": ("SETITEMS", None),
    b"p": ("PUT", lambda cursor: int(cursor.digits())),
    b"q": ("PUT", lambda cursor: cursor.size(1)),
    b"r": ("PUT", lambda cursor: cursor.size(4)),
    b"\x94": ("MEMOIZE", None),
    b"g": ("GET", lambda cursor: int(cursor.digits())),
    b"h": ("GET", lambda cursor: cursor.size(1)),
    b"j": ("GET", lambda cursor: cursor.size(4)),
    b"N": ("PUSH", lambda _: None),
    b"\x88": ("PUSH", lambda _: True),
    b"\x89": ("PUSH", lambda _: False),
    b"I": ("PUSH", lambda cursor: _number(cursor.digits())),
    b"L": ("PUSH", lambda cursor: _number(cursor.digits())),
    b"K": ("PUSH", lambda cursor: cursor.size(1)),
    b"M": ("PUSH", lambda cursor: cursor.size(2)),
    b"J": ("PUSH", lambda cursor: cursor.signed(4)),
    b"\x8a": ("PUSH", lambda cursor: cursor.signed(cursor.size(1))),
    b"\x8b": ("PUSH", lambda cursor: cursor.signed(cursor.size(4))),
    b"F": ("PUSH", lambda cursor: float(cursor.digits())),
    b"G": ("PUSH", lambda cursor: struct.unpack(">d", cursor.take(8))[0]),
    b"V": ("PUSH", lambda cursor: cursor.line().decode("raw-unicode-escape")),
    b"X": ("PUSH", _sized(4, _text)),
    b"\x8c": ("PUSH", _sized(1, _text)),
    b"\x8d": ("PUSH", _sized(8, _text)),
    b"S": ("PUSH_STRING", lambda cursor: _unquoted(cursor.line())),
    b"T": ("PUSH_STRING", _sized(4, bytes)),
    b"U": ("PUSH_STRING", _sized(1, bytes)),
    b"B": ("PUSH", _sized(4, bytes)),
    b"C": ("PUSH", _sized(1, bytes)),
    b"\x8e": ("PUSH", _sized(8, bytes)),
}


def instructions(pickled: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the instructions up to STOP, each with its argument.

    Raises ValueError if the pickle is damaged; `UnknownInstructionError` for one that is not in the table.
    """
    cursor = _Cursor(pickled)
    name = ""
    while name != "STOP":
        place, byte = cursor.position, cursor.take(1)
        if byte not in _OPCODES:
            raise UnknownInstructionError(f"the instruction {repr(byte)[1:]} at byte {place}")
        name, read = _OPCODES[byte]
        yield name, None if read is None else read(cursor)
