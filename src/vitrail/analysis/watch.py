"""Record a model's run on the meta device, where tensors have shapes and no numbers.

The real model runs, so that nothing is described twice: linear maps and convolutions are counted
from the shapes they meet, attention from ``pattern.scores`` of the layer that attends. Torch's
``FlopCounterMode`` does not count here, because it is the independent count that
``tests/analysis/test_cost.py`` holds these figures to.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from vitrail.layers import Attend
from vitrail.models import place_of
from vitrail.models.parts import EMBEDDING
from vitrail.models.stage import Stage
from vitrail.patterns import Pattern
from vitrail.shapes import Size

Model = TypeVar("Model", bound=nn.Module)

_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_PRODUCTS = (
    *(torch.matmul, torch.bmm, torch.mm),
    *(Tensor.matmul, Tensor.bmm, Tensor.mm, Tensor.__matmul__),
)


def part_of(name: str) -> int | str:
    """Return the number of the stage that a module or parameter belongs to, "embed" or "head"."""
    part, stage, _ = place_of(name)
    if stage is not None:
        return stage
    return "embed" if part in EMBEDDING else "head"


def on_meta(model: Model, dtype: torch.dtype | None = None) -> Model:
    """Return a copy of a model without its numbers: shapes, modes and settings only.

    Args:
        model: it is not changed, and its numbers are not copied.
        dtype: of the copy's floating-point numbers; default as they are.
    """

    def shape_of(tensor: Tensor) -> Tensor:
        wanted = dtype if tensor.is_floating_point() else None
        return torch.empty_like(tensor, device="meta", dtype=wanted)

    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(shape_of(parameter), parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = shape_of(buffer)
    return copy.deepcopy(model, memo)


@dataclass(slots=True)
class Attention:
    """One call of a layer that attends."""

    name: str
    pattern: Pattern
    spatial: Size
    groups: int
    queries: int
    keys: int
    heads: int
    flops: int


@dataclass(slots=True)
class Record:
    """What was seen: products by part and kind, calls of attention, grids, widths."""

    flops: dict[tuple[int | str, str], int] = field(default_factory=dict)
    attention: list[Attention] = field(default_factory=list)
    grids: dict[int, Size] = field(default_factory=dict)
    dims: dict[int, int] = field(default_factory=dict)

    def add(self, part: int | str, kind: str, flops: int) -> None:
        """Add products to a part and kind."""
        self.flops[part, kind] = self.flops.get((part, kind), 0) + flops


class _Products(TorchFunctionMode):
    """Counts every product that is written as one, outside attention; each is two FLOPs."""

    def __init__(self, record: Record, place: list[tuple[int | str, str]]) -> None:
        super().__init__()
        self.record = record
        self.place = place

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        part, kind = self.place[-1] if self.place else ("head", "rest")
        if kind != "attention":
            products = _products(func, args, kwargs or {}, out)
            if products:
                self.record.add(part, kind, 2 * products)
        return out


def _products(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """Return how many numbers one call multiplies and adds."""
    if func is F.linear:
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        return out.numel() * weight.shape[-1]
    if func in _CONVOLUTIONS:
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        return out.numel() * math.prod(weight.shape[1:])
    if func in _PRODUCTS:
        return out.numel() * args[0].shape[-1]
    if func is torch.einsum:
        labels = args[0].partition("->")[0].split(",")
        if len(labels) == 2 and "..." not in args[0]:
            operands = args[1] if isinstance(args[1], list | tuple) else args[1:]
            lengths: dict[str, int] = {}
            for letters, operand in zip(labels, operands, strict=True):
                lengths.update(zip(letters.strip(), operand.shape, strict=True))
            return math.prod(lengths.values())
    return 0


@contextmanager
def count_products(model: nn.Module) -> Iterator[Record]:
    """Count what a model computes while it runs inside; yields the record, filled as it goes."""
    record = Record()
    layers = {n: m for n, m in model.named_modules() if isinstance(_attend(m), Attend)}
    place: list[tuple[int | str, str]] = []
    with ExitStack() as stack:
        for name, module in model.named_modules():
            here = (part_of(name), _kind(name, module, layers))
            _keep_place(module, here, place, stack)
            if isinstance(module, Stage):
                _watch_grid(part_of(name), module, record, stack)
        for name, layer in layers.items():
            _watch_attention(name, layer, record, stack)
        stack.enter_context(_Products(record, place))
        yield record


def _attend(module: nn.Module) -> Any:
    return getattr(module, "attend", None)


def _kind(name: str, module: nn.Module, layers: dict[str, nn.Module]) -> str:
    if isinstance(module, Attend):
        return "attention"
    if any(name == layer or name.startswith(layer + ".") for layer in layers):
        return "projections"
    return "rest" if place_of(name).block is None else "mlp"


def _keep_place(
    module: nn.Module, here: tuple[int | str, str], place: list[Any], stack: ExitStack
) -> None:
    def enter(*_: Any) -> None:
        place.append(here)

    def leave(*_: Any) -> None:
        place.pop()

    stack.callback(module.register_forward_pre_hook(enter).remove)
    stack.callback(module.register_forward_hook(leave).remove)


def _watch_grid(stage: int | str, module: Stage, record: Record, stack: ExitStack) -> None:
    def enter(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(stage, int)
        record.grids[stage] = tuple(args[0].shape[1:-1])

    def leave(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(stage, int)
        record.dims[stage] = output.shape[-1]
        if module.prefix is None:  # a stage's first block may pool; with prefix tokens comes a list
            record.grids[stage] = tuple(output.shape[1:-1])

    stack.callback(module.register_forward_pre_hook(enter).remove)
    stack.callback(module.register_forward_hook(leave).remove)


def _watch_attention(name: str, layer: Any, record: Record, stack: ExitStack) -> None:
    grids: list[Size] = []

    def given(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        # Behind prefix tokens a layer sees a list, which has no grid: it is the stage's.
        part = part_of(name)
        listed = layer.pattern.prefix and isinstance(part, int)
        grids.append(record.grids[part] if listed else tuple(args[0].shape[1:-1]))  # type: ignore[index]

    def enter(_: nn.Module, args: tuple[Tensor, Tensor, Tensor]) -> None:
        q, k, v = args
        part, spatial = part_of(name), grids.pop()
        batch, groups, heads, queries, width = q.shape
        # Two products for every score and channel: with the key, and with the value.
        products = layer.pattern.scores(spatial) * batch * heads * (width + v.shape[-1])
        call = Attention(
            name, layer.pattern, spatial, groups, queries, k.shape[3], heads, 2 * products
        )
        record.attention.append(call)
        record.add(part, "attention", call.flops)

    stack.callback(layer.register_forward_pre_hook(given).remove)
    stack.callback(layer.attend.register_forward_pre_hook(enter).remove)
