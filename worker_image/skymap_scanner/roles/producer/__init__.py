"""The producer, and what it decides."""
