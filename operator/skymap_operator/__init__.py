"""The operator of ``SkymapScan`` resources, and their object model (shared with ``skymap-scanner run``)."""
