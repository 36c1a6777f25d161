"""Running: work queue, reconciler, health and metrics."""
