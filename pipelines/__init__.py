"""What is run: the stages of the DAG, the operations around it, and the `hemline` command."""
