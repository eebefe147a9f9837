"""Who attends by groups in place: the kernels, what each may refuse, and which one is chosen."""

import importlib.util
from types import ModuleType
from typing import Any

import torch

from vitrail.attention.problem import Problem
from vitrail.attention.triton.device import why_not_here
from vitrail.errors import UsageError

# In order of preference, where several could.
KERNELS = ("triton", "cpp", "plain")
_FUSED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_HAS_TRITON = importlib.util.find_spec("triton") is not None


def kernel(backend: str) -> ModuleType:
    """Return the module that computes: ``forward``, ``backward`` and ``why_not``.

    Raises:
        UsageError: it needs something that is not installed.
    """
    # Import statements, which the compiler follows: a layer chooses inside of what it traces.
    try:
        module: Any
        if backend == "triton":
            from vitrail.attention.triton import kernel as module
        elif backend == "cpp":
            from vitrail.attention.cpp import kernel as module
        else:
            from vitrail.attention import plain as module
    except ImportError as error:
        raise UsageError(
            f"backend={backend!r}, which needs {error.name}",
            "a backend that this installation has",
            "use backend='plain', or install what is missing",
        ) from error
    return module


def choose_kernel(problem: Problem, backend: str | None = None) -> str | None:
    """Return the name of the kernel that attends in place, or None where the layer composes.

    Args:
        problem: of a layer that could.
        backend: the one that was named, if any.
    """
    return next((name for name in KERNELS if why_no_kernel(name, problem, backend) is None), None)


def why_no_kernel(name: str, problem: Problem, backend: str | None = None) -> str | None:
    """Return why a kernel does not attend in place, or None if it may.

    Args:
        name: of the kernel.
        problem: of a layer.
        backend: the kernel or the implementation of ``attend`` that was named, if any.
    """
    if not problem.in_place:
        return "queries, keys and values come one by one"
    if problem.exporting:
        return "a graph for other runtimes keeps to torch's own operations"
    if problem.observed:
        return "a hook on attend reads its queries, keys and values"
    if problem.dropout > 0:
        return "dropout of attention weights"
    if backend is not None and backend != name:
        return f"backend={backend!r} was given"
    if backend is None:
        reason = _why_not_by_itself(name, problem)
        if reason is not None:
            return reason
    return kernel(name).why_not(problem)


def _why_not_by_itself(name: str, problem: Problem) -> str | None:
    """Return why a kernel is taken only by name."""
    if name == "plain":
        return "it is written to be read"
    if name == "cpp":
        return "it is built on this machine first, as vitrail.optimize does"
    if problem.device != "cuda":
        return f"tensors on {problem.device}"
    if problem.dtype not in _FUSED_DTYPES:
        return f"{problem.dtype}: it takes float32, bfloat16 and float16"
    return why_not_here() if _HAS_TRITON else "the package triton is not installed"
