"""Operation `retrain`."""
