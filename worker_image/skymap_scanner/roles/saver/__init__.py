"""The saver, and the progress that it publishes."""
