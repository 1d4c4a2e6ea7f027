"""Batch embedding: sources of images, the parts that embeddings lie in, and the job."""
