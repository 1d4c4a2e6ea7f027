"""A vector for every value of an attribute, so that a value can be asked for without a picture."""
