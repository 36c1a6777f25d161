"""Layouts of pulses: series, masks, and the streams of I3SuperDST (format sections 4 and 5)."""

from __future__ import annotations

from typing import Final

from skymap_scanner.i3 import pulse_objects
from skymap_scanner.i3.archive import U8, U16, Reader, Writer
from skymap_scanner.i3.layouts.basic_layouts import F32, F64, OMKEY, UINT8, frame_object, holder
from skymap_scanner.i3.layouts.primitives import TEXT, Class, Dictionary, Items, Member, Plain, Records
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


def _read_bit_mask(reader: Reader) -> BitMask:
    reader.preamble(_BIT_MASK, 0)
    start = reader.position
    size = reader.number(U16)
    padding = reader.number(U8)
    if padding > 8 * size:
        raise reader.error(f"a mask of {size} bytes cannot have {padding} unused bits", start)
    return BitMask(reader.take(size), padding)


def _write_bit_mask(writer: Writer, value: BitMask) -> None:
    writer.preamble(_BIT_MASK, False, 0)
    writer.data += U16.pack(len(value.raw)) + U8.pack(value.padding) + value.raw


_BIT_MASK: Final = "I3RecoPulseSeriesMapMask::bitmask"
#: u16 number of bytes, u8 unused bits of the last, the bytes.
BIT_MASK: Final = Plain(_read_bit_mask, _write_bit_mask)


def _read_size(reader: Reader) -> int:
    """Read an I3SuperDSTUtils::SizeCodec: a byte below 0xF7, or 0xFF minus the number of bytes that follow."""
    reader.preamble(_SIZE, 0)
    tag: int = reader.number(U8)
    return tag if tag < 0xF7 else int.from_bytes(reader.take(0xFF - tag), "little")


def _write_size(writer: Writer, value: int) -> None:
    writer.preamble(_SIZE, False, 0)
    if value < 0xF7:
        writer.data += U8.pack(value)
    else:
        raw = value.to_bytes((value.bit_length() + 7) // 8, "little")
        if len(raw) > 8:
            raise ValueError(f"a size must fit into 64 bits, {value} does not")
        writer.data += U8.pack(0xFF - len(raw)) + raw


_SIZE: Final = "SizeCodec"


class Compact:
    """CompactVector<T>: a SizeCodec and the raw elements of ``itemsize`` bytes; bytes here."""

    def __init__(self, element: str, itemsize: int) -> None:
        self.name = f"CompactVector of {element}"
        self.itemsize = itemsize

    def read(self, reader: Reader) -> bytes:
        reader.preamble(self.name, 0)
        return reader.take(_read_size(reader) * self.itemsize)

    def write(self, writer: Writer, value: bytes) -> None:
        writer.preamble(self.name, False, 0)
        _write_size(writer, len(value) // self.itemsize)
        writer.data += value


COMPACT_BYTES: Final = Compact("uint8_t", 1)


def _read_widths(reader: Reader) -> tuple[bytes, ...]:
    return tuple([COMPACT_BYTES.read(reader) for _ in range(4)])


def _write_widths(writer: Writer, value: tuple[bytes, ...]) -> None:
    if len(value) != 4:
        raise ValueError(f"4 elements are needed, not {len(value)}")
    for stream in value:
        COMPACT_BYTES.write(writer, stream)


WIDTHS: Final = Plain(_read_widths, _write_widths)

SUPER_DST: Final = frame_object(
    "I3SuperDST",
    pulse_objects.I3SuperDST,
    Member("stamps", Compact("ChargeStamp", 2)),
    Member("headers", Compact("DOMHeader", 2)),
    Member("widths", WIDTHS),
    Member("extra", COMPACT_BYTES),
    version=1,
    oldest=1,
)


def _read_triggers(reader: Reader) -> tuple[I3SuperDSTTrigger, ...]:
    """Read triggers: each 4 bits of key, 4 bits of length, the rest of the length, delay."""
    triggers = []
    for _ in range(reader.allow(_read_size(reader))):
        tag = reader.number(U8)
        length = _read_size(reader) << 4 | tag >> 4
        triggers.append(I3SuperDSTTrigger(tag & 0xF, length, _read_size(reader)))
    return tuple(triggers)


def _write_triggers(writer: Writer, value: tuple[I3SuperDSTTrigger, ...]) -> None:
    _write_size(writer, len(value))
    for trigger in value:
        if not 0 <= trigger.key_index <= 0xF:
            raise ValueError(f"key_index must be 0 to 15, not {trigger.key_index}")
        writer.data += U8.pack(trigger.key_index | (trigger.length & 0xF) << 4)
        _write_size(writer, trigger.length >> 4)
        _write_size(writer, trigger.delay)


TRIGGER_LIST: Final = Plain(_read_triggers, _write_triggers)

PULSE_SERIES: Final = Records(RECO_PULSE, "std::vector<I3RecoPulse>")
PULSE_MAP: Final = holder(
    "I3RecoPulseSeriesMap",
    pulse_objects.I3RecoPulseSeriesMap,
    Dictionary(OMKEY, PULSE_SERIES, "std::map<OMKey, std::vector<I3RecoPulse>>"),
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

TRIGGERS: Final = holder("I3SuperDSTTriggerSeries", pulse_objects.I3SuperDSTTriggerSeries, TRIGGER_LIST)
