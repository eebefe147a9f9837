"""Choose an implementation of attention: a pure function of the problem, and open about it."""

import math
from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from vitrail.attention import reference, sdpa
from vitrail.attention.kernels import KERNELS, choose_kernel, why_no_kernel
from vitrail.attention.problem import Bias, Problem, Region
from vitrail.errors import UsageError


class Backend(NamedTuple):
    """An implementation: what it computes, and why it may have to pass."""

    attend: Callable[..., Tensor]
    why_not: Callable[[Problem], str | None]


# In order of preference; the reference, which serves everything, comes last.
BACKENDS = {
    "sdpa": Backend(sdpa.attend, sdpa.why_not),
    "reference": Backend(reference.attend, reference.why_not),
}


def choose(problem: Problem) -> str:
    """Return the name of the first implementation that serves ``problem``."""
    return next(name for name, backend in BACKENDS.items() if backend.why_not(problem) is None)


def explain(problem: Problem, backend: str | None = None) -> str:
    """Return one line for each implementation: whether it serves ``problem``.

    Args:
        problem: a call of ``attend``, or a layer's, which kernels may serve in place.
        backend: the implementation that was named, if any.
    """
    in_place = choose_kernel(problem, backend)
    composed = backend if backend in BACKENDS else choose(problem)
    chosen = in_place or composed
    lines = []
    for name in (*(KERNELS if problem.in_place else ()), *BACKENDS):
        if name == chosen:
            lines.append(f"{name}: chosen")
            continue
        reason = (
            why_no_kernel(name, problem, backend)
            if name in KERNELS
            else BACKENDS[name].why_not(problem)
        )
        lines.append(f"{name}: not used: {reason or f'{chosen} was chosen'}")
    return "\n".join(lines)


def attend(
    q: Float[Tensor, "batch windows heads queries head_dim"],
    k: Float[Tensor, "batch windows heads keys head_dim"],
    v: Float[Tensor, "batch windows heads keys head_dim"],
    *,
    scale: float,
    bias: Bias | None = None,
    region: Region | None = None,
    mask_value: float = -math.inf,
    dropout: float = 0.0,
    backend: str | None = None,
) -> Float[Tensor, "batch windows heads queries head_dim"]:
    """Attend within windows: ``softmax(scale q k^T + bias, where labels are equal) v``.

    Args:
        q: queries.
        k: keys.
        v: values.
        scale: multiplies ``q k^T``.
        bias: added to the scores: one for every window, or one for each.
        region: labels of queries and of keys, ``(batch | 1, windows, tokens)`` each; a query sees
            the keys of its own label. Every query must see at least one key.
        mask_value: added to scores across labels; minus infinity unless a checkpoint needs -100.
        dropout: probability of dropping an attention weight.
        backend: name of the implementation; default the one that ``choose`` names. A named one is
            used even where ``why_not`` advises against it.
    Returns:
        One row for each query.
    Raises:
        UsageError: an unknown backend.
    """
    problem = Problem.of(q, k, bias, region, dropout)
    if backend is None:
        backend = choose(problem)
    elif backend not in BACKENDS:
        names = ", ".join(BACKENDS)
        raise UsageError(f"backend={backend!r}", f"one of {names}", "leave it out to let it choose")
    return BACKENDS[backend].attend(
        q, k, v, scale=scale, bias=bias, region=region, mask_value=mask_value, dropout=dropout
    )
