"""Gradient-weighted rollout: what was routed into the output where it raised one class.

Source: Chefer et al. 2021, Generic Attention-model Explainability for Interpreting Bi-Modal and
Encoder-Decoder Transformers, arXiv 2103.15679: ``R <- R + A' R`` with ``A'`` the mean of the heads
of ``relu(grad * A)``. Differs in that tokens meet in groups, are pooled, and merge (see
``rollout``), and that one row is pulled back instead of multiplying matrices. Where the mean of all
tokens is classified, which the paper has not, that mean counts as one more attention, with the same
weight for every token: the row begins with ``relu(grad * A)`` of it. The path on which nothing is
routed by a block is left out, as the paper leaves out the class token's own column.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.explain.capture import capture
from vitrail.explain.gradients import class_score, differentiable
from vitrail.explain.pieces import pieces
from vitrail.explain.pooling import spread_queries
from vitrail.explain.rollout import answer_row
from vitrail.explain.routing import Part, descend, taken
from vitrail.explain.subject import subject
from vitrail.explain.trace import BlockTrace, Trace


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """What the gradient of a class' logit by any attention weight is made of.

    A weight ``A[q, k]`` acts through ``out[q] = sum_k A[q, k] v[k]`` alone, so its gradient is that
    of ``out[q]`` times ``v[k]``: values and gradients grow with the tokens, not with their pairs.

    Args:
        values: by block, ``[groups, heads, keys, head_dim]``.
        slopes: by block, the gradient at the output of attention, one row for each query.
        pooled: ``relu(grad * A)`` of each of the last tokens, where their mean is the output's.
    """

    values: dict[str, Tensor]
    slopes: dict[str, Tensor]
    pooled: Float[Tensor, " tokens"]


def gradient_rollout(
    model: nn.Module, image: Float[Tensor, "..."], cls: int, trace: Trace | None = None
) -> Float[Tensor, "*grid"]:
    """Return where what raises a class' score was routed from.

    Args:
        model: a Vitrail classifier of any rank; it is left as it was found.
        image: one input, normalised as the model expects it.
        cls: number of the class.
        trace: of the same model and image; default it is captured.
    Returns:
        Shares of the tokens of the first stage, which sum to one, in float64; zeros where nothing
        that was routed raises the class' score.
    Raises:
        UsageError: no classifier, or no such class.
    """
    model, backbone = subject(model)
    trace = capture(model, image) if trace is None else trace
    ends = attention_ends(model, image, cls)

    def pull(number: int, rows: Tensor) -> Tensor:
        block = trace.blocks[number]
        # The path on which nothing is routed, and beside it all others.
        stayed, routed = rows.split(1)
        return torch.cat((stayed, routed + taken(stayed + routed, block, _weighted(block, ends))))

    start = answer_row(trace)
    if backbone.global_pool == "avg":
        start = ends.pooled.to(start.dtype)[None]
    rows = torch.cat((start, torch.zeros_like(start)))
    routed = descend(trace, rows, len(trace.blocks) - 1, pull)[-1][1]
    return routed / routed.sum().clamp(min=torch.finfo(routed.dtype).tiny)


def attention_ends(model: nn.Module, image: Float[Tensor, "..."], cls: int) -> Ends:
    """Run a model forwards and backwards, and keep what every attention weight's gradient needs."""
    values: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    tokens: list[Tensor] = []

    def end(_: nn.Module, args: object, output: Tensor) -> None:
        del args
        tokens.append(output)

    model, backbone = subject(model)
    with differentiable(model, image), ExitStack() as hooks:
        for layer in backbone.attention_layers():

            def leave(
                _: nn.Module, args: tuple[Tensor, ...], output: Tensor, block: str = layer.around
            ) -> None:
                if block not in outputs:  # a second pass would keep its graph alive
                    values[block], outputs[block] = args[2][0].detach().cpu(), output

            hooks.callback(layer.module.attend.register_forward_hook(leave).remove)
        unnormed = backbone.norm is None or backbone.norm_pooled
        last: Any = backbone.stages[-1] if unnormed else backbone.norm
        hooks.callback(last.register_forward_hook(end).remove)
        score = class_score(model, image, cls)
        *gradients, slope = torch.autograd.grad(score, [*outputs.values(), *tokens])
    slopes = {block: gradient[0].cpu() for block, gradient in zip(outputs, gradients, strict=True)}
    pooled = (tokens[0].detach() * slope).sum(-1).relu().flatten().cpu()
    return Ends(values, slopes, pooled)


def _weighted(block: BlockTrace, ends: Ends) -> Iterator[Part]:
    """Yield the mean of the heads of ``relu(grad * A)``."""
    values, slopes = (found[block.name].to(torch.float64) for found in (ends.values, ends.slopes))
    if block.source is not None:
        slopes = spread_queries(slopes, block.source)
    for piece in pieces(block):
        slope = slopes[piece.groups, :, piece.queries] @ values[piece.groups].mT
        yield piece.groups, piece.queries, (slope * piece.weights).relu().mean(1)
