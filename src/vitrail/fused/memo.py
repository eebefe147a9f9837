"""What an optimized model computes once, since its weights no longer change."""

from collections.abc import Callable
from typing import Any

import torch

from vitrail.attention.operation import traced


class Memo:
    """A function that depends on nothing but its arguments; its last answers are kept.

    Args:
        function: what is remembered.
        told_by: how many of the first arguments tell the others; default all count.
        most: how many answers are kept.
    """

    def __init__(
        self, function: Callable[..., Any], told_by: int | None = None, *, most: int = 16
    ) -> None:
        self.function = function
        self.told_by = told_by
        self.most = most
        self.known: dict[Any, Any] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function returns for these arguments."""
        if traced():
            return self.function(*arguments)
        key = arguments[: self.told_by]
        known = self.known  # another thread may put an empty one in its place
        if key not in known:
            if len(known) == self.most:
                self.known = known = {}
            with torch.autocast("cpu", enabled=False):  # the answer outlives this call
                known[key] = self.function(*arguments)
        return known[key]
