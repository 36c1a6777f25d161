"""Installations of the wheel and the sdist, as users make them, outside the checkout."""
