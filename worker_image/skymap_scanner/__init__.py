"""The open sky-map scanner: from one neutrino event to a direction, its contours and every pixel's fit."""

__version__ = "0.1.0"
