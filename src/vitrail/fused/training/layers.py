"""A model's blocks as they are trained on a CPU: the same parameters, whole branches at a time."""

import copy
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention.cpp.kernel import KINDS
from vitrail.fused.parts import known_merging, known_parts
from vitrail.fused.training.depthwise_gelu import depthwise_gelu
from vitrail.fused.training.fused_mlp import fused_mlp
from vitrail.layers import (
    Attend,
    DepthwiseMlp,
    DropPath,
    GroupedAttention,
    Mlp,
    PatchMerging,
    PostNormPatchMerging,
    PreNormBlock,
    ReductionAttention,
    WindowAttention,
)
from vitrail.ops.merging import merge

Module = TypeVar("Module", bound=nn.Module)


def with_same_parameters(model: Module) -> Module:
    """Return a copy of a model's modules, with its very parameters and buffers."""
    shared = {id(x): x for x in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


def train_fused(model: nn.Module) -> None:
    """Replace a model's blocks by ones whose training steps are faster, in place.

    Names, state dict, autocast and modes stay those of the model. Layers that the kernel cannot
    serve (another device or type, dropout within a perceptron) compute as they always do.
    """
    for parent in list(model.modules()):
        if isinstance(parent, Attend):
            parent.backend = "cpp"
        for name, child in list(parent.named_children()):
            if type(child) is PreNormBlock and known_parts(child):
                setattr(parent, name, _block(child))
            elif type(child) is Mlp and known_parts(child):
                setattr(parent, name, _as(TrainingMlp, child))
            elif type(child) is DepthwiseMlp and known_parts(child):
                setattr(parent, name, _as(TrainingDepthwiseMlp, child))
            elif type(child) is PatchMerging and known_merging(child):
                setattr(parent, name, _as(TrainingMerging, child))
            elif type(child) is nn.Linear and isinstance(parent, _OWNERS):
                setattr(parent, name, _as(TrainingLinear, child))


# Layers whose linear layers see every token; others are small.
_OWNERS = (GroupedAttention, ReductionAttention, Mlp, PostNormPatchMerging)
Kind = TypeVar("Kind", bound=nn.Module)


def _as(kind: type[Kind], module: nn.Module) -> Kind:
    """Return a module of another kind with the same parts."""
    made = kind.__new__(kind)
    made.__dict__.update(module.__dict__)
    return made


def _block(block: PreNormBlock) -> "TrainingBlock":
    made = _as(TrainingBlock, block)
    made.joined = False
    if type(block.attn) is WindowAttention:
        made.attn = _as(TrainingWindowAttention, block.attn)
        made.attn.__dict__["norm"] = block.norm1  # not a second name in the state dict
        made.joined = True
    return made


def _wide(x: Tensor) -> Tensor | None:
    """Return an input in the type of its products, or None where the kernel does not serve it."""
    if x.device.type != "cpu" or torch.compiler.is_exporting():
        return None
    if torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:
        x = x.to(torch.get_autocast_dtype("cpu"))
    return x if x.dtype in KINDS else None


def _norm_arguments(norm: nn.LayerNorm) -> tuple[Tensor | None, Tensor | None, float]:
    return norm.weight, norm.bias, norm.eps


def _normed_branch(x: Tensor, wide: Tensor, linear: nn.Linear, norm: nn.LayerNorm) -> Tensor:
    """Return ``linear(norm(x))``; ``wide`` is ``x`` in the type of the products.

    A norm reads ``x`` as it is: rounded before, it could be left with little but the rounding.
    """
    if wide.dtype == x.dtype:
        return fused_mlp(wide, linear.weight, linear.bias, norm=_norm_arguments(norm))
    return fused_mlp(norm(x).to(wide.dtype), linear.weight, linear.bias)


class TrainingLinear(nn.Linear):
    """A linear layer, made of a ``nn.Linear``."""

    def forward(self, input: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Project, and give the gradients of all that took part."""
        x = _wide(input)
        return super().forward(input) if x is None else fused_mlp(x, self.weight, self.bias)


class TrainingMlp(Mlp):
    """A perceptron, made of a ``Mlp``."""

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Transform every token on its own."""
        wide = self.served(x)
        return super().forward(x) if wide is None else self.fused(wide)

    def served(self, x: Tensor) -> Tensor | None:
        """Return ``x`` as ``fused`` takes it, or None where the layers compute one by one."""
        drops = isinstance(self.drop, nn.Dropout) and self.drop.p > 0
        return None if self.training and drops else _wide(x)

    def fused(
        self,
        x: Float[Tensor, "*batch dim"],
        norm: nn.LayerNorm | None = None,
        add: Float[Tensor, "*batch dim"] | None = None,
        factor: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "*batch dim"]:
        """Return ``add + factor * mlp(norm(x))``."""
        return fused_mlp(
            x, self.fc1.weight, self.fc1.bias, second=(self.fc2.weight, self.fc2.bias),
            norm=None if norm is None else _norm_arguments(norm), add=add, factor=factor,
        )  # fmt: skip


class TrainingDepthwiseMlp(DepthwiseMlp):
    """A perceptron with a depthwise convolution, made of a ``DepthwiseMlp``."""

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Transform every token; convolution and GELU between the layers are one operation."""
        wide = _wide(x)
        if wide is None:
            return super().forward(x)
        rectifies = type(self.relu) is nn.ReLU
        x = depthwise_gelu(self.fc1(wide), self.dwconv.weight, self.dwconv.bias, rectifies)
        return self.drop(self.fc2(self.drop(x)))


class TrainingMerging(PatchMerging):
    """A patch merging, made of a ``PatchMerging``."""

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *merged out_dim"]:
        """Return a grid shorter by ``factor``."""
        wide = _wide(x)
        if wide is None:
            return super().forward(x)
        merged = merge(x, self.factor)
        return _normed_branch(merged, merged.to(wide.dtype), self.reduction, self.norm)


class TrainingWindowAttention(WindowAttention):
    """Window attention with the norm before it, made of a ``WindowAttention``."""

    norm: nn.LayerNorm

    def project(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch triple"]:
        """Normalise tokens, and project them."""
        wide = _wide(x)
        if wide is None:
            return super().project(self.norm(x))
        return _normed_branch(x, wide, self.qkv, self.norm)


class TrainingBlock(PreNormBlock):
    """A block, made of a ``PreNormBlock``."""

    joined: bool  # the attention layer normalises

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Return the block's output."""
        x = x + self.drop_path(self.attn(x if self.joined else self.norm1(x)))
        mlp = self.mlp
        if not isinstance(mlp, TrainingMlp) or (wide := mlp.served(x)) is None:
            return x + self.drop_path(mlp(self.norm2(x)))
        factor = None
        if isinstance(self.drop_path, DropPath):
            factor = self.drop_path.factor(wide)
        if factor is not None:
            factor = factor.flatten()
        if wide.dtype == x.dtype:
            return mlp.fused(wide, self.norm2, wide, factor)
        return x + mlp.fused(self.norm2(x).to(wide.dtype), factor=factor)
