"""Training loop, its state, and the Ray Train workers that run it."""
