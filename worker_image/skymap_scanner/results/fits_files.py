"""The map as FITS: multi-order, which the follow-up community reads, and flat, for older readers.

Readers (mocpy, mhealpy, ligo.skymap, astropy-healpix, Aladin) need an empty primary HDU; one BINTABLE; UNIQ first and
without unit, then PROBDENSITY in float64, without NaN, over the whole sky. Further columns follow. The multi-order file
has no card NSIDE: healpy would take its rows for a flat map of that nside, and return a wrong one without an error.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from astropy.io import fits

from skymap_api.text import printable_line
from skymap_scanner.healpix import pixel_count
from skymap_scanner.results.cautions import cautions
from skymap_scanner.results.contours import Contour, of_rule
from skymap_scanner.results.directions import rounded_longitude
from skymap_scanner.results.fits_checksum import add_checksums, sum_words
from skymap_scanner.results.result import ScanResult
from skymap_scanner.results.rule import THREE_SIGMA, WILKS
from skymap_scanner.results.skymap import MultiOrderMap, flat_blocks

Card = tuple[str, str | int | float | bool, str]

#: Size of the blocks that a FITS file consists of (FITS standard 4.0, section 3.1).
FITS_BLOCK = 2880
#: For zlib: the format of gzip, whose header then has no time and no name.
GZIP = 16 + zlib.MAX_WBITS

#: Columns after PROBDENSITY: name, field of PIXEL, unit.
EXTRA_COLUMNS = (
    ("LLH", "llh", None),
    ("E_IN", "E_in", "GeV"),
    ("E_TOT", "E_tot", "GeV"),
    ("X", "X", "m"),
    ("Y", "Y", "m"),
    ("Z", "Z", "m"),
    ("T", "T", "ns"),
)


def multi_order_fits(result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour]) -> bytes:
    """Encode the multi-order map. LLH is -ln L; it and the fitted values are NaN where no pixel was fitted."""
    columns = [
        fits.Column(name="UNIQ", format="K", array=skymap.uniq),
        fits.Column(name="PROBDENSITY", format="D", unit="sr-1", array=skymap.density),
    ]
    for name, field, unit in EXTRA_COLUMNS:
        values = np.append(skymap.pixels[field], np.nan)[skymap.owner]
        columns.append(fits.Column(name=name, format="D", unit=unit, array=values))
    return encode_table(columns, [*multi_order_layout(skymap.max_order), *event_cards(result, skymap, regions)])


def multi_order_layout(max_order: int) -> list[Card]:
    """Return the cards that say how a multi-order table is laid out."""
    return [
        ("PIXTYPE", "HEALPIX", "HEALPIX pixelisation"),
        ("ORDERING", "NUNIQ", "Pixel ordering scheme: RING, NESTED, or NUNIQ"),
        ("COORDSYS", "C", "Ecliptic, Galactic or Celestial (equatorial)"),
        ("MOCORDER", max_order, "MOC resolution (best order)"),
        ("INDXSCHM", "EXPLICIT", "Indexing: IMPLICIT or EXPLICIT"),
    ]


def flat_fits(result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour]) -> Iterator[bytes]:
    """Encode the flat map, gzipped, in pieces: PROB per pixel, NESTED, at the nside of the finest pixel.

    Only one block of its pixels is held at a time, since the table has 8 bytes for each of 12 nside² pixels. The blocks
    are made twice, first for the checksum, which comes before them.
    """
    nside = 2**skymap.max_order
    layout: list[Card] = [
        ("PIXTYPE", "HEALPIX", "HEALPIX pixelisation"),
        ("ORDERING", "NESTED", "Pixel ordering scheme: RING, NESTED, or NUNIQ"),
        ("COORDSYS", "C", "Ecliptic, Galactic or Celestial (equatorial)"),
        ("NSIDE", nside, "Resolution parameter of HEALPIX"),
        ("FIRSTPIX", 0, "First pixel (0 based)"),
        ("LASTPIX", pixel_count(nside) - 1, "Last pixel (0 based)"),
        ("INDXSCHM", "IMPLICIT", "Indexing: IMPLICIT or EXPLICIT"),
    ]
    table = _table(
        [fits.Column(name="PROB", format="D", unit="pix-1")], [*layout, *event_cards(result, skymap, regions)]
    )
    table.header["NAXIS2"] = pixel_count(nside)
    add_checksums(table.header, sum_words(block.astype(">f8").tobytes() for block in flat_blocks(skymap)))
    compressor = zlib.compressobj(6, zlib.DEFLATED, GZIP)
    yield compressor.compress((_primary().header.tostring() + table.header.tostring()).encode("ascii"))
    for block in flat_blocks(skymap):
        yield compressor.compress(block.astype(">f8").tobytes())
    yield compressor.compress(bytes(-8 * pixel_count(nside) % FITS_BLOCK))
    yield compressor.flush()


def event_cards(result: ScanResult, skymap: MultiOrderMap, regions: Sequence[Contour]) -> list[Card]:
    """Return the cards about the event: the general ones, and those that readers of IceCube's alerts expect."""
    metadata, best = result.metadata, skymap.best
    software = f"skymap-scanner {metadata.scanner_version}".strip()
    cards: list[Card] = [
        ("OBJECT", metadata.name or f"run {metadata.run_id} event {metadata.event_id}", "Name of this event"),
        ("INSTRUME", "IceCube", "Instrument that recorded the event"),
        ("DATE-OBS", mjd_to_iso(metadata.mjd), "UTC time of the event"),
        ("MJD-OBS", metadata.mjd, "Modified Julian date of the event (UTC)"),
        ("CREATOR", software, "Program that created this file"),
        ("ORIGIN", "skymap-scanner", "Who made this file"),
        ("RUNID", metadata.run_id, "Run of the event"),
        ("EVENTID", metadata.event_id, "Number of the event in its run"),
        ("SENDER", "skymap-scanner", "Who made this file"),
        ("EVENTMJD", metadata.mjd, "Modified Julian date of the event (UTC)"),
        ("I3TYPE", metadata.event_type, "Alert type"),
        ("EVENT-TYPE", metadata.event_type, "Alert type"),
        ("REALEVT", metadata.is_real_event, "Measured (T) or simulated (F)"),
        ("COMPLETE", result.complete, "All planned pixels are in this map"),
        ("NFAILED", sum(map(len, result.failed.values())), "Pixels without a fit"),
    ]
    if "millipede" in metadata.reconstruction.lower():
        cards.append(("REFERENC", "2014JINST...9P3009A", "Millipede likelihood"))
    optional = {
        "ALERT-STREAM": (alert_stream(metadata.event_type), "Stream of GCN"),
        "SUBEVENT": (metadata.sub_event_id, "Number of the sub-event in its stream"),
        "SUBSTRM": (metadata.sub_event_stream, "Stream of the sub-event"),
        "RECO": (metadata.reconstruction, "Reconstruction"),
        "TOPOLOGY": (metadata.topology, "What the best fit shows"),
        "LIKELIHD": (metadata.likelihood, "Identity of the likelihood"),
        "VCSVERS": (metadata.scanner_version, "Software version"),
        "DATE": (metadata.date, "UTC date of file creation"),
        "RUNTIME": (metadata.wall_time, "Runtime in seconds"),
        "CHOICE": (metadata.choice, ""),
        "CAUTION": (metadata.caution, ""),
    }
    cards += [(key, value, comment) for key, (value, comment) in optional.items() if value not in ("", None)]
    cards += [
        ("RA", rounded_longitude(best.ra, 4), "Best fit, degree, J2000"),
        ("DEC", round(best.dec, 4), "Best fit, degree, J2000"),
        ("GLON", rounded_longitude(best.galactic[0], 4), "Best fit, galactic longitude, degree"),
        ("GLAT", round(best.galactic[1], 4), "Best fit, galactic latitude, degree"),
        ("ATEDGE", skymap.best_at_edge, "Best fit is beside sky without a fit"),
        *(("DOUBT", caution, "") for caution in ["; ".join(cautions(skymap))] if caution),
    ]
    return [*cards, *_rule_cards(skymap, regions)]


def _rule_cards(skymap: MultiOrderMap, regions: Sequence[Contour]) -> list[Card]:
    """Return the cards about the contours: errors, areas, and the rule that they follow."""
    cards: list[Card] = []
    named = {region.credible_level: region for region in of_rule(regions, skymap.rule)}
    for level in (0.5, 0.9):
        if level in named:
            cards += _region_cards(named[level], f"_{100 * level:.0f}")
    if 0.9 in named:  # readers of before May 2025 know the 90 % errors by these names
        cards += _region_cards(named[0.9], "")[:4]
        thresholds = f"{named[0.5].threshold:.4g} ({named[0.9].threshold:.4g})"
        cards.append(("COMMENTS", f"50%(90%) uncertainty location => Change in 2LLH of {thresholds}", ""))
    cards += map(_statistical_card, of_rule(regions, WILKS))
    cards.append(("CONTOURS", skymap.rule.name, "Contours that the errors and areas belong to"))
    cards.append(("RULE", skymap.rule.statement, ""))
    cards.append(("RULESRC", skymap.rule.source, ""))
    cards.append(("NOTE", "Sky without a fit has density 0.", ""))
    return cards


def mjd_to_iso(mjd: float) -> str:
    """Return a modified Julian date (UTC, days) as ISO 8601, to the millisecond."""
    try:
        moment = datetime(1858, 11, 17, tzinfo=UTC) + timedelta(days=mjd)
    except OverflowError:
        return ""
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00")


def _region_cards(region: Contour, suffix: str) -> list[Card]:
    """Return the cards of one region: how far it reaches, and its area."""
    share = f"{100 * region.credible_level:.0f}% containment"
    return [
        (f"RA_ERR_PLUS{suffix}", round(region.box.ra_plus, 4), f"{share} error high"),
        (f"RA_ERR_MINUS{suffix}", round(region.box.ra_minus, 4), f"{share} error low"),
        (f"DEC_ERR_PLUS{suffix}", round(region.box.dec_plus, 4), f"{share} error high"),
        (f"DEC_ERR_MINUS{suffix}", round(region.box.dec_minus, 4), f"{share} error low"),
        (f"CONTOUR_AREA{suffix}", float(f"{region.area:.3g}"), "deg2"),
        (f"CONTOUR_OPEN{suffix}", region.open, "Region reaches sky without a fit"),
    ]


def _statistical_card(region: Contour) -> Card:
    """Return the card of the area that Wilks' theorem gives."""
    share = "3SIGMA" if region.credible_level == THREE_SIGMA else f"{100 * region.credible_level:.0f}"
    return (f"STAT_AREA_{share}", float(f"{region.area:.3g}"), f"deg2, 2 delta ln L < {region.threshold:.4g}")


def alert_stream(event_type: str) -> str:
    """Return the stream of GCN that alerts of a type belong to, such as those of ``gfu-gold``; empty for others."""
    group, _, grade = event_type.lower().partition("-")
    if group in {"gfu", "ehe", "hese"} and grade in {"gold", "bronze"}:
        return f"ICECUBE_ASTROTRACK_{grade.upper()}"
    return "ICECUBE_CASCADE" if group == "cascade" else ""


def encode_table(columns: Sequence[fits.Column], cards: Sequence[Card]) -> bytes:
    """Encode an empty primary HDU and one table."""
    table = _table(columns, cards)
    rows = np.asarray(table.data)
    data = rows.astype(rows.dtype.newbyteorder(">")).tobytes()  # whole words: each column has 8 bytes
    add_checksums(table.header, sum_words([data]))
    file = io.BytesIO()
    fits.HDUList([_primary(), table]).writeto(file)
    return file.getvalue()


def _primary() -> fits.PrimaryHDU:
    """Return a primary HDU without data."""
    primary = fits.PrimaryHDU()
    add_checksums(primary.header, 0)
    return primary


def _table(columns: Sequence[fits.Column], cards: Sequence[Card]) -> fits.BinTableHDU:
    """Return a table with these cards in its header; without rows where the columns have no array."""
    table = fits.BinTableHDU.from_columns(columns)
    for key, value, comment in cards:
        # HIERARCH is the convention for names above eight characters; asking for it keeps astropy from warning.
        table.header[key if len(key) <= 8 else f"HIERARCH {key}"] = (_card_value(value), comment)
    if any(len(card.image) > fits.Card.length for card in table.header.cards):
        table.header["LONGSTRN"] = ("OGIP 1.0", "Long strings may continue")
    return table


def _card_value(value: str | float | bool) -> str | int | float | bool:
    """Return a value for a header: its text is printable ASCII (FITS standard 4.0, section 4.2.1), so escapes."""
    if not isinstance(value, str):
        return value
    return printable_line(value).encode("ascii", "backslashreplace").decode()
