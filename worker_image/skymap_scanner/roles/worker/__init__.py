"""The worker: fitting, and noticing the crashes of workers."""
