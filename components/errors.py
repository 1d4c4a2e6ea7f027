"""The one exception that users of hemline are expected to cause and able to fix."""

import shlex


class HemlineError(ValueError):
    """Something given to hemline is wrong: the message names it, what is allowed and the remedy.

    The command line prints the message alone and exits with status 1; any other exception is a
    defect of hemline and keeps its traceback.
    """


class DamagedFileError(HemlineError):
    """A file is not as it was written."""


def command_line(*words: object) -> str:
    """Returns a command as a shell takes it: a remedy can be pasted, whatever its paths hold."""
    return shlex.join(map(str, words))
