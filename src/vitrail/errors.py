"""The one error a user sees: what was given, what is allowed, and how to mend it."""

import reprlib


class UsageError(ValueError):
    """Something the user gave cannot be used.

    Args:
        given: what was given, the offending value included.
        allowed: what would have been accepted.
        fix: one concrete thing to do next.
    """

    def __init__(self, given: str, allowed: str, fix: str) -> None:
        super().__init__(given, allowed, fix)
        self.given = given
        self.allowed = allowed
        self.fix = fix

    def __str__(self) -> str:
        return f"given: {self.given}\nallowed: {self.allowed}\nfix: {self.fix}"


_SHORT = reprlib.Repr()
_SHORT.maxtuple = _SHORT.maxlist = _SHORT.maxdict = 12
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlevel = 4


def shown(value: object) -> str:
    """Return a value as it would be typed, shortened where it is long or nested deeply."""
    try:
        return _SHORT.repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return f"a value of type {type(value).__name__}"
