"""``skymap-scanner compile``."""

from __future__ import annotations

import click

from skymap_scanner.cli import options


@click.command()
@click.option("--reconstruction", default="millipede", show_default=True, help="Reconstruction to compile.")
@options.parameters
def command(reconstruction: str, parameters: tuple[str, ...]) -> None:
    """Compile the reconstruction now and keep the machine code, so that the first fit is as fast as the others.

    \b
    Example (the environment variable NUMBA_CACHE_DIR chooses the folder):
        skymap-scanner compile
    """
    import time

    from skymap_scanner.reconstruction import load

    began = time.monotonic()
    load(reconstruction, options.parse_parameters(parameters)).compile()
    click.echo(f"{reconstruction} is compiled ({time.monotonic() - began:.1f} s)")
