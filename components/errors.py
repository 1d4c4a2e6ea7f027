"""The one exception that users of hemline are expected to cause and able to fix."""


class HemlineError(ValueError):
    """Something given to hemline is wrong: the message names it, what is allowed and the remedy.

    The command line prints the message alone and exits with status 1; any other exception is a
    defect of hemline and keeps its traceback.
    """
