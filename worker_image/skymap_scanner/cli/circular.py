"""``skymap-scanner circular``."""

from __future__ import annotations

from pathlib import Path

import click

from skymap_api.text import printable
from skymap_scanner.cli.options import letter as letter_option

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("result", type=click.Path(exists=True, path_type=Path))
@letter_option
@click.option("--catalog", "catalogue", type=_FILE, help="Name the sources of this catalogue in the 90 % region.")
def command(result: Path, letter: str | None, catalogue: Path | None) -> None:
    """Print the draft of a GCN circular about RESULT, in the wording of IceCube's circulars.

    RESULT is the folder of a scan, or its JSON or npz file. What a scan does not know stands in [BRACKETS], and lines
    that begin with NOT TO BE SENT give the reasons to wait. Read it before you send it.

    \b
    Examples:
        skymap-scanner circular result/ --letter A > circular.txt
        skymap-scanner circular result/ --letter A --catalog gll_psc_v35.fit
    """
    from skymap_scanner.results.catalogue import read_catalogue
    from skymap_scanner.results.circular import circular_text
    from skymap_scanner.results.contours import contours
    from skymap_scanner.results.map_files import read_scan
    from skymap_scanner.results.naming import named_by_date
    from skymap_scanner.results.rule import WILKS
    from skymap_scanner.results.skymap import multi_order_map
    from skymap_scanner.results.sources import find_sources

    scan = read_scan(result)
    if letter is not None:
        scan = named_by_date(scan, letter)
    skymap = multi_order_map(scan, scan.metadata.rule or WILKS)
    regions = contours(skymap)
    sources = None if catalogue is None else find_sources(skymap, regions, read_catalogue(catalogue), nearest=1)
    click.echo(printable(circular_text(scan, skymap, regions, sources)), nl=False)
