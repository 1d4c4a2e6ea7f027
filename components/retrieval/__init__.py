"""Search in embedded catalogues, and the measures of retrieval."""
