"""Operation `reproduce`."""
