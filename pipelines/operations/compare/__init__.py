"""Operation `compare`: variants of the params under one budget, side by side."""
