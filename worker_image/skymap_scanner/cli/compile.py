"""``skymap-scanner compile``."""

from __future__ import annotations

import click

from skymap_scanner.cli.options import parse_parameters


@click.command()
@click.option("--reconstruction", default="millipede", show_default=True, help="Which reconstruction to compile.")
@click.option(
    "--parameter", "parameters", multiple=True, metavar="KEY=VALUE", help="A parameter of the reconstruction."
)
def command(reconstruction: str, parameters: tuple[str, ...]) -> None:
    """Compile the reconstruction now and keep the machine code, so that the first fit is as fast as the others.

    \b
    Example (the folder is that of NUMBA_CACHE_DIR, where it is set):
        skymap-scanner compile
    """
    import time

    from skymap_scanner.reconstruction import load

    began = time.monotonic()
    load(reconstruction, parse_parameters(parameters)).compile()
    click.echo(f"{reconstruction} is compiled ({time.monotonic() - began:.1f} s)")
