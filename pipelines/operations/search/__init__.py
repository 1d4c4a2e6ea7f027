"""Operation `search`."""
