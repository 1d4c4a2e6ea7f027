"""Splits, triplets and batches: what a run will see, drawn ahead."""
