"""Common claims about hierarchical attention, each computed by a small function."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.layers import FocalAttention
from vitrail.ops.windows import shift
from vitrail.patterns import Focal, Global, Window
from vitrail.shapes import Size


def window_saving(grid: Size, window: Size) -> float:
    """Return how many times fewer pairs windows have than global attention on a grid."""
    pairs = Window(window, (0,) * len(window)).pairs(grid)
    return Global().pairs(grid) / pairs


@dataclass(frozen=True, slots=True)
class Granularity:
    """What the content of an image changes in focal attention.

    Args:
        support_changes: (token, token) pairs of which some contents let one influence the other,
            and others do not.
        pooling_changes: largest change of a token's share in its pooled key.
        output_changes: largest change of the layer's output, for scale: there content matters.
    """

    support_changes: int
    pooling_changes: float
    output_changes: float


def focal_granularity(seed: int = 0) -> Granularity:
    """Perturb the content that focal attention sees, and return what becomes of the allowed pairs.

    Random weights, float64; contents are noise, faint noise and a ramp with an edge.
    """
    generator = torch.Generator().manual_seed(seed)
    layer = FocalAttention(8, 2, Focal((4, 4), (1, 1), ((3, 3),)), qkv_bias=True).double().eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    noise, faint = torch.randn(2, 1, 12, 12, 8, generator=generator, dtype=torch.float64)
    edge = faint * 0.1 + torch.arange(12.0, dtype=torch.float64)[:, None] // 6
    contents = (noise, faint * 0.01, edge)
    supports, shares, outputs = [], [], []
    for content in contents:
        content = content.clone().requires_grad_()
        outputs.append(layer(content))
        supports.append(_support(outputs[-1], content))
        cells = layer.pool_cells(content)
        assert cells is not None  # there is one level
        (share,) = torch.autograd.grad(cells.sum(), content)
        shares.append(share)
    changed = sum(int((s != supports[0]).sum()) for s in supports[1:])
    pooled = max(float((s - shares[0]).abs().max()) for s in shares[1:])
    answers = max(float((o - outputs[0]).detach().abs().max()) for o in outputs[1:])
    return Granularity(changed, pooled, answers)


def _support(output: Tensor, content: Tensor) -> Tensor:
    """Return which tokens influence a corner token, one inside a window, and the last."""
    rows = []
    for place in ((0, 0), (3, 3), (11, 11)):
        total = (output[0, place[0], place[1]] * torch.arange(1.0, 9.0)).sum()
        (gradient,) = torch.autograd.grad(total, content, retain_graph=True)
        rows.append(gradient[0].abs().sum(-1) > 0)
    return torch.stack(rows)


@dataclass(frozen=True, slots=True)
class Reshape:
    """What queries and keys meet when they are cut out of one projection.

    Args:
        scores: rows and columns of the table of scores.
        influences: tokens that influence the first token.
    """

    scores: tuple[int, int]
    influences: int


def qkv_reshape(*, permute: bool, tokens: int = 6, heads: int = 2, width: int = 4) -> Reshape:
    """Attend as much of the code in circulation does, with or without its permutation.

    Args:
        permute: bring heads before tokens.
        tokens: how many there are.
        heads: attention heads.
        width: channels of a head.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(tokens, heads * width, generator=generator, dtype=torch.float64)
    weight = torch.randn(3 * heads * width, heads * width, generator=generator, dtype=torch.float64)

    def attend(x: Float[Tensor, "tokens dim"]) -> tuple[Tensor, Tensor]:
        qkv = (x @ weight.T).view(tokens, 3, heads, width).transpose(0, 1)
        if permute:
            qkv = qkv.transpose(1, 2)
        q, k, v = qkv
        scores = (q @ k.transpose(-2, -1)).softmax(-1)
        out = scores @ v
        return (out.transpose(0, 1) if permute else out).reshape(tokens, -1), scores

    x.requires_grad_()
    out, scores = attend(x)
    (gradient,) = torch.autograd.grad(out[0].sum(), x)
    rows, columns = scores.shape[-2:]
    return Reshape((rows, columns), int((gradient.abs().sum(-1) > 0).sum()))


def drift(length: int, amount: int, blocks: int) -> int:
    """Return how far a token has wandered when its shift is never undone.

    Args:
        length: tokens along an axis.
        amount: tokens that every other block shifts by.
        blocks: how many blocks it has passed, regular and shifted in turn.
    """
    x = torch.zeros(1, length, 1)
    x[0, 0] = 1
    for block in range(blocks):
        if block % 2:
            x = shift(x, (amount,))
    place = int(x.flatten().argmax())
    return min(place, length - place)


def padding_waste(size: Size, stride: Size, window: Size) -> float:
    """Return the share of the places in windows that hold padding.

    Args:
        size: input samples along each axis.
        stride: input samples per token and axis.
        window: tokens along each axis.
    """
    grid = tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
    padded = math.prod(-(-n // m) * m for n, m in zip(grid, window, strict=True))
    return 1 - math.prod(grid) / padded
