"""The detector: where the DOMs are, how clear the ice is, and how the detector's frame lies on the sky."""
