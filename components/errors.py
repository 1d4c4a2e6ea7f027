"""The one exception that a user of hemline is expected to cause and to be able to mend."""


class HemlineError(ValueError):
    """Something given to hemline is wrong: the message names it, what is allowed and the remedy.

    The command line prints the message alone and exits with status 1; any other exception is a
    defect of hemline and keeps its traceback.
    """
