"""Splits, triplets and batches: what a run will see, sampled ahead."""
