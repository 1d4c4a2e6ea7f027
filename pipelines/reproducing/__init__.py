"""Parts of the operation `reproduce`."""
