"""Parts of the operation `retrain`."""
