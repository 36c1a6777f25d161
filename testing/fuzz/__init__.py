"""Fuzzing of every parser: coverage-guided, with limits on memory and time. `make fuzz` runs it."""
