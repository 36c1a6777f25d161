"""Shared by tests and benchmarks: a real Pulsar, a real cluster, waiting, and faults."""
