"""The base class of errors that a user can mend."""

from collections.abc import Iterable


class UserError(Exception):
    """Something that a user can mend: a bad file, an option, too little memory.

    The message names the file or the option, says what was expected, and how to mend it. The
    command line prints it without a traceback and exits with code 2. A bug in a program, which only
    its authors can mend, is not a `UserError`.

    Attributes:
        details: Lines that are printed before the message.
    """

    def __init__(self, message: str, details: Iterable[str] = ()):
        super().__init__(message)
        self.details = tuple(details)


class RecipeError(UserError, ValueError):
    """A value that no training could use."""
