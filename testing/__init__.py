"""What tests and benchmarks share: a real Pulsar, a real cluster, waiting, and faults."""
