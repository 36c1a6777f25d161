"""The collector, its decisions, and the tasks that it republishes."""
