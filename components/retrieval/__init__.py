"""Embedding, search, and the measures of retrieval."""
