"""Operation `promote`."""
