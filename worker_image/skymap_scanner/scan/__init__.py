"""Pixels, levels, seeds, best fits and the plan of a scan, as pure functions."""
