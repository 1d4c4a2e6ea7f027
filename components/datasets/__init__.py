"""Readers of data sets as they lie on disk, and the catalog made of them."""
