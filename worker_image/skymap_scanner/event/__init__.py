"""Events: reading them from wherever they are, preparing them, and sending them to the workers."""
