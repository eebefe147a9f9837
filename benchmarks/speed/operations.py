"""The attention of one layer alone: from what the linear layer before it wrote to what the next
one reads, by us and by what torch offers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.speed.cases import Case
from benchmarks.speed.contenders import Contender, Running
from benchmarks.speed.peers import Absent
from vitrail.attention import attend_groups
from vitrail.models import CATALOG
from vitrail.models.config import SwinConfig
from vitrail.ops.windows import partition, shift, unpartition, unshift
from vitrail.patterns import Window

_MORE_THAN_CACHED = 200e6  # bytes; an H100's second cache holds 50 MB


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's attention.

    Args:
        label: what it is called in tables.
        pattern: who sees whom.
        grid: tokens along each axis; the window divides it.
        num_heads: attention heads.
        head_dim: channels of each.
    """

    label: str
    pattern: Window
    grid: tuple[int, ...]
    num_heads: int
    head_dim: int


@dataclass(frozen=True, slots=True)
class Inputs:
    """Numbers of one layer: ``qkv`` as the linear layer wrote it, the bias, and labels or None."""

    qkv: Tensor
    bias: Tensor
    region: Tensor | None
    layer: Layer


def layers(case: Case) -> list[Layer]:
    """Return the layers of a Swin whose attention differs: each stage, regular and shifted."""
    config = CATALOG[case.model].config
    if not isinstance(config, SwinConfig):
        raise Absent("only windows are measured alone")
    found = []
    for stage, (strides, dim, heads) in enumerate(
        zip(config.stage_strides, config.stage_dims, config.num_heads, strict=True)
    ):
        grid = tuple(-(-n // s) for n, s in zip(case.size, strides, strict=True))
        size = config.windows[stage]
        for shifted in (False, True):
            pattern = Window(size, tuple(m // 2 if shifted else 0 for m in size))
            window, amount = pattern.fit(grid)
            if (shifted and not any(amount)) or any(
                n % m for n, m in zip(grid, window, strict=True)
            ):
                continue
            name = f"stage {stage + 1}, {'shifted' if shifted else 'regular'}"
            found.append(Layer(name, pattern, grid, heads, dim // heads))
    return found


def inputs(layer: Layer, case: Case) -> Inputs:
    """Draw the numbers of a layer."""
    generator = torch.Generator().manual_seed(0)
    window, amount = layer.pattern.fit(layer.grid)
    tokens = torch.Size(window).numel()
    width = 3 * layer.num_heads * layer.head_dim
    qkv = torch.randn(case.batch, *layer.grid, width, generator=generator)
    bias = torch.randn(layer.num_heads, tokens, tokens, generator=generator)
    region = None
    if any(amount):
        region = layer.pattern.groups(layer.grid).labels[0][None].to(case.device)
    dtype = case.torch_dtype
    return Inputs(qkv.to(case.device, dtype), bias.to(case.device, dtype), region, layer)


Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Way = Callable[[Inputs], Attend]
Operation = Callable[[Tensor], Tensor]  # of what the linear layer wrote
Maker = Callable[[Inputs], Operation]


def composed(qkv: Tensor, layer: Layer, attend: Attend) -> Tensor:
    """Roll, cut into windows, attend, and put together again: how every library does it."""
    window, amount = layer.pattern.fit(layer.grid)
    windows = partition(shift(qkv, amount), window)
    q, k, v = windows.unflatten(-1, (3, layer.num_heads, -1)).permute(3, 0, 1, 4, 2, 5)
    out = attend(q, k, v).transpose(2, 3).flatten(3)
    return unshift(unpartition(out, window, layer.grid), amount)


def table(given: Inputs) -> Tensor:
    """Return what is added to scores: bias and mask, for each window or, without mask, for all."""
    if given.region is None:
        return given.bias[None]
    hidden = given.region[0, :, :, None] != given.region[0, :, None, :]
    return given.bias.masked_fill(hidden[:, None], -torch.inf)


def by_products(given: Inputs) -> Attend:
    """Attend by two products and a softmax."""
    added, scale = table(given), given.layer.head_dim**-0.5

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = (q * scale) @ k.mT + added
        return scores.softmax(-1, dtype=torch.float32).to(v.dtype) @ v

    return attend


def by_sdpa(given: Inputs) -> Attend:
    """Attend by torch's fused kernel, with bias and mask as one table."""
    mask = table(given)
    if len(mask) > 1:
        mask = mask.repeat(len(given.qkv), 1, 1, 1)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.flatten(0, 1) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, mask).unflatten(0, (len(given.qkv), -1))

    return attend


def by_flex(given: Inputs) -> Attend:
    """Attend by FlexAttention: bias and labels in its function of a score."""
    from torch.nn.attention.flex_attention import flex_attention

    bias, region = given.bias, given.region

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        windows = q.shape[1]

        def change(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            score = score + bias[h, i, j]
            if region is None:
                return score
            same = region[0, b % windows, i] == region[0, b % windows, j]
            return torch.where(same, score, -torch.inf)

        out = flex_attention(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), score_mod=change)
        assert isinstance(out, Tensor)
        return out.unflatten(0, q.shape[:2])

    return attend


def contenders(case: Case, given: Inputs) -> list[Contender]:
    """Return everyone who might take part in a case of attention alone."""
    makers: list[tuple[str, str, Maker]] = [
        ("vitrail", backend, partial(own, backend=backend))
        for backend in (("plain", "cpp") if case.device == "cpu" else ("plain", "triton"))
    ]
    both: list[tuple[str, Way]] = [("SDPA with mask", by_sdpa), ("plain products", by_products)]
    ways = [(library, way, s) for library, way in both for s in ("eager", "compile")]
    ways.append(("FlexAttention", by_flex, "compile"))  # which is meant to be compiled
    makers += [(library, s, partial(theirs, way=way, setting=s)) for library, way, s in ways]
    prepare = in_line if case.device == "cuda" else _once
    return [Contender(library, s, partial(prepare, make, given)) for library, s, make in makers]


def _once(make: Maker, given: Inputs) -> Running:
    attend = make(given)

    def call() -> Tensor:
        return attend(given.qkv)

    return Running(call, lambda: [call()])


def in_line(make: Maker, given: Inputs) -> Running:
    """Prepare an operation on a GPU over copies of its input, one behind the other.

    Calls are recorded once and started together, as it takes longer to start one from Python than
    to compute it; copies are more than the cache holds, as a layer finds its input in memory.
    """
    attend = make(given)
    count = math.ceil(_MORE_THAN_CACHED / (given.qkv.numel() * given.qkv.element_size()))
    calls = [partial(attend, given.qkv.clone()) for _ in range(count)]
    for call in calls:
        call()  # compiles and tries settings, which nothing can record
    again = recorded(calls)
    # Who answers holds the copies, which the graph reads where they lie.
    return Running(again, lambda: [calls[0]()], keeps=False, times=count)


def recorded(calls: Sequence[Callable[[], object]]) -> Callable[[], None]:
    """Record what calls start on the GPU, and return what starts it again."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return graph.replay


def theirs(given: Inputs, *, way: Way, setting: str) -> Operation:
    """Prepare a composition; what is the same at every call is not part of one."""
    attend = way(given)

    def run(qkv: Tensor) -> Tensor:
        return composed(qkv, given.layer, attend)

    ready = run if setting == "eager" else torch.compile(run, dynamic=False)
    return torch.inference_mode()(ready)


def own(given: Inputs, *, backend: str) -> Operation:
    """Prepare our op by one of its implementations."""
    layer = given.layer
    groups = layer.pattern.groups(layer.grid, given.qkv.device)
    bias, scale = given.bias[None], layer.head_dim**-0.5

    @torch.inference_mode()
    def run(qkv: Tensor) -> Tensor:
        qkv = qkv.flatten(1, -2).unflatten(-1, (3, layer.num_heads, -1))
        out = attend_groups(qkv, groups, scale=scale, bias=bias, backend=backend)
        return out.unflatten(1, layer.grid)

    return run
