"""Layouts of pulses: series, masks, and the streams of I3SuperDST (format sections 4 and 5)."""

from __future__ import annotations

from typing import Any, Final

from skymap_scanner.i3 import pulse_objects
from skymap_scanner.i3.archive import U8, U16, Reader, Writer
from skymap_scanner.i3.layouts.basic_layouts import F32, F64, OMKEY, TEXT, UINT8, frame_object, holder
from skymap_scanner.i3.layouts.primitives import Class, Dictionary, Items, Layout, Member, Records
from skymap_scanner.i3.pulse_objects import BitMask, I3SuperDSTTrigger

RECO_PULSE: Final = Class(
    "I3RecoPulse",
    pulse_objects.I3RecoPulse,
    [
        Member("time", F32, until=2),
        Member("time", F64, since=3),
        Member("charge", F32),
        Member("width", F32),
        Member("flags", UINT8),
    ],
    version=3,
    oldest=2,
)


class BitMaskLayout:
    """I3RecoPulseSeriesMapMask::bitmask: u16 number of bytes, u8 unused bits of the last, the bytes."""

    name: Final = "I3RecoPulseSeriesMapMask::bitmask"

    def read(self, reader: Reader) -> BitMask:
        """Read one value; raises I3Error."""
        reader.preamble(self.name, 0)
        start = reader.position
        size = reader.number(U16)
        padding = reader.number(U8)
        if padding > 8 * size:
            raise reader.error(f"a mask of {size} bytes cannot have {padding} unused bits", start)
        return BitMask(reader.take(size), padding)

    def write(self, writer: Writer, value: BitMask) -> None:
        """Write one value."""
        writer.preamble(self.name, False, 0)
        writer.data += U16.pack(len(value.raw)) + U8.pack(value.padding) + value.raw


BIT_MASK: Final = BitMaskLayout()


class Size:
    """I3SuperDSTUtils::SizeCodec: one byte below 0xF7; else 0xFF minus the number of bytes that follow."""

    name: Final = "SizeCodec"

    def read(self, reader: Reader) -> int:
        """Read one value; raises I3Error."""
        reader.preamble(self.name, 0)
        tag: int = reader.number(U8)
        return tag if tag < 0xF7 else int.from_bytes(reader.take(0xFF - tag), "little")

    def write(self, writer: Writer, value: int) -> None:
        """Write one value."""
        writer.preamble(self.name, False, 0)
        if value < 0xF7:
            writer.data += U8.pack(value)
        else:
            raw = value.to_bytes((value.bit_length() + 7) // 8, "little")
            if len(raw) > 8:
                raise ValueError(f"a size must fit into 64 bits, {value} does not")
            writer.data += U8.pack(0xFF - len(raw)) + raw


SIZE: Final = Size()


class Compact:
    """CompactVector<T>: a SizeCodec and the raw elements of ``itemsize`` bytes; bytes here."""

    def __init__(self, element: str, itemsize: int) -> None:
        self.name = f"CompactVector of {element}"
        self.itemsize = itemsize

    def read(self, reader: Reader) -> bytes:
        """Read one value; raises I3Error."""
        reader.preamble(self.name, 0)
        return reader.take(SIZE.read(reader) * self.itemsize)

    def write(self, writer: Writer, value: bytes) -> None:
        """Write one value."""
        writer.preamble(self.name, False, 0)
        SIZE.write(writer, len(value) // self.itemsize)
        writer.data += value


class Repeat:
    """A fixed number of members of one type; a tuple here."""

    def __init__(self, layout: Layout, times: int) -> None:
        self.layout = layout
        self.times = times

    def read(self, reader: Reader) -> tuple[Any, ...]:
        """Read one value; raises I3Error."""
        return tuple([self.layout.read(reader) for _ in range(self.times)])

    def write(self, writer: Writer, value: tuple[Any, ...]) -> None:
        """Write one value."""
        if len(value) != self.times:
            raise ValueError(f"{self.times} elements are needed, not {len(value)}")
        for element in value:
            self.layout.write(writer, element)


COMPACT_BYTES: Final = Compact("uint8_t", 1)

SUPER_DST: Final = frame_object(
    "I3SuperDST",
    pulse_objects.I3SuperDST,
    Member("stamps", Compact("ChargeStamp", 2)),
    Member("headers", Compact("DOMHeader", 2)),
    Member("widths", Repeat(COMPACT_BYTES, 4)),
    Member("extra", COMPACT_BYTES),
    version=1,
    oldest=1,
)


class Triggers:
    """The triggers of I3SuperDSTTriggerSeries: each 4 bits of key, 4 bits of length, the rest of the length, delay."""

    def read(self, reader: Reader) -> tuple[I3SuperDSTTrigger, ...]:
        """Read one value; raises I3Error."""
        triggers = []
        for _ in range(SIZE.read(reader)):
            tag = reader.number(U8)
            length = SIZE.read(reader) << 4 | tag >> 4
            triggers.append(I3SuperDSTTrigger(tag & 0xF, length, SIZE.read(reader)))
        return tuple(triggers)

    def write(self, writer: Writer, value: tuple[I3SuperDSTTrigger, ...]) -> None:
        """Write one value."""
        SIZE.write(writer, len(value))
        for trigger in value:
            if not 0 <= trigger.key_index <= 0xF:
                raise ValueError(f"key_index must be 0 to 15, not {trigger.key_index}")
            writer.data += U8.pack(trigger.key_index | (trigger.length & 0xF) << 4)
            SIZE.write(writer, trigger.length >> 4)
            SIZE.write(writer, trigger.delay)


PULSE_MAP: Final = holder(
    "I3RecoPulseSeriesMap",
    pulse_objects.I3RecoPulseSeriesMap,
    Dictionary(OMKEY, Records(RECO_PULSE, "std::vector<I3RecoPulse>"), "std::map<OMKey, std::vector<I3RecoPulse>>"),
)

#: Version 1 has a time reference (f32) that nothing uses.
PULSE_MASK: Final = frame_object(
    "I3RecoPulseSeriesMapMask",
    pulse_objects.I3RecoPulseSeriesMapMask,
    Member("source", TEXT),
    Member("", F32, since=1, until=1),
    Member("omkey_mask", BIT_MASK),
    Member("pulse_masks", Items(BIT_MASK, "std::vector<bitmask>")),
    version=2,
    oldest=1,
)

TRIGGERS: Final = holder("I3SuperDSTTriggerSeries", pulse_objects.I3SuperDSTTriggerSeries, Triggers())
