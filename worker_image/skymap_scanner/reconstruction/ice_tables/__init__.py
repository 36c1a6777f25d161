"""Makes the tables of layered ice that `millipede.layers` reads: a command for those who add an ice model."""
