"""The operator of ``SkymapScan`` resources."""
