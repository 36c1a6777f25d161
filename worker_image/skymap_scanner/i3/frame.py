"""A frame: named objects at one stop of the stream, and its bytes (format section 2).

A frame that was read keeps its bytes: unchanged it is written as it was, and an object is decoded on demand.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Final, Self, TypeVar

import crc32c

from skymap_scanner.errors import I3Error
from skymap_scanner.i3 import catalogue
from skymap_scanner.i3.archive import COUNT_ESCAPE, U32, Reader, UndescribedError, decode_text, encode_text
from skymap_scanner.i3.basic_objects import Opaque
from skymap_scanner.i3.layouts.primitives import TEXT, Class, Items, Member, Number

TAG: Final = b"[i3]"
CURRENT_VERSION: Final = 6
#: Frames of IceCube have tens of objects; a frame that claims more than this is damaged, or made to fill our memory.
MAX_OBJECTS: Final = 1 << 16
#: Versions before this had no tag: the file begins with the version itself.
_FIRST_TAGGED: Final = 4

#: Tracking flag and version of I3Frame::Stream.
_STREAM: Final = b"\0\0"
#: Changes by modules to frames of version 2 to 4: module, operation, keys and type. Skipped.
HISTORY: Final = Items(
    Class("event_t", None, [Member("", TEXT), Member("", Number("b")), *[Member("", TEXT)] * 3], tracked=False),
    "std::vector<event_t>",
)

_T = TypeVar("_T")

#: Type name, blob, and the offset of the blob in the frame that was read (None if it was not read).
_Entry = tuple[bytes, bytes, int | None]


def checksum(data: bytes) -> int:
    """CRC-32C with the register starting at 0 and no final inversion, as frame version 6 has it.

    The ``crc32c`` package inverts before and after: undo both.
    """
    inverted: int = crc32c.crc32c(data, 0xFFFFFFFF)
    return inverted ^ 0xFFFFFFFF


class Frame(MutableMapping[str, Any]):
    """Objects by key, at one stop (``G``, ``C``, ``D``, ``Q``, ``P``, ...).

    ``frame[key]`` decodes the object, once; ``frame[key] = object`` encodes it at once, so that an invalid value
    raises here. Objects are frozen: replace one by another (``dataclasses.replace``).

    Keys stand in the order of the bytes: a frame that was read keeps the order it had, until a key is added; else keys
    are sorted bytewise, as IceTray writes them.
    """

    __slots__ = ("_elements", "_entries", "_file", "_index", "_objects", "_offset", "_raw", "_sorted", "_stop")

    def __init__(self, stop: str) -> None:
        if len(stop) != 1 or not "!" <= stop <= "~":
            raise I3Error(f"a frame's stop is one printable ASCII character, not {stop!r}")
        self._stop = stop
        self._entries: dict[str, _Entry] = {}
        self._objects: dict[str, Any] = {}
        self._elements = 0  # of the objects decoded so far
        self._raw: bytes | None = None
        self._sorted = True
        # Where the frame came from, for error messages.
        self._file: str | None = None
        self._index: int | None = None
        self._offset = 0

    @property
    def stop(self) -> str:
        """The stop; ``copy`` makes the same frame at another one."""
        return self._stop

    # --- the mapping --------------------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        """Return the object: None for a null pointer, Opaque for a class that is not described. Raises I3Error."""
        try:
            return self._objects[key]
        except KeyError:
            blob = self._entries[key][1]
        reader = Reader(blob, elements=self._elements)
        try:
            value = catalogue.read(reader)
        except I3Error as error:
            raise self._placed(error, key) from None
        self._elements = reader.elements
        self._objects[key] = value
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        if not key or any(character in key for character in " \t\n"):
            raise I3Error("a key is not empty and has no white space, as in IceTray", key=key)
        try:
            type_name, blob = encode_text(catalogue.type_name(value)), catalogue.encode(value)
        except I3Error as error:
            error.key = key
            raise
        self._put(key, type_name, blob)
        self._objects[key] = value

    def __delitem__(self, key: str) -> None:
        del self._entries[key]
        self._objects.pop(key, None)
        self._raw = None

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries, key=encode_text) if self._sorted else self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Frame {self.stop}: {', '.join(self)}>"

    # --- objects ------------------------------------------------------------------------------------------------------

    def expect(self, key: str, kind: type[_T]) -> _T:
        """Return the object under ``key``, which must be of class ``kind``; raises I3Error."""
        if key not in self._entries:
            names = ", ".join(map(repr, self)) or "none"
            error = I3Error(f"the {self.stop} frame has no such object; it has {names}")
            raise self._placed(error, key)
        value = self[key]
        if not isinstance(value, kind):
            raise self._placed(I3Error(f"expected {kind.__name__}, found {type(value).__name__}"), key)
        return value

    def blob(self, key: str) -> bytes:
        """Return the bytes of an object."""
        return self._entries[key][1]

    def type_name(self, key: str) -> str:
        """Return the C++ type of an object, as the writer's compiler called it."""
        return decode_text(self._entries[key][0])

    def class_name(self, key: str) -> str | None:
        """Return the class name that the object carries; None for a null pointer. Raises I3Error."""
        try:
            return catalogue.class_name(self._entries[key][1])
        except I3Error as error:
            raise self._placed(error, key) from None

    def is_opaque(self, key: str) -> bool:
        """Return whether an object can only be kept as it is: its class, or this version of it, is not described."""
        try:
            return isinstance(self[key], Opaque)
        except UndescribedError:
            return True

    def put_blob(self, key: str, type_name: str, blob: bytes) -> None:
        """Put an object as bytes, which are decoded on demand."""
        if not blob:
            raise I3Error("an object cannot be of 0 bytes", key=key)
        self._put(key, encode_text(type_name), bytes(blob))
        self._objects.pop(key, None)

    def copy(self, stop: str | None = None) -> Frame:
        """Return a frame of the same objects, at another stop if given. The bytes are shared, not copied."""
        result = Frame(self.stop if stop is None else stop)
        result._entries = dict(self._entries)
        result._objects = dict(self._objects)
        result._elements = self._elements
        result._sorted = self._sorted
        result._raw = self._raw if result.stop == self.stop else None
        result._file, result._index, result._offset = self._file, self._index, self._offset
        return result

    def reencoded(self, on_fault: Callable[[I3Error], None] | None = None) -> Frame:
        """Return the same frame with every object decoded and encoded anew, except what is not described.

        An object that cannot be decoded or encoded raises I3Error; with ``on_fault`` the error goes there, and the
        object keeps its bytes.
        """
        result = Frame(self.stop)
        result._sorted = self._sorted
        for key in self:
            type_name, blob, _ = self._entries[key]
            try:
                blob = self._encoded_again(key)
            except UndescribedError:
                pass
            except I3Error as error:
                if on_fault is None:
                    raise
                on_fault(error)
            result._entries[key] = type_name, blob, None
        return result

    def _encoded_again(self, key: str) -> bytes:
        value = self[key]
        try:
            return catalogue.encode(value)
        except I3Error as error:
            raise self._placed(error, key) from None

    def _put(self, key: str, type_name: bytes, blob: bytes) -> None:
        if key not in self._entries:
            try:
                encode_text(key)
            except UnicodeEncodeError as error:
                raise I3Error("a key must be text that UTF-8 can encode", key=key) from error
            self._sorted = True
        self._entries[key] = type_name, blob, None
        self._raw = None

    def _placed(self, error: I3Error, key: str) -> I3Error:
        """Add file, frame, key and offset of an object to an error."""
        error.key, error.frame, error.file = key, self._index, self._file
        position = self._entries[key][2] if key in self._entries else None
        if error.offset is not None and position is not None:
            error.offset += self._offset + position
        return error

    # --- bytes --------------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Return the frame's bytes, version 6; unchanged ones for a frame that was read."""
        if self._raw is not None:
            return self._raw
        pack = U32.pack
        parts = [encode_text(self.stop), pack(len(self._entries))]
        for key in self:
            raw_key = encode_text(key)
            type_name, blob, _ = self._entries[key]
            parts += (pack(len(raw_key)), raw_key, pack(len(type_name)), type_name, pack(len(blob)), blob)
        body = b"".join(parts)
        return b"".join((TAG, U32.pack(CURRENT_VERSION), _STREAM, body, pack(checksum(body))))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read exactly one frame; raises I3Error when it is damaged, or bytes are left over."""
        reader = Reader(bytes(data))
        frame = cls.read(reader)
        if reader.left:
            raise reader.error(f"{reader.left} bytes are left over behind the frame")
        return frame

    @classmethod
    def read(cls, reader: Reader, *, file: str | None = None, index: int | None = None, offset: int = 0) -> Self:
        """Read the next frame; ``file``, ``index`` and ``offset`` (of the reader's bytes) are for later errors.

        Raises I3Error when the frame is damaged; TruncatedError when it goes on behind the reader's bytes.
        """
        begin = reader.position
        version = _read_version(reader)
        if version == 4:
            reader.take(12)  # u64 size and u32 checksum, which IceTray ignores too
        elif version in (2, 3):
            HISTORY.read(reader)
        start = reader.position
        if reader.take(2) != _STREAM:
            raise reader.error("tracking flag and version of the frame's stream must be 0", start)
        stop = reader.take(1)
        if not b"!" <= stop <= b"~":
            raise reader.error(f"a frame's stop is a printable ASCII character, found byte 0x{stop.hex()}", start + 2)
        frame = cls(stop.decode("ascii"))
        frame._sorted = False
        frame._file, frame._index, frame._offset = file, index, offset + begin
        if version == 4:
            HISTORY.read(reader)
        plain = frame._read_objects(reader, begin)
        if version > 4:
            end = reader.position
            found = reader.number(U32)
            covered = reader.data[start + 2 : end] if plain else frame._covered()
            expected = checksum(covered) if version == CURRENT_VERSION else binascii.crc_hqx(covered, 0xFFFF)
            if found != expected:
                raise reader.error(f"checksum {found:08x} stored, {expected:08x} computed: the frame is damaged", end)
        elif version == 3:
            reader.take(12)  # u64 size and u32 checksum, ignored
        frame._raw = reader.data[begin : reader.position]
        return frame

    def _read_objects(self, reader: Reader, begin: int) -> bool:
        """Read the objects; return whether all lengths were written the plain way."""
        data = reader.data
        size = len(data)
        blobs = self._entries
        unpack_from = U32.unpack_from
        fields: list[bytes] = []
        plain = True
        count = reader.number(U32)
        if count > MAX_OBJECTS:
            raise reader.error(f"{count} objects in one frame, at most {MAX_OBJECTS} are read", reader.position - 4)
        for _ in range(count):
            fields.clear()
            position = reader.position
            for _ in range(3):  # key, type name, blob
                if position + 4 > size:
                    reader.position = position
                    raise reader.truncated(position + 4)
                length = unpack_from(data, position)[0]
                position += 4
                if length == COUNT_ESCAPE:
                    plain = False
                    reader.position = position - 4
                    length = reader.count()
                    position = reader.position
                end = position + length
                if end > size:
                    reader.position = position
                    raise reader.truncated(end)
                fields.append(data[position:end])
                position = end
            raw_key, type_name, blob = fields
            key = raw_key.decode("utf-8", "surrogateescape")
            if not blob or key in blobs:
                problem = "the key occurs twice in one frame" if key in blobs else "an object of 0 bytes"
                raise I3Error(problem, offset=reader.position, key=key)
            blobs[key] = type_name, blob, position - len(blob) - begin
            reader.position = position
        return plain

    def _covered(self) -> bytes:
        """Return the bytes that the checksum covers where a length in the file was escaped: all lengths are u32."""
        parts = [encode_text(self.stop), U32.pack(len(self._entries))]
        for key, (type_name, blob, _) in self._entries.items():
            for raw in (encode_text(key), type_name, blob):
                parts += (U32.pack(len(raw) & 0xFFFFFFFF), raw)
        return b"".join(parts)


def _read_version(reader: Reader) -> int:
    """Read the tag and the version; the oldest have no tag."""
    start = reader.take(4)
    if start == TAG:
        version: int = reader.number(U32)
        if not _FIRST_TAGGED <= version <= CURRENT_VERSION:
            raise reader.error(f"frame version {version}, only 0 to {CURRENT_VERSION} are known", 4)
        return version
    version = U32.unpack(start)[0]
    if version >= _FIRST_TAGGED:
        raise reader.error(f"a frame begins with [i3], found {start!r}: is this an .i3 file?", 0)
    return version
