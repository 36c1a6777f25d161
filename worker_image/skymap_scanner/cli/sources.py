"""``skymap-scanner sources``."""

from __future__ import annotations

from pathlib import Path

import click

from skymap_api.text import printable

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("result", type=click.Path(exists=True, path_type=Path))
@click.argument("catalogue", type=_FILE)
@click.option("--nearest", type=click.IntRange(0, 1000), default=3, show_default=True, help="Nearest sources to list.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write them here as JSON.")
def command(result: Path, catalogue: Path, nearest: int, json_file: Path | None) -> None:
    """List the sources of CATALOGUE in the 50 % and 90 % regions of RESULT, and the nearest ones.

    RESULT is the folder of a scan, or its JSON or npz file. CATALOGUE is FITS, VOTable (TABLEDATA), CSV or TSV with
    columns of the usual names: Source_Name, RAJ2000, DEJ2000 as in 4FGL, or name, RA, Dec, in degrees. Distances are
    from the best fit.

    \b
    Examples:
        skymap-scanner sources result/ gll_psc_v35.fit
        skymap-scanner sources result/ sources.csv --nearest 10 --json sources.json
    """
    from skymap_scanner.atomic_file import write_atomically
    from skymap_scanner.results.catalogue import read_catalogue
    from skymap_scanner.results.contours import contours, of_rule
    from skymap_scanner.results.map_files import read_scan
    from skymap_scanner.results.rule import WILKS
    from skymap_scanner.results.skymap import multi_order_map
    from skymap_scanner.results.sources import find_sources, sources_json, sources_text

    scan = read_scan(result)
    skymap = multi_order_map(scan, scan.metadata.rule or WILKS)
    regions = contours(skymap)
    found = find_sources(skymap, regions, read_catalogue(catalogue), nearest)
    click.echo(printable(sources_text(found, of_rule(regions, skymap.rule))), nl=False)
    if json_file is not None:
        write_atomically(json_file, sources_json(found))
