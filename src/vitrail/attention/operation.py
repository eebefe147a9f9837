"""Operations known to torch by name, called without its dispatcher where nothing observes."""

from collections.abc import Callable
from typing import Any

import torch
from torch._C import _get_tracing_state
from torch._C._autograd import _profiler_enabled
from torch._C._functorch import maybe_current_level
from torch.overrides import _get_current_function_mode
from torch.utils._python_dispatch import _get_current_dispatch_mode

_PLAIN = (torch.Tensor, torch.nn.Parameter)


def traced() -> bool:
    """Return whether operations are observed, and tensors may be without numbers."""
    return (
        torch.compiler.is_compiling()
        or _get_current_dispatch_mode() is not None
        or maybe_current_level() is not None
        or _get_tracing_state() is not None
    )


def _plain(argument: Any) -> bool:
    return not isinstance(argument, torch.Tensor) or type(argument) in _PLAIN


class Operation:
    """A custom operation of torch, which is called as its plain function where that is the same.

    The way through the dispatcher takes as long as the function's own work on a few tokens: on one
    image it is a twentieth of a model's time. It is gone where gradients, a trace, a mode, a
    profiler or a tensor of another class need it.

    Args:
        name: of the operation, with its namespace.
        function: what it does; it changes none of its arguments and returns none of them.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self.function = function
        self.registered = torch.library.custom_op(name, function, mutates_args=())
        self.register_fake = self.registered.register_fake
        self.register_autograd = self.registered.register_autograd

    def __call__(self, *arguments: Any) -> Any:
        """Compute it."""
        # The first condition ends a compiler's trace: it cannot follow the others.
        observed = traced() or torch.is_grad_enabled() or _profiler_enabled()
        observed = observed or _get_current_function_mode() is not None
        if observed or not all(map(_plain, arguments)):
            return self.registered(*arguments)
        return self.function(*arguments)


def operation(name: str) -> Callable[[Callable[..., Any]], Operation]:
    """Make an ``Operation`` of the function below; the arguments are those of the class."""
    return lambda function: Operation(name, function)
