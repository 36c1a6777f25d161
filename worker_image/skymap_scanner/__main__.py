"""``python -m skymap_scanner`` is the ``skymap-scanner`` command; the roles of a local run are started so."""

from skymap_scanner.cli import main

main()
