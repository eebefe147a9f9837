"""The one error a user sees: what was given, what is allowed, and how to mend it."""


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
