"""Search in an embedded folder: nearest items, conditions, an index for millions."""
