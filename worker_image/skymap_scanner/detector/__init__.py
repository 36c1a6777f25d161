"""The detector: positions of the DOMs, properties of the ice, and the transformation to the sky."""
