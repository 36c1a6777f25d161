"""What is scanned and what follows from the fits: pixels, levels, seeds, bests, the plan. Pure functions only."""
