"""`python -m pipelines`: the `hemline` command, with the code of the folder that it is run in."""

from pipelines.shell.cli import main

if __name__ == "__main__":
    main()
