"""``python -m skymap_scanner`` is the ``skymap-scanner`` command; `run` starts its roles with ``python -P -m``."""

from skymap_scanner.cli import main

main()
