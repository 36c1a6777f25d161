"""All four roles on this machine, as processes that are restarted when they crash."""
