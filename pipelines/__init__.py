"""One file per stage of the DAG and per operation: load, call, write, record."""
