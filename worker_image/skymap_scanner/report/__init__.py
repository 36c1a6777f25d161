"""The report of a scan: one page that holds its map, event and history, and an index of a folder of such pages.

    result, event, history -> content -> page

A page is a function of the files beside it. Unlike them it has times: it depends on the history of the scan.
"""

from skymap_scanner.report.content import ScanReport
from skymap_scanner.report.history import FitRecord, history_from_csv, history_to_csv
from skymap_scanner.report.index import index_html, read_card
from skymap_scanner.report.page import report_html

__all__ = [
    "FitRecord",
    "ScanReport",
    "history_from_csv",
    "history_to_csv",
    "index_html",
    "read_card",
    "report_html",
]
