"""A real Pulsar, and its certificates."""
