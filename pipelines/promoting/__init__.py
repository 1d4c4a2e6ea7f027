"""Parts of the operations `promote` and `rollback`."""
