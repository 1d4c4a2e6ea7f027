"""Operation `tag`."""
