"""Observing: the only reading of the operator."""
