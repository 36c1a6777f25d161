"""Faults of every part of a scan: which, how they are injected, and the scene they are played on."""
