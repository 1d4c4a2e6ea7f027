"""One file or folder per command around the DAG."""
