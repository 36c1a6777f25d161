"""``skymap-scanner compare``."""

from __future__ import annotations

from pathlib import Path

import click

from skymap_api.text import printable
from skymap_scanner.errors import InputError

_MAP = click.Path(exists=True, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("a", type=_MAP)
@click.argument("b", type=_MAP)
@click.option("-o", "--output", "picture", type=_FILE, help="Draw the regions of both maps to this PNG file.")
@click.option("--json", "json_file", type=_FILE, help="Write the figures to this file, as JSON.")
@click.option("--product", type=_FILE, help="Write the normalized product of both maps to this multi-order FITS file.")
def command(a: Path, b: Path, picture: Path | None, json_file: Path | None, product: Path | None) -> None:
    """Compare two maps: how far apart the best fits are, how much the regions overlap, whether they agree.

    A and B are each a scan (its folder, or its JSON or npz file) or anybody's probability map as FITS, multi-order or
    flat, such as those of LIGO, Virgo and KAGRA. Regions are the smallest that hold 50 and 90 % of a map's probability.

    \b
    Examples:
        skymap-scanner compare result/ other/ -o comparison.png
        skymap-scanner compare result/ bayestar.multiorder.fits --json figures.json --product both.multiorder.fits
    """
    from skymap_scanner.atomic_file import write_atomically
    from skymap_scanner.results import check_formats
    from skymap_scanner.results.comparison import compare, comparison_json, comparison_text, product_fits
    from skymap_scanner.results.map_files import read_map

    if picture is not None:
        if picture.suffix.lower() != ".png":
            raise InputError(f"{picture}: pictures are PNG, so choose a name that ends in .png")
        check_formats(["png"])
    comparison = compare(read_map(a), read_map(b))
    click.echo(printable(comparison_text(comparison)), nl=False)
    if json_file is not None:
        write_atomically(json_file, comparison_json(comparison))
    if product is not None:
        write_atomically(product, product_fits(comparison))
    if picture is not None:
        from skymap_scanner.results.comparison_plot import comparison_png

        write_atomically(picture, comparison_png(comparison))
