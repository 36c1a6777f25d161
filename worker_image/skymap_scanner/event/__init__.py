"""Events: read from a file or URL, prepared for a reconstruction, and encoded for the workers."""
