"""``skymap-scanner plot``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from skymap_api.names import RESULT_FORMATS
from skymap_api.text import printable_line
from skymap_scanner.cli import options
from skymap_scanner.cli.options import parse_circle

if TYPE_CHECKING:
    from skymap_scanner.results.outputs import ImageKind

#: What follows from a result alone; ``skymap-scanner report`` also reads the event and the history.
FORMATS = tuple(name for name in RESULT_FORMATS if name != "report")


@click.command()
@click.argument("result", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.output_folder(help="Folder for the files.  [default: that of RESULT]")
@options.result_formats(default="png", of=FORMATS)
@click.option(
    "--contours",
    type=click.Choice(["result", "wilks", "ic160427a"]),
    default="result",
    show_default=True,
    help="Contours as RESULT states them, calibrated where a calibration applied to the scan; by Wilks' theorem alone "
    "(2 delta ln L = 1.39 and 4.61 for 50 and 90 %); or as IceCube's circulars gave them for the original Millipede "
    "before September 2024 (22.2 and 64.2, from re-simulations of IC160427A). Files of other contours than those of "
    "RESULT have them in their names.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Choice(["png", "pdf", "svg"]),
    help="Draw the pictures as this kind of file; may be repeated.  [default: png]",
)
@click.option(
    "--catalog",
    "catalogue",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Draw the sources of this catalogue around the best fit: FITS, VOTable or CSV (see skymap-scanner sources).",
)
@click.option(
    "--circle", metavar="RA,DEC,RADIUS", help="Draw a circle, such as that of another instrument, deg (J2000)."
)
@options.letter
@click.option(
    "--lvk-version",
    type=click.IntRange(0, 9999),
    help="Name maps as LIGO, Virgo and KAGRA do, by event and version: IceCube-231202A.multiorder.fits,0",
)
def command(
    result: Path,
    folder: Path | None,
    formats: tuple[str, ...],
    contours: str,
    images: tuple[ImageKind, ...],
    catalogue: Path | None,
    circle: str | None,
    letter: str | None,
    lvk_version: int | None,
) -> None:
    """Draw the pictures of RESULT (the JSON or npz file of a scan), or write it in other formats.

    \b
    Examples:
        skymap-scanner plot run00138632.evt000031747601.neutrino_8_32_128_512.json -o plots/
        skymap-scanner plot run00138632.evt000031747601.neutrino_8_32_128_512.npz --contours wilks --image pdf
        skymap-scanner plot run00138632.evt000031747601.neutrino_8_32_128_512.npz --format fits --format summary
        skymap-scanner plot run00138632.evt000031747601.neutrino_8_32_128_512.npz --catalog gll_psc_v35.fit
        skymap-scanner plot run00138632.evt000031747601.neutrino_8_32_128_512.npz --format fits --lvk-version 0
    """
    from skymap_scanner.results import IC160427A, WILKS, ScanResult, write_results
    from skymap_scanner.results.catalogue import read_catalogue
    from skymap_scanner.results.naming import named_by_date
    from skymap_scanner.results.overlay import Overlay

    rule = {"result": None, "wilks": WILKS, "ic160427a": IC160427A}[contours]
    overlay = None
    if catalogue is not None or circle is not None:
        overlay = Overlay(
            None if catalogue is None else read_catalogue(catalogue), None if circle is None else parse_circle(circle)
        )
    scan = ScanResult.read(result)
    if letter is not None:
        scan = named_by_date(scan, letter)
    written = write_results(
        scan,
        folder or result.parent,
        formats or ["png"],
        rule=rule,
        images=images or ["png"],
        overlay=overlay,
        lvk_version=lvk_version,
    )
    for path in written:
        click.echo(printable_line(str(path)))
