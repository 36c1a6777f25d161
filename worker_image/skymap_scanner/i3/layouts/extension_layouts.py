"""Layouts of other detectors: radio antennas, scintillators, IceAct telescopes, and modules of the Upgrade."""

from __future__ import annotations

from typing import Final

from skymap_scanner.i3.layouts.basic_layouts import (
    F32,
    F64,
    I32,
    MAP_DOUBLE,
    OMKEY,
    ORIENTATION,
    POSITION,
    STRING,
    TIME,
    UINT8,
    UINT32,
)
from skymap_scanner.i3.layouts.containers import COUNT, FixedArray, Vector
from skymap_scanner.i3.layouts.detector_layouts import LINEAR_FIT, SPE, TAU
from skymap_scanner.i3.layouts.keys import (
    ANTENNA_KEY,
    ICEACT_KEY,
    INT_INTS,
    MODULE_KEY,
    SCINT_KEY,
    UINT16,
    UNSIGNED_DOUBLE,
    UNSIGNED_UNSIGNED,
)
from skymap_scanner.i3.layouts.primitives import BYTES, FLAG, TEXT, Class, Items, Layout, Member, pair
from skymap_scanner.i3.layouts.pulse_layouts import PULSE_SERIES
from skymap_scanner.i3.layouts.readout_layouts import TRIGGER, WAVEFORM_SERIES, series_map
from skymap_scanner.i3.layouts.structures import DOUBLES, each, frame_structure, map_of, structure

# --- where they are ---------------------------------------------------------------------------------------------------

SCINT_GEO: Final = structure(
    "I3ScintGeo",
    Member("position", POSITION),
    Member("orientation", ORIENTATION),
    Member("scint_type", I32),
    Member("height_above_snow", F64),
    Member("scint_name", TEXT),
)
ANTENNA_GEO: Final = structure(
    "I3AntennaGeo",
    Member("position", POSITION),
    Member("orientation", ORIENTATION),
    Member("height_above_snow", F64),
    Member("antenna_name", TEXT),
    version=1,
    oldest=1,
)
PIXEL_POSITIONS: Final = map_of("I3IceActPixelPositionMap", UINT32, POSITION)
ICEACT_GEO: Final = structure(
    "I3IceActGeo",
    Member("position", POSITION),
    Member("orientation", ORIENTATION),
    Member("iceact_type", I32),
    Member("iceact_name", TEXT),
    Member("number_of_pixels", I32),
    Member("pixel_size", F32),
    Member("pixels_to_channels", UNSIGNED_UNSIGNED),
    Member("pixel_positions", PIXEL_POSITIONS),
)
SCINT_GEO_MAP: Final = map_of("I3ScintGeoMap", SCINT_KEY, SCINT_GEO)
ANTENNA_GEO_MAP: Final = map_of("I3AntennaGeoMap", ANTENNA_KEY, ANTENNA_GEO)
ICEACT_GEO_MAP: Final = map_of("I3IceActGeoMap", ICEACT_KEY, ICEACT_GEO)

MODULE_GEO: Final = frame_structure(
    "I3ModuleGeo",
    Member("module_type", I32),
    Member("pos", POSITION),
    Member("orientation", ORIENTATION),
    *each(F64, "radius_r radius_z height"),
    version=1,
    oldest=1,
)

# --- radio antennas ---------------------------------------------------------------------------------------------------

COMPLEX_VECTOR: Final = frame_structure("I3ComplexVector", *each(F64, "x_real x_imag y_real y_imag z_real z_imag"))


def antenna_waveform(name: str, array: Layout) -> Class:
    """Lay out an I3AntennaWaveform: samples, their distance and the first one's place, in ns or GHz."""
    return frame_structure(name, Member("array", array), *each(F64, "binning offset"))


TIME_SERIES: Final = antenna_waveform("AntennaTimeSeries", DOUBLES)
SPECTRUM: Final = antenna_waveform("AntennaSpectrum", Vector("<c16", "std::vector<std::complex<double>>"))
FIELD_TIME_SERIES: Final = antenna_waveform("EFieldTimeSeries", Items(POSITION, "std::vector<I3Position>"))
FIELD_SPECTRUM: Final = antenna_waveform("EFieldSpectrum", Items(COMPLEX_VECTOR, "std::vector<I3ComplexVector>"))


def fft_data(name: str, series: Class, spectrum: Class) -> Class:
    """Lay out an FFTDataContainer."""
    return frame_structure(
        name,
        Member("time_series", series),
        Member("frequency_spectrum", spectrum),
        Member("nyquist_zone", UINT32),
        Member("update_status", I32),
    )


FFT_DATA: Final = fft_data("FFTData", TIME_SERIES, SPECTRUM)
FFT_DATA_3D: Final = fft_data("FFTData3D", FIELD_TIME_SERIES, FIELD_SPECTRUM)
ANTENNA_CHANNEL: Final = frame_structure(
    "I3AntennaChannel",
    *each(F64, "max_amplitude time_at_maximum"),
    Member("is_up_to_date", FLAG),
    Member("fft_data", FFT_DATA),
)
ANTENNA_CHANNELS: Final = map_of("I3AntennaChannelMap", I32, ANTENNA_CHANNEL)
ANTENNA_CAL: Final = structure(
    "I3AntennaCal", *each(I32, "antenna_type cable_type daq_type"), Member("cable_length", F64)
)
ANTENNA_CALS: Final = map_of("I3AntennaCalMap", ANTENNA_KEY, ANTENNA_CAL)
ANTENNA_CALIBRATION: Final = frame_structure(
    "I3AntennaCalibration", Member("antenna_cal", ANTENNA_CALS), *each(TIME, "start_time end_time")
)

# --- modules of the Upgrade -------------------------------------------------------------------------------------------

PMT_CAL: Final = structure(
    "I3PMTCal",
    *each(F64, "relative_pmt_eff noise_rate"),
    Member("spe_charge_distribution", SPE),
    version=1,
    oldest=1,
)
DEGG_CAL: Final = structure(
    "I3DEggCal",
    Member("hv_gain_relation", LINEAR_FIT),
    *each(F64, "pmt_transit_time pmt_transit_time_spread"),
    Member("dac_baseline_relation", LINEAR_FIT),
    Member("temperature", F64),
    Member("tau_params", TAU),
    Member("adc_baseline_rms", F64),
    version=2,
    oldest=2,
)
MDOM_CAL: Final = structure(
    "I3mDOMCal",
    Member("hv_gain_relation", LINEAR_FIT),
    *each(F64, "pmt_transit_time pmt_transit_time_spread adc_baseline_value"),
    Member("adc_baseline_dac", UINT16),
    Member("disc_threshold", F64),
    Member("disc_dac", UINT16),
    Member("adc_baseline_rms", F64),
    version=2,
    oldest=2,
)
DEGG_STATUS: Final = structure(
    "I3DEggStatus",
    Member("enabled", FLAG),
    Member("trig_mode", I32),
    Member("trig_threshold", UINT16),
    Member("fir_coefficients", FixedArray("u1", 16)),
    *each(UINT8, "pre_samples post_samples"),
    Member("pmt_hv", F64),
    Member("baseline_dac", UINT16),
    Member("readout_mode", I32),
    version=1,
    oldest=1,
)
MDOM_STATUS: Final = structure(
    "I3mDOMStatus",
    Member("enabled", FLAG),
    Member("trig_mode", I32),
    Member("adc_threshold", UINT16),
    *each(UINT8, "pre_samples post_samples"),
    Member("pmt_hv", F64),
    *each(UINT16, "adc_baseline_dac disc_dac"),
    Member("readout_mode", I32),
    version=1,
    oldest=1,
)
_VALID: Final = pair(F64, FLAG, "std::pair<double, bool>")
#: ``adc_data`` is delta-compressed; ``time`` and ``baseline_value`` are each a number and whether it is valid.
XDOM_LAUNCH: Final = structure(
    "I3XDOMLaunch",
    Member("time", _VALID),
    Member("lc_flags", I32),
    Member("adc_data", BYTES),
    *each(UINT32, "n_samples n_pre_samples"),
    Member("baseline_value", _VALID),
    *each(I32, "fex_result selection_type"),
    version=1,
    oldest=1,
)
DEGG_LAUNCH: Final = structure("I3DEggLaunch", Member("launch", XDOM_LAUNCH))
TOT_HIT: Final = structure("I3mDOMLaunch::TOTHit", *each(F64, "time tot"))
MDOM_LAUNCH: Final = structure(
    "I3mDOMLaunch",
    Member("launch", XDOM_LAUNCH),
    Member("trigger_type", I32),
    Member("tot_hits", Items(TOT_HIT, "std::vector<I3mDOMLaunch::TOTHit>")),
)
XDOM_HIT: Final = structure(
    "I3XDOMHit", Member("time", F64), Member("lc_flags", I32), Member("charge", F64), version=1, oldest=1
)

# --- others -----------------------------------------------------------------------------------------------------------

#: ``data`` row after row.
MATRIX: Final = frame_structure(
    "I3Matrix",
    Member(
        "matrix",
        structure(
            "ublas_matrix_shim",
            *each(COUNT, "rows columns"),
            Member("storage", structure("ublas_storage_shim", Member("data", DOUBLES))),
        ),
    ),
)
#: CPU time and wall time of a module (s).
RESOURCE_USAGE: Final = frame_structure("I3RUsage", *each(F64, "system user wallclock"))

_ICEACT_PULSES: Final = map_of("I3IceActRecoPulseSeries", UINT32, PULSE_SERIES)
_ICEACT_WAVEFORMS: Final = map_of("I3IceActWaveform", UINT32, WAVEFORM_SERIES)

#: The layouts, each with the type name that IceTray 1.18 shows.
CLASSES: Final[dict[Class, str]] = {
    SCINT_GEO_MAP: "I3Map<ScintKey, I3ScintGeo>",
    ANTENNA_GEO_MAP: "I3Map<AntennaKey, I3AntennaGeo>",
    ICEACT_GEO_MAP: "I3Map<IceActKey, I3IceActGeo>",
    map_of("I3ModuleGeoMap", MODULE_KEY, MODULE_GEO): "I3Map<ModuleKey, I3ModuleGeo>",
    COMPLEX_VECTOR: "I3ComplexVector",
    TIME_SERIES: "I3AntennaWaveform<double>",
    map_of("AntennaTimeSeriesMap", ANTENNA_KEY, TIME_SERIES): "I3Map<AntennaKey, I3AntennaWaveform<double> >",
    SPECTRUM: "I3AntennaWaveform<complex<double> >",
    map_of("AntennaSpectrumMap", ANTENNA_KEY, SPECTRUM): "I3Map<AntennaKey, I3AntennaWaveform<complex<double> > >",
    FIELD_TIME_SERIES: "I3AntennaWaveform<I3Position>",
    map_of("EFieldTimeSeriesMap", ANTENNA_KEY, FIELD_TIME_SERIES): "I3Map<AntennaKey, I3AntennaWaveform<I3Position> >",
    FIELD_SPECTRUM: "I3AntennaWaveform<I3ComplexVector>",
    map_of("EFieldSpectrumMap", ANTENNA_KEY, FIELD_SPECTRUM): "I3Map<AntennaKey, I3AntennaWaveform<I3ComplexVector> >",
    FFT_DATA: "FFTDataContainer<double, complex<double> >",
    map_of("FFTDataMap", ANTENNA_KEY, FFT_DATA): "I3Map<AntennaKey, FFTDataContainer<double, complex<double> > >",
    FFT_DATA_3D: "FFTDataContainer<I3Position, I3ComplexVector>",
    map_of("FFTData3DMap", ANTENNA_KEY, FFT_DATA_3D): (
        "I3Map<AntennaKey, FFTDataContainer<I3Position, I3ComplexVector> >"
    ),
    ANTENNA_CHANNEL: "I3AntennaChannel",
    ANTENNA_CHANNELS: "I3Map<int, I3AntennaChannel>",
    map_of("I3AntennaDataMap", ANTENNA_KEY, ANTENNA_CHANNELS): "I3Map<AntennaKey, I3Map<int, I3AntennaChannel> >",
    ANTENNA_CALS: "I3Map<AntennaKey, I3AntennaCal>",
    ANTENNA_CALIBRATION: "I3AntennaCalibration",
    map_of("I3IceActBoolMap", ICEACT_KEY, FLAG): "I3Map<IceActKey, bool>",
    map_of("I3IceActDoubleMap", ICEACT_KEY, F64): "I3Map<IceActKey, double>",
    map_of("I3IceActIntMap", ICEACT_KEY, I32): "I3Map<IceActKey, int>",
    map_of("I3IceActUnsignedMap", ICEACT_KEY, UINT32): "I3Map<IceActKey, unsigned int>",
    map_of("I3IceActStringMap", ICEACT_KEY, STRING): "I3Map<IceActKey, I3PODHolder<__cxx11::string > >",
    PIXEL_POSITIONS: "I3Map<unsigned int, I3Position>",
    _ICEACT_PULSES: "I3Map<unsigned int, vector<I3RecoPulse> >",
    map_of("I3IceActRecoPulseSeriesMap", ICEACT_KEY, _ICEACT_PULSES): (
        "I3Map<IceActKey, I3Map<unsigned int, vector<I3RecoPulse> > >"
    ),
    _ICEACT_WAVEFORMS: "I3Map<unsigned int, vector<I3Waveform> >",
    map_of("I3IceActWaveformMap", ICEACT_KEY, _ICEACT_WAVEFORMS): (
        "I3Map<IceActKey, I3Map<unsigned int, vector<I3Waveform> > >"
    ),
    map_of("I3IceActTriggerMap", ICEACT_KEY, TRIGGER): "I3Map<IceActKey, I3Trigger>",
    map_of("I3IceActTelescopePixelDoubleMap", ICEACT_KEY, UNSIGNED_DOUBLE): (
        "I3Map<IceActKey, I3Map<unsigned int, double> >"
    ),
    map_of("I3IceActTelescopePixelUnsignedMap", ICEACT_KEY, UNSIGNED_UNSIGNED): (
        "I3Map<IceActKey, I3Map<unsigned int, unsigned int> >"
    ),
    map_of("I3IceActTelescopePixelVectorIntMap", ICEACT_KEY, INT_INTS): "I3Map<IceActKey, I3Map<int, vector<int> > >",
    map_of("I3IceActTelescopeStringDoubleMap", ICEACT_KEY, MAP_DOUBLE): (
        "I3Map<IceActKey, I3Map<__cxx11::string, double> >"
    ),
    map_of("I3PMTCalMap", OMKEY, PMT_CAL): "I3Map<OMKey, I3PMTCal>",
    map_of("I3DEggCalMap", OMKEY, DEGG_CAL): "I3Map<OMKey, I3DEggCal>",
    map_of("I3mDOMCalMap", OMKEY, MDOM_CAL): "I3Map<OMKey, I3mDOMCal>",
    map_of("I3DEggStatusMap", OMKEY, DEGG_STATUS): "I3Map<OMKey, I3DEggStatus>",
    map_of("I3mDOMStatusMap", OMKEY, MDOM_STATUS): "I3Map<OMKey, I3mDOMStatus>",
    series_map("I3DEggLaunchSeriesMap", OMKEY, DEGG_LAUNCH, "I3DEggLaunch"): "I3Map<OMKey, vector<I3DEggLaunch> >",
    series_map("I3mDOMLaunchSeriesMap", OMKEY, MDOM_LAUNCH, "I3mDOMLaunch"): "I3Map<OMKey, vector<I3mDOMLaunch> >",
    series_map("I3XDOMHitSeriesMap", OMKEY, XDOM_HIT, "I3XDOMHit"): "I3Map<OMKey, vector<I3XDOMHit> >",
    MATRIX: "I3Matrix",
    RESOURCE_USAGE: "I3RUsage",
}
