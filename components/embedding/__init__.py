"""Batch embedding: where images come from, the parts that they are embedded in, the job."""
