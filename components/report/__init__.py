"""The report of an evaluation: one page that can be read anywhere."""
