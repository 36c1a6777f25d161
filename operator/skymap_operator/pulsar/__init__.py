"""Pulsar's admin interface, as the operator uses it."""
