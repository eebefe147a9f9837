"""Results that an optimised model computes once, since its weights no longer change."""

from collections.abc import Callable
from typing import Any

import torch

from vitrail.attention.operation import traced


class Cache:
    """A function of its arguments alone, whose last results are kept.

    Args:
        function: called for new arguments.
        key_args: how many of the first arguments determine the others; default all are the key.
        maxsize: how many results are kept.
    """

    def __init__(
        self, function: Callable[..., Any], key_args: int | None = None, *, maxsize: int = 16
    ) -> None:
        self.function = function
        self.key_args = key_args
        self.maxsize = maxsize
        self.known: dict[Any, Any] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function returns for these arguments."""
        if traced():
            return self.function(*arguments)
        key = arguments[: self.key_args]
        known = self.known  # another thread may put an empty one in its place
        if key not in known:
            if len(known) == self.maxsize:
                self.known = known = {}
            with torch.autocast("cpu", enabled=False):  # the value outlives this call
                known[key] = self.function(*arguments)
        return known[key]
