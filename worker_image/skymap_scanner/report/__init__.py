"""The report of a scan: one page that holds its map, event and history, and an index of a folder of such pages.

    result, event, history -> content -> page

A page is a function of the files beside it. Unlike them it has times: it depends on the history of the scan.
Not imported here are `page` and `index`: they need jinja2 and astropy, and a role starts faster without these.
"""

from skymap_scanner.report.history import FitRecord, history_from_csv, history_to_csv
from skymap_scanner.report.scan_report import ScanReport

__all__ = [
    "FitRecord",
    "ScanReport",
    "history_from_csv",
    "history_to_csv",
]
