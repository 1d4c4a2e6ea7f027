"""The `hemline` command: options, environment, what is printed, exit codes."""
