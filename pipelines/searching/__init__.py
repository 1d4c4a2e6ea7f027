"""Parts of the operation `search`."""
