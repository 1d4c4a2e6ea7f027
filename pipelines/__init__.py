"""One file per stage of the DAG and per operation: load, call, write, record.

An operation that takes more has its parts in a folder of its own.
"""
