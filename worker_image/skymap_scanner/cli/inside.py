"""``skymap-scanner inside``."""

from __future__ import annotations

from pathlib import Path

import click

from skymap_api.text import printable
from skymap_scanner.cli.options import parse_circle


@click.command()
@click.argument("skymap", metavar="MAP", type=click.Path(exists=True, path_type=Path))
@click.option("--circle", metavar="RA,DEC,RADIUS", help="Field of view: a circle, deg (J2000).")
@click.option("--moc", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A MOC, as FITS or JSON.")
def command(skymap: Path, circle: str | None, moc: Path | None) -> None:
    """Print the probability of MAP inside a field of view or a MOC.

    MAP is a scan (its folder, or its JSON or npz file) or anybody's probability map as FITS, multi-order or flat.

    \b
    Examples:
        skymap-scanner inside result/ --circle 138.65,0.15,1.75
        skymap-scanner inside bayestar.multiorder.fits --moc survey.moc.fits
    """
    if (circle is None) == (moc is None):
        raise click.UsageError("give either --circle or --moc")

    from skymap_scanner.results.comparison import map_lines
    from skymap_scanner.results.map_files import read_map, read_moc
    from skymap_scanner.results.region import circle as region_of_circle
    from skymap_scanner.results.summary import area_number

    region = region_of_circle(*parse_circle(circle or "")) if moc is None else read_moc(moc)
    found = read_map(skymap)
    lines = map_lines("Map", found)
    lines.append(f"Probability inside: {found.probability_in(region):.4g}")
    lines.append(f"Area: {area_number(region.area)} deg2")
    click.echo(printable("\n".join(lines)))
