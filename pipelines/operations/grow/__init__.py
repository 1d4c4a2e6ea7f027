"""Operation `grow`."""
