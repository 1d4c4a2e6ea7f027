"""Every item's nearest items, made once for all: what a shop's "similar items" is read from."""
