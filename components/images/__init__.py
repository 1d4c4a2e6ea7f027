"""From image files to pixels on a device: decoding, the store, transforms."""
