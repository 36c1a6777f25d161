"""Enumerations of IceTray's classes. In objects, a number without a name stays a plain int (as sums of bits do)."""

from __future__ import annotations

from enum import IntEnum


class TriggerSource(IntEnum):
    """TriggerKey::SourceID: which subdetector triggered."""

    IN_ICE = 0
    ICE_TOP = 10
    AMANDA_TWR_DAQ = 20
    EXTERNAL = 30
    GLOBAL = 40
    AMANDA_MUON_DAQ = 50
    SPASE = 70
    UNKNOWN_SOURCE = 80
    IN_ICE_PULSES = 90


class TriggerType(IntEnum):
    """TriggerKey::TypeID: by which algorithm."""

    SIMPLE_MULTIPLICITY = 0
    CALIBRATION = 10
    MIN_BIAS = 20
    THROUGHPUT = 30
    TWO_COINCIDENCE = 40
    THREE_COINCIDENCE = 50
    MERGED = 70
    SLOW_PARTICLE = 80
    FAINT_PARTICLE = 90
    FRAGMENT_MULTIPLICITY = 105
    STRING = 120
    VOLUME = 125
    SPHERE = 127
    UNBIASED = 129
    SPASE_2 = 170
    UNKNOWN_TYPE = 180


class TriggerSubtype(IntEnum):
    """TriggerKey::SubtypeID."""

    NO_SUBTYPE = 0
    M18 = 50
    M24 = 100
    T0 = 150
    LASER = 200
    UNKNOWN_SUBTYPE = 250


class Subdetector(IntEnum):
    """I3TriggerStatus::Subdetector: what a readout window is for."""

    NOT_SPECIFIED = -1
    ALL = 0
    ICETOP = 1
    INICE = 2


class LaunchTrigger(IntEnum):
    """I3DOMLaunch::TriggerType."""

    TEST_PATTERN = 0
    CPU_REQUESTED = 1
    SPE_DISCRIMINATOR_TRIGGER = 2
    FLASHER_BOARD_TRIGGER = 3
    MPE_DISCRIMINATOR_TRIGGER = 4
    ONBOARD_LED = 5


class LaunchMode(IntEnum):
    """I3DOMLaunch::TriggerMode: single bits; sums of them stay plain ints."""

    UNDEFINED = 0
    REQUIRE_BOTH = 1
    FR_RUN = 2
    LC_LOWER = 4
    LC_UPPER = 8
    UNKNOWN_MODE = 16
    SLC_READOUT = 256
    MIN_BIAS = 512
    LAST_TRIGGER_SITUATION = 65536


class Chip(IntEnum):
    """I3DOMLaunch::ATWDselect."""

    UNKNOWN_CHIP = 0
    ATWDa = 1
    ATWDb = 2


class WaveformStatus(IntEnum):
    """I3Waveform::Status: single bits; sums of them stay plain ints."""

    VIRGINAL = 0
    COMBINED = 2
    SATURATED = 4
    UNDERSHOT = 8


class HitSource(IntEnum):
    """I3MCHit::HitSource."""

    UNKNOWN = 0
    SPE = 10
    RANDOM = 20
    AFTER_PULSE = 30
    PRE_PULSE = 40
    ELASTIC_LATE_PULSE = 50
    INELASTIC_LATE_PULSE = 60
    EARLY_AFTER_PULSE = 70


class TrigMode(IntEnum):
    """I3DOMStatus::TrigMode."""

    UnknownTrigMode = -1
    TestPattern = 0
    CPU = 1
    SPE = 2
    Flasher = 3
    MPE = 4


class LCMode(IntEnum):
    """I3DOMStatus::LCMode: for which neighbours' signals a DOM listens, or to which it sends."""

    UnknownLCMode = -1
    LCOff = 0
    UpOrDown = 1
    Up = 2
    Down = 3
    UpAndDown = 4
    SoftLC = 5


class OnOff(IntEnum):
    """I3DOMStatus::OnOff."""

    Unknown = -1
    Off = 0
    On = 1


class DOMGain(IntEnum):
    """I3DOMStatus::DOMGain: high in the ice; IceTop has both."""

    UnknownGainType = -1
    High = 0
    Low = 1


class CableType(IntEnum):
    """I3DOMStatus::CableType."""

    UnknownCableType = -1
    Terminated = 0
    Unterminated = 1
