"""Layouts of what a readout holds: triggers, filters, launches, waveforms, hits, pulse maps made of others."""

from __future__ import annotations

from math import nan
from typing import Final

from skymap_scanner.i3.enumerations import Chip, HitSource, LaunchMode, LaunchTrigger, WaveformStatus
from skymap_scanner.i3.layouts.basic_layouts import F64, I32, OMKEY, UINT8, UINT32, UINT64, VECTOR_INT
from skymap_scanner.i3.layouts.containers import WAVEFORM, WAVEFORMS, CountedTree
from skymap_scanner.i3.layouts.keys import SCINT_KEY, TRIGGER_KEY
from skymap_scanner.i3.layouts.primitives import FLAG, TEXT, Class, Enumeration, Items, Layout, Member, Number, pair
from skymap_scanner.i3.layouts.pulse_layouts import PULSE_SERIES
from skymap_scanner.i3.layouts.structures import (
    DOUBLES,
    INTS,
    container,
    each,
    frame_structure,
    map_of,
    structure,
    vector_of,
)


def series_map(name: str, key: Class, element: Layout, element_name: str) -> Class:
    """Lay out a map of vectors of a class."""
    return map_of(name, key, Items(element, f"std::vector<{element_name}>"))


TRIGGER: Final = structure(
    "I3Trigger",
    *each(F64, "time length"),
    Member("fired", FLAG),
    Member("key", TRIGGER_KEY),
    version=1,
    oldest=1,
)
FILTER_RESULT: Final = frame_structure("I3FilterResult", *each(FLAG, "condition_passed prescale_passed"))

#: The waveforms (ADC counts) of the four ATWD channels and of the FADC; ``to_array()`` decompresses one.
DOM_LAUNCH: Final = structure(
    "I3DOMLaunch",
    Member("start_time", F64),
    Member("trigger_type", Enumeration(LaunchTrigger)),
    Member("trigger_mode", Enumeration(LaunchMode)),
    Member("which_atwd", Enumeration(Chip)),
    Member("raw_atwd", WAVEFORMS),
    Member("raw_fadc", WAVEFORM),
    Member("lc_bit", FLAG),
    Member("raw_charge_stamp", VECTOR_INT, until=4, upgrade=lambda vector: vector.value),
    Member("raw_charge_stamp", INTS, since=5),
    Member("is_pedestal_sub", FLAG),
    Member("charge_stamp_highest_sample", UINT32),
    Member("raw_atwd_charge_stamp", UINT32, since=4, default=0),
    Member("which_atwd_charge_stamp", UINT32, since=4, default=0),
    version=5,
    oldest=3,
)

#: What I3Waveform called virginal and shady before version 3; the rest was adulterated.
_OLD_STATUSES: Final = {0: WaveformStatus.VIRGINAL, 10: WaveformStatus.COMBINED}
WAVEFORM_STATUS: Final = structure(
    "I3Waveform::StatusCompound",
    Member("interval", pair(UINT64, UINT64, "std::pair<unsigned long long, unsigned long long>")),
    Member("status", UINT32, until=2, upgrade=lambda status: _OLD_STATUSES.get(status, WaveformStatus.SATURATED)),
    Member("status", Enumeration(WaveformStatus), since=3),
    Member("channel", Number("b"), since=3, default=-1),
    version=3,
)
#: ``source`` as bits: digitiser (3), its chip (1), hard local coincidence (1).
CALIBRATED_WAVEFORM: Final = structure(
    "I3Waveform",
    *each(F64, "start_time bin_width"),
    Member("waveform", DOUBLES),
    Member(
        "waveform_information",
        Items(WAVEFORM_STATUS, "std::vector<I3Waveform::StatusCompound>"),
        since=1,
        default=(),
    ),
    Member("source", I32, until=2, upgrade=lambda source: source // 10 & 7),
    Member("source", UINT8, since=3),
    version=3,
)
WAVEFORM_SERIES: Final = Items(CALIBRATED_WAVEFORM, "std::vector<I3Waveform>")


def _whole(weight: float) -> int:
    """Turn a weight into a number of photoelectrons, as C++ does where there is one."""
    return int(weight) if 0 <= weight < 2**64 else 0


MC_HIT: Final = structure(
    "I3MCHit",
    Member("time", F64),
    Member("hit_id", I32),
    Member("npe", F64, until=2, upgrade=_whole),
    Member("npe", UINT64, since=3),
    Member("charge", F64, since=3, default=nan),
    Member("particle_minor_id", I32),
    Member("particle_major_id", UINT64, since=1, default=0),
    Member("cherenkov_distance", F64),
    Member("hit_source", Enumeration(HitSource), since=2, default=HitSource.UNKNOWN),
    version=3,
)
RECO_HIT: Final = structure("I3RecoHit", Member("time", F64), *each(I32, "hit_id source_index"), version=1, oldest=1)
NOISE_RECORD: Final = structure(
    "I3NoiseSuppressionRecord",
    *each(F64, "time exclusion_window_size lc_window_size"),
    Member("noise_hits", UINT32),
)

FLASHER_STATUS: Final = frame_structure(
    "I3FlasherStatus", *each(I32, "brightness window rate mask delay"), version=1, oldest=1
)
FLASHER_STATUS_MAP: Final = map_of("I3FlasherStatusMap", OMKEY, FLASHER_STATUS)
FLASHER_INFO: Final = frame_structure(
    "I3FlasherInfo",
    Member("flashing_om", OMKEY),
    *each(F64, "flash_time atwd_bin_size"),
    Member("raw_atwd3", INTS),
    *each(I32, "mask led_brightness width rate"),
    version=1,
    oldest=1,
)

#: Pulse maps made of others; `resolve_pulses` follows them.
UNION: Final = frame_structure("I3RecoPulseSeriesMapUnion", Member("keys", Items(TEXT, "std::vector<std::string>")))
BY_MODULE: Final = frame_structure("I3RecoPulseSeriesMapCombineByModule", Member("pulses_key", TEXT))
SPE_CORRECTED: Final = frame_structure(
    "I3RecoPulseSeriesMapApplySPECorrection", *each(TEXT, "pulses_key calibration_key")
)

#: The layouts, each with the type name that IceTray 1.18 shows.
CLASSES: Final[dict[Class, str]] = {
    UNION: "I3RecoPulseSeriesMapUnion",
    BY_MODULE: "I3RecoPulseSeriesMapCombineByModule",
    SPE_CORRECTED: "I3RecoPulseSeriesMapApplySPECorrection",
    container("I3TriggerHierarchy", CountedTree(TRIGGER)): "I3Tree<I3Trigger>",
    vector_of("I3VectorI3Trigger", TRIGGER): "I3Vector<I3Trigger>",
    FILTER_RESULT: "I3FilterResult",
    map_of("I3FilterResultMap", TEXT, FILTER_RESULT): "I3Map<__cxx11::string, I3FilterResult>",
    series_map("I3DOMLaunchSeriesMap", OMKEY, DOM_LAUNCH, "I3DOMLaunch"): "I3Map<OMKey, vector<I3DOMLaunch> >",
    map_of("I3WaveformSeriesMap", OMKEY, WAVEFORM_SERIES): "I3Map<OMKey, vector<I3Waveform> >",
    map_of("I3ScintWaveformSeriesMap", SCINT_KEY, WAVEFORM_SERIES): "I3Map<ScintKey, vector<I3Waveform> >",
    map_of("I3ScintRecoPulseSeriesMap", SCINT_KEY, PULSE_SERIES): "I3Map<ScintKey, vector<I3RecoPulse> >",
    series_map("I3MCHitSeriesMap", OMKEY, MC_HIT, "I3MCHit"): "I3Map<OMKey, vector<I3MCHit> >",
    series_map("I3RecoHitSeriesMap", OMKEY, RECO_HIT, "I3RecoHit"): "I3Map<OMKey, vector<I3RecoHit> >",
    series_map("I3NoiseSuppressionRecordSeriesMap", OMKEY, NOISE_RECORD, "I3NoiseSuppressionRecord"): (
        "I3Map<OMKey, vector<I3NoiseSuppressionRecord> >"
    ),
    FLASHER_INFO: "I3FlasherInfo",
    vector_of("I3FlasherInfoVect", FLASHER_INFO): "I3Vector<I3FlasherInfo>",
    FLASHER_STATUS: "I3FlasherStatus",
    FLASHER_STATUS_MAP: "I3Map<OMKey, I3FlasherStatus>",
    map_of("I3FlasherSubrunMap", UINT32, FLASHER_STATUS_MAP): "I3Map<unsigned int, I3Map<OMKey, I3FlasherStatus> >",
}
