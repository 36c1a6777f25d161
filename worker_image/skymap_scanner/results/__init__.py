"""The results of a scan: the result file, the map, its contours, pictures and a summary.

    ScanResult -> multi_order_map -> contours -> FITS, GeoJSON, PNG, summary

``write_results`` makes all files of a result; every step before the files is a pure function of the one before it.
"""

from skymap_scanner.results.outputs import check_formats, choose_formats, write_results
from skymap_scanner.results.result import PIXEL, ScanMetadata, ScanResult
from skymap_scanner.results.rule import IC160427A, WILKS, ContourRule

__all__ = [
    "IC160427A",
    "PIXEL",
    "WILKS",
    "ContourRule",
    "ScanMetadata",
    "ScanResult",
    "check_formats",
    "choose_formats",
    "write_results",
]
