"""SkymapScans: valid and invalid ones, with the messages that reject them."""
