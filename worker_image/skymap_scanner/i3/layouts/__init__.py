"""How the classes lie in a frame, one module a family; `catalogue.py` has the list."""
