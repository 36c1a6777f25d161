"""Layouts of calibration and status of the detector (C and D frames)."""

from __future__ import annotations

from typing import Any, Final

from skymap_scanner.i3 import enumerations as names
from skymap_scanner.i3.archive import Reader, UndescribedError, Writer
from skymap_scanner.i3.layouts.basic_layouts import F64, I32, OMKEY, TIME, UINT32
from skymap_scanner.i3.layouts.containers import FixedArray, FixedItems, Pointer, Unannounced, Versions
from skymap_scanner.i3.layouts.keys import TRIGGER_KEY
from skymap_scanner.i3.layouts.primitives import (
    FLAG,
    TEXT,
    Class,
    Dictionary,
    Enumeration,
    Items,
    Layout,
    Member,
    Plain,
)
from skymap_scanner.i3.layouts.structures import each, frame_structure, map_of, structure
from skymap_scanner.i3.time import I3Time

LINEAR_FIT: Final = structure("LinearFit", *each(F64, "slope intercept"))
QUADRATIC_FIT: Final = structure("QuadraticFit", *each(F64, "quad_fit_a quad_fit_b quad_fit_c"))
TAU: Final = structure("TauParam", *each(F64, "p0 p1 p2 p3 p4 p5 tau_frac"))

_PDF: Final = Pointer(
    "boost::shared_ptr<SPEChargeDistribution::PDF>",
    structure("SPEChargeDistribution::Gaussian", *each(F64, "amplitude mean sigma")),
    structure("SPEChargeDistribution::Exponential", *each(F64, "amplitude width")),
    base="SPEChargeDistribution::PDF",
)
_DOUBLES: Final = Unannounced("<f8", "std::vector<double>")
_RESIDUALS: Final = structure("SPEChargeDistribution::Residuals", *each(_DOUBLES, "x y"))
#: The charge of single photoelectrons. Each version is written as it was read: IceTray turns the older ones into the
#: newest with a table of its own.
SPE: Final = Versions(
    structure(
        "SPEChargeDistribution",
        Member("pdfs", Items(_PDF, "std::vector of pointers to PDFs")),
        *each(F64, "compensation_factor fadc_charge_scale"),
        Member("residuals", Pointer("boost::shared_ptr<SPEChargeDistribution::Residuals>", _RESIDUALS)),
        Member("integral_ul", F64, since=4, default=10.0),
        version=4,
        oldest=3,
    ),
    structure(
        "SPEChargeDistribution2",
        *each(F64, "exp2_amp exp2_width exp1_amp exp1_width compensation_factor"),
        *each(F64, "slc_gaus_mean gaus_amp gaus_mean gaus_width"),
        version=2,
        oldest=2,
    ),
    structure(
        "SPEChargeDistribution1", *each(F64, "exp_amp exp_width gaus_amp gaus_mean gaus_width"), version=1, oldest=1
    ),
)

#: IceTray's time of a DOMCal run that no one noted: day 0 of the modified Julian date.
_NO_TIME: Final = I3Time.from_mjd(0.0)
DOM_CALIBRATION: Final = structure(
    "I3DOMCalibration",
    *each(F64, "temperature fadc_gain"),
    Member("fadc_baseline_fit", LINEAR_FIT),
    Member("fadc_delta_t", F64),
    Member("atwd_gain", FixedArray("<f8", 3)),
    Member("atwd_freq_fit", FixedItems(QUADRATIC_FIT, 2)),
    Member("atwd_bin_calib_slope", FixedArray("<f8", 2, 3, 128)),
    *each(LINEAR_FIT, "transit_time hv_gain_fit"),
    Member("front_end_impedance", F64),
    Member("dom_cal_version", TEXT),
    Member("tau_parameters", TAU),
    Member("atwd_delta_t", FixedArray("<f8", 2)),
    *each(LINEAR_FIT, "spe_disc_calib mpe_disc_calib pmt_disc_calib"),
    *each(F64, "relative_dom_eff dom_noise_rate"),
    Member("atwd_beacon_baseline", FixedArray("<f8", 2, 3)),
    *each(F64, "fadc_beacon_baseline dom_noise_thermal_rate dom_noise_decay_rate"),
    *each(F64, "dom_noise_scintillation_mean dom_noise_scintillation_sigma dom_noise_scintillation_hits"),
    Member("combined_spe_charge_distribution", SPE),
    *each(F64, "mean_atwd_charge_correction mean_fadc_charge_correction"),
    Member("dom_cal_time", TIME, since=13, default=_NO_TIME),
    version=13,
    oldest=12,
)
VEM_CALIBRATION: Final = structure(
    "I3VEMCalibration", *each(F64, "pe_per_vem mu_peak_width hglg_cross_over corr_factor")
)
_DOM_CALIBRATIONS: Final = Dictionary(OMKEY, DOM_CALIBRATION, "std::map<OMKey, I3DOMCalibration>")
_VEM_CALIBRATIONS: Final = Dictionary(OMKEY, VEM_CALIBRATION, "std::map<OMKey, I3VEMCalibration>")


def undescribed(name: str) -> Layout:
    """Lay out a class that is known by its name only: a container of it can be read where it is empty."""

    def read(reader: Reader) -> Any:
        raise UndescribedError(f"{name} is not described", offset=reader.position)

    def write(_writer: Writer, _value: Any) -> None:
        raise ValueError(f"{name} is not described")

    return Plain(read, write)


def _empty_map(key: Layout, name: str) -> Dictionary:
    return Dictionary(key, undescribed(name), f"std::map of {name}")


CALIBRATION: Final = frame_structure(
    "I3Calibration",
    Member("dom_cal", _DOM_CALIBRATIONS),
    Member("", _empty_map(OMKEY, "I3AMANDAOMCalibration"), until=3),
    Member("vem_cal", _VEM_CALIBRATIONS, since=2),
    Member("", _empty_map(OMKEY, "TWRCalibration"), since=3, until=3),
    *[Member("", F64, since=3, until=3)] * 2,
    *each(TIME, "start_time end_time"),
    version=4,
    oldest=2,
)

SLC_CALIBRATION: Final = structure(
    "I3IceTopSLCCalibration",
    *each(F64, "intercept_c0a0 intercept_c0a1 intercept_c0a2 intercept_c1a0 intercept_c1a1 intercept_c1a2"),
    *each(F64, "slope_c0a0 slope_c0a1 slope_c0a2 slope_c1a0 slope_c1a1 slope_c1a2"),
    *each(F64, "intercept_cunka0 intercept_cunka1 intercept_cunka2 slope_cunka0 slope_cunka1 slope_cunka2"),
    *each(F64, "a0_a1_crossover a1_a2_crossover"),
)
SLC_CALIBRATIONS: Final = frame_structure(
    "I3IceTopSLCCalibrationCollection",
    Member("it_slc_cal", map_of("I3IceTopSLCCalibrationMap", OMKEY, SLC_CALIBRATION)),
    *each(I32, "start_run end_run provenance"),
    version=1,
    oldest=1,
)

DOM_STATUS: Final = structure(
    "I3DOMStatus",
    Member("trig_mode", Enumeration(names.TrigMode)),
    Member("lc_mode", Enumeration(names.LCMode)),
    *each(F64, "lc_window_pre lc_window_post"),
    Member("lc_span", UINT32),
    *each(Enumeration(names.OnOff), "status_atwd_a status_atwd_b status_fadc"),
    *each(F64, "pmt_hv spe_threshold fe_pedestal dac_trigger_bias_0 dac_trigger_bias_1 dac_fadc_ref"),
    *each(UINT32, "n_bins_atwd_0 n_bins_atwd_1 n_bins_atwd_2 n_bins_atwd_3 n_bins_fadc"),
    Member("fb_state", Enumeration(names.OnOff)),
    *each(UINT32, "fb_brightness fb_length fb_delay fb_mask fb_rate"),
    Member("dom_gain_type", Enumeration(names.DOMGain)),
    Member("cable_type", Enumeration(names.CableType)),
    Member("delta_compress", Enumeration(names.OnOff)),
    Member("slc_active", FLAG),
    Member("mpe_threshold", F64),
    Member("tx_mode", Enumeration(names.LCMode), since=6, default=names.LCMode.UnknownLCMode),
    version=6,
    oldest=5,
)
READOUT_CONFIG: Final = structure(
    "I3TriggerReadoutConfig", *each(F64, "readout_time_minus readout_time_plus readout_time_offset")
)
TRIGGER_STATUS: Final = structure(
    "I3TriggerStatus",
    Member("trigger_name", TEXT),
    Member("trigger_settings", Dictionary(TEXT, TEXT, "std::map<std::string, std::string>")),
    Member(
        "readout_settings",
        Dictionary(Enumeration(names.Subdetector), READOUT_CONFIG, "std::map<Subdetector, I3TriggerReadoutConfig>"),
    ),
    version=3,
    oldest=3,
)
_TRIGGER_STATUSES: Final = Dictionary(TRIGGER_KEY, TRIGGER_STATUS, "std::map<TriggerKey, I3TriggerStatus>")
DETECTOR_STATUS: Final = frame_structure(
    "I3DetectorStatus",
    Member("dom_status", Dictionary(OMKEY, DOM_STATUS, "std::map<OMKey, I3DOMStatus>")),
    Member("", _empty_map(OMKEY, "TWRAOMStatus"), since=1, until=3),
    Member("trigger_status", _TRIGGER_STATUSES),
    Member("", _TRIGGER_STATUSES, since=2, until=3),
    *each(TIME, "start_time end_time"),
    Member("daq_configuration_name", TEXT, since=3, default=""),
    version=4,
)

_STRINGS: Final = Items(TEXT, "std::vector<std::string>")
#: How a file was made. Its modules' parameters are not described: a tray without modules is read.
TRAY_INFO: Final = frame_structure(
    "I3TrayInfo",
    Member("host_info", Dictionary(TEXT, TEXT, "std::map<std::string, std::string>")),
    *each(TEXT, "svn_url svn_externals"),
    Member("svn_revision", UINT32),
    *each(_STRINGS, "modules_in_order factories_in_order"),
    *each(_empty_map(TEXT, "I3Configuration"), "module_configs factory_configs"),
    version=2,
    oldest=2,
)

#: The layouts, each with the type name that IceTray 1.18 shows.
CLASSES: Final[dict[Class, str]] = {
    CALIBRATION: "I3Calibration",
    SLC_CALIBRATIONS: "I3IceTopSLCCalibrationCollection",
    DETECTOR_STATUS: "I3DetectorStatus",
    TRAY_INFO: "I3TrayInfo",
}
