"""Gradient-weighted rollout: what was routed into the answer where it raised one class.

Source: Chefer et al. 2021, Generic Attention-model Explainability for Interpreting Bi-Modal and
Encoder-Decoder Transformers, arXiv 2103.15679: ``R <- R + A' R`` with ``A'`` the mean of the heads
of ``relu(grad * A)``. Differs in that tokens meet in groups, are pooled, and merge (see
``rollout``), that one row is pulled back instead of multiplying matrices, and that the path on
which nothing is ever routed is left out: the paper leaves out the class token's own column, which
is that path; where the mean of all tokens is classified, it is the same for every class.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.explain.capture import attention_layers, capture
from vitrail.explain.gradients import class_score, differentiable
from vitrail.explain.pieces import pieces
from vitrail.explain.rollout import answer_row
from vitrail.explain.routing import Part, descend, taken
from vitrail.explain.trace import BlockTrace, Trace

# Of each block: its values, and the gradient at what its attention gave.
_Ends = dict[str, tuple[Tensor, Tensor]]


def gradient_rollout(
    model: nn.Module, image: Float[Tensor, "..."], cls: int, trace: Trace | None = None
) -> Float[Tensor, "*grid"]:
    """Return where what speaks for a class was routed from.

    Args:
        model: a Vitrail classifier of any rank; it is left as it was found.
        image: one input, normalised as the model expects it.
        cls: number of the class.
        trace: of the same model and image; default it is captured.
    Returns:
        Shares of the tokens of the first stage, which sum to one, in float64; zeros where nothing
        that was routed speaks for the class.
    Raises:
        UsageError: no classifier, or no such class.
    """
    trace = capture(model, image) if trace is None else trace
    ends = attention_ends(model, image, cls)

    def pull(number: int, rows: Tensor) -> Tensor:
        block = trace.blocks[number]
        # The path on which nothing is routed, and beside it all others.
        stayed, routed = rows.split(1)
        return torch.cat((stayed, routed + taken(stayed + routed, block, _weighted(block, ends))))

    start = answer_row(trace)
    rows = torch.cat((start, torch.zeros_like(start)))
    routed = descend(trace, rows, len(trace.blocks) - 1, pull)[-1][1]
    return routed / routed.sum().clamp(min=torch.finfo(routed.dtype).tiny)


def attention_ends(model: nn.Module, image: Float[Tensor, "..."], cls: int) -> _Ends:
    """Return what the gradient of a class' logit by any attention weight is made of.

    A weight ``A[q, k]`` acts through ``out[q] = sum_k A[q, k] v[k]`` alone, so its gradient is that
    of ``out[q]`` times ``v[k]``: values and gradients grow with the tokens, not with their pairs.

    Returns:
        By block, values ``[groups, heads, keys, head_dim]`` and the gradients at the output of
        attention, ``[groups, heads, queries, head_dim]``, on the CPU.
    """
    values: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    with differentiable(model), ExitStack() as hooks:
        for name, module in attention_layers(model).items():

            def leave(
                _: nn.Module,
                args: tuple[Tensor, ...],
                kwargs: dict[str, Any],
                output: Tensor,
                block: str = name.rpartition(".")[0],
            ) -> None:
                del kwargs
                values[block], outputs[block] = args[2].detach(), output

            hooks.callback(module.attend.register_forward_hook(leave, with_kwargs=True).remove)
        score = class_score(model, image, cls)
        gradients = torch.autograd.grad(score, list(outputs.values()))
    return {
        block: (values[block][0].cpu(), gradient[0].cpu())
        for block, gradient in zip(outputs, gradients, strict=True)
    }


def _weighted(block: BlockTrace, ends: _Ends) -> Iterator[Part]:
    """Yield the mean of the heads of ``relu(grad * A)``."""
    values, gradients = (end.to(torch.float64) for end in ends[block.name])
    for piece in pieces(block):
        slope = gradients[piece.groups, :, piece.queries] @ values[piece.groups].mT
        yield piece.groups, piece.queries, (slope * piece.weights).relu().mean(1)
