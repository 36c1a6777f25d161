"""The entry point of ``skymap-operator``: explains which packages to install if one that it needs is missing."""

from __future__ import annotations

import sys

from skymap_api.home import ensure_home
from skymap_api.standard_streams import guarded_streams

_OURS = ("skymap_operator", "skymap_api")


def main() -> None:
    """Run the command line; exit with an error where the extra ``operator`` is not installed."""
    ensure_home()
    try:
        from skymap_operator.main import main as command  # noqa: PLC0415 - it imports the packages of the extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _OURS:
            raise
        sys.exit(f"Error: the operator needs the package {error.name}: pip install 'skymap-scanner[operator]'")
    with guarded_streams():
        command()
