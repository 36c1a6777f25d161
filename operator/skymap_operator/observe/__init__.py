"""Observes: reads the state of a scan."""
