"""Gradient-weighted rollout: what was routed into the output where it raised one class.

Source: Chefer et al. 2021, Generic Attention-model Explainability for Interpreting Bi-Modal and
Encoder-Decoder Transformers, arXiv 2103.15679: ``R <- R + A' R`` with ``A'`` the mean of the heads
of ``relu(grad * A)``. Differs in that tokens meet in groups, are pooled, and merge (see
``rollout``), and that one row is pulled back instead of multiplying matrices. Where the mean of all
tokens is classified, which the paper has not, that mean counts as one more attention, with the same
weight for every token: the row begins with ``relu(grad * A)`` of it. A head of segmentation reads
the maps of several stages, and what it takes of each token counts in the same way, where the row
comes by that stage's end. The path on which nothing is routed by a block is left out, as the paper
leaves out the class token's own column.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.explain.capture import capture
from vitrail.explain.gradients import differentiable
from vitrail.explain.pieces import pieces
from vitrail.explain.pooling import spread_queries
from vitrail.explain.rollout import answer_row, tokens
from vitrail.explain.routing import Part, descend, taken
from vitrail.explain.subject import subject
from vitrail.explain.targets import Target, target_score
from vitrail.explain.trace import BlockTrace, Trace
from vitrail.models import TaskModel


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """What the gradient of a class' logit by any attention weight is made of.

    A weight ``A[q, k]`` acts through ``out[q] = sum_k A[q, k] v[k]`` alone, so its gradient is that
    of ``out[q]`` times ``v[k]``: values and gradients grow with the tokens, not with their pairs.

    Args:
        values: by block, ``[groups, heads, keys, head_dim]``.
        slopes: by block, the gradient at the output of attention, one row for each query.
        read: by stage, ``relu(grad * A)`` of each token at its end, where the output is made of
            these: of the last one's mean, or of the maps that a head reads.
    """

    values: dict[str, Tensor]
    slopes: dict[str, Tensor]
    read: dict[int, Float[Tensor, " tokens"]]


def gradient_rollout(
    model: nn.Module, image: Float[Tensor, "..."], target: Target, trace: Trace | None = None
) -> Float[Tensor, "*grid"]:
    """Return where what raises a class' score, or another number of the output, was routed from.

    Args:
        model: a Vitrail classifier or model of segmentation, of any rank; it is left as it was
            found.
        image: one input, normalised as the model expects it.
        target: number of the class; or a function of the output, such as ``class_at(cls, place)``.
        trace: of the same model and image; default it is captured.
    Returns:
        Shares of the tokens of the first stage, which sum to one, in float64; zeros where nothing
        that was routed raises the class' score.
    Raises:
        UsageError: no classifier, or no such class or target.
    """
    model, backbone = subject(model)
    trace = capture(model, image) if trace is None else trace
    ends = attention_ends(model, image, target)

    def pull(number: int, rows: Tensor) -> Tensor:
        block = trace.blocks[number]
        if number in entering:
            rows[0] += entering[number]
        # The path on which nothing is routed, and beside it all others.
        stayed, routed = rows.split(1)
        return torch.cat((stayed, routed + taken(stayed + routed, block, _weighted(block, ends))))

    start = answer_row(trace)
    entering: dict[int, Tensor] = {}
    if isinstance(model, TaskModel) or backbone.global_pool == "avg":
        entering = _by_block(trace, ends)
        start = entering.pop(len(trace.blocks) - 1)[None]
    rows = torch.cat((start, torch.zeros_like(start)))
    routed = descend(trace, rows, len(trace.blocks) - 1, pull)[-1][1]
    return routed / routed.sum().clamp(min=torch.finfo(routed.dtype).tiny)


def _by_block(trace: Trace, ends: Ends) -> dict[int, Tensor]:
    """Return what is read of each token at the end of a stage, prefix tokens first, by block."""
    last = {block.stage: number for number, block in enumerate(trace.blocks)}
    found = {}
    for stage, held in ends.read.items():
        row = torch.zeros(tokens(trace.blocks[last[stage]]), dtype=torch.float64)
        row[len(row) - len(held) :] = held
        found[last[stage]] = row
    return found


def attention_ends(model: nn.Module, image: Float[Tensor, "..."], target: Target) -> Ends:
    """Run a model forwards and backwards, and keep what every attention weight's gradient needs."""
    values: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    read: list[Tensor] = []

    def end(_: nn.Module, args: object, output: Tensor) -> None:
        del args
        read.append(output)

    def enter(_: nn.Module, args: tuple[Any, ...]) -> None:
        read.extend(args[0])

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
        stages: tuple[int, ...] = (len(backbone.stages) - 1,)
        if isinstance(model, TaskModel):
            stages = backbone.out_indices
            hooks.callback(model.head.register_forward_pre_hook(enter).remove)
        else:
            hooks.callback(last.register_forward_hook(end).remove)
        score = target_score(model, image, target)
        gradients = torch.autograd.grad(score, [*outputs.values(), *read])
    slopes = {block: gradient[0].cpu() for block, gradient in zip(outputs, gradients, strict=False)}
    channels = 1 if isinstance(model, TaskModel) else -1
    pulled = zip(stages, read, gradients[len(outputs) :], strict=True)
    return Ends(values, slopes, {
        stage: (found.detach() * slope).sum(channels).relu().flatten().cpu()
        for stage, found, slope in pulled
    })  # fmt: skip


def _weighted(block: BlockTrace, ends: Ends) -> Iterator[Part]:
    """Yield the mean of the heads of ``relu(grad * A)``."""
    values, slopes = (found[block.name].to(torch.float64) for found in (ends.values, ends.slopes))
    if block.source is not None:
        slopes = spread_queries(slopes, block.source)
    for piece in pieces(block):
        slope = slopes[piece.groups, :, piece.queries] @ values[piece.groups].mT
        yield piece.groups, piece.queries, (slope * piece.weights).relu().mean(1)
