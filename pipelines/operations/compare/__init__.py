"""Operation `compare`."""
