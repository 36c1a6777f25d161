"""Credible regions as MOCs, coverage maps of HEALPix pixels, which virtual observatories exchange (IVOA MOC 2.0).

A pixel belongs to a region if its centre lies within the lines of the contour. Pixels are as fine as these lines need,
not as those of the scan, so that the area is that of the contour.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
from astropy.io import fits
from scipy.spatial import cKDTree

from skymap_scanner.healpix import (
    Integers,
    nested_to_ring,
    nested_to_uniq,
    pixel_reach,
    pixel_to_vector,
    pixel_width,
)
from skymap_scanner.results.contours import Contour, of_rule
from skymap_scanner.results.directions import radec_to_vector
from skymap_scanner.results.fits_files import Card, encode_table, event_cards
from skymap_scanner.results.inside import is_inside
from skymap_scanner.results.region import TOP_ORDER, region_of_cells
from skymap_scanner.results.result import ScanResult
from skymap_scanner.results.rule import percent
from skymap_scanner.results.skymap import MultiOrderMap, intervals_to_cells

#: Least number of pixels along the lines of a region, and in its area, which counts where noise makes many parts and
#: long lines. The area is then right to 2e-3, and a MOC takes some 100 kB.
ALONG, ACROSS = 4096, 2**15

#: Pixels of a region: order and NESTED index.
Cells = tuple[Integers, Integers]


def region_cells(region: Contour) -> Cells:
    """Return the pixels of a region: order and NESTED index, the largest that fit, ascending in UNIQ."""
    lines = [radec_to_vector(line[:, 0], line[:, 1]) for line in region.lines]
    pieces = np.concatenate([np.empty(0), *(np.linalg.norm(np.diff(line, axis=0), axis=1) for line in lines)])
    finest = _order_of_width(min(pieces.sum() / ALONG, np.radians(np.sqrt(region.area / ACROSS)))) if lines else 0
    tree = cKDTree(np.concatenate(lines)) if lines else None
    cells: list[tuple[Integers, Integers]] = []
    ipix = np.arange(12)
    for order in range(finest + 1):
        vectors = pixel_to_vector(2**order, nested_to_ring(2**order, ipix))
        cut = np.zeros(len(ipix), dtype=bool)
        if order < finest and tree is not None:
            # Whatever point of a line is in the pixel, an end of its piece is at most half a piece farther away.
            near = min(pixel_reach(2**order) + pieces.max() / 2, np.pi)
            cut = tree.query(vectors)[0] <= 2 * np.sin(near / 2)
        whole = ipix[~cut][is_inside(region, vectors[~cut])]
        cells.append((np.full(len(whole), order), whole))
        ipix = (ipix[cut][:, None] * 4 + np.arange(4)).ravel()
    joined = region_of_cells(cells)
    orders, indices, _ = intervals_to_cells(joined.start, joined.stop, np.zeros_like(joined.start), TOP_ORDER)
    by_uniq = np.argsort(nested_to_uniq(orders, indices))
    return orders[by_uniq], indices[by_uniq]


def _order_of_width(width: float) -> int:
    """Return the coarsest order with pixels of this width (rad) at most."""
    return int(np.clip(np.ceil(np.log2(pixel_width(1) / width)), 0, TOP_ORDER))


def moc_json(cells: Cells) -> bytes:
    """Encode a region as JSON: ``{"3": [1, 2], "5": [700]}``, the NESTED pixels of each order."""
    orders, ipix = cells
    return (json.dumps({str(order): ipix[orders == order].tolist() for order in np.unique(orders)}) + "\n").encode()


def moc_fits(
    result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour], region: Contour, cells: Cells
) -> bytes:
    """Encode a region as FITS, in the form of version 1, NUNIQ, which readers of version 2 know as well.

    ``cells``: those of ``region``. The header also has the cards about the event and all ``regions``.
    """
    orders, ipix = cells
    finest = int(orders.max())
    layout: list[Card] = [
        ("MOCVERS", "2.0", "MOC version"),
        ("MOCDIM", "SPACE", "Dimension of the MOC"),
        ("ORDERING", "NUNIQ", "Pixel ordering scheme"),
        ("COORDSYS", "C", "Ecliptic, Galactic or Celestial (equatorial)"),
        ("PIXTYPE", "HEALPIX", "HEALPIX pixelisation"),
        ("MOCORD_S", finest, "MOC resolution (best order)"),
        ("MOCORDER", finest, "MOC resolution (best order), version 1"),
        ("MOCTOOL", "skymap-scanner", "Program that created this MOC"),
        ("MOCID", f"{result.stem}_{region_name(region)}", ""),
        ("CRLEVEL", region.credible_level, "Credible level of this region"),
        ("MOCAREA", float(f"{region.area:.3g}"), "Area of this region, deg2"),
    ]
    uniq = fits.Column(name="UNIQ", format="K", array=nested_to_uniq(orders, ipix))
    return encode_table([uniq], [*layout, *event_cards(result, skymap, regions)])


def moc_files(result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour]) -> dict[str, Callable[[], bytes]]:
    """Return the suffix of each file, and the function that makes it: the regions of the map's rule."""

    def of_region(region: Contour) -> dict[str, Callable[[], bytes]]:
        cells, suffix = cache(partial(region_cells, region)), f".region_{region_name(region)}.moc"
        return {
            f"{suffix}.fits": lambda: moc_fits(result, skymap, regions, region, cells()),
            f"{suffix}.json": lambda: moc_json(cells()),
        }

    found = [of_region(region) for region in of_rule(regions, skymap.rule)]
    return {suffix: make for files in found for suffix, make in files.items()}


def region_name(region: Contour) -> str:
    """Return the name of a region in the names of files: ``90``, ``3sigma``."""
    return percent(region.credible_level).replace("%", "").replace(" ", "")
