"""Events with a known direction."""
