"""Decides: pure functions from the observed state to actions."""
