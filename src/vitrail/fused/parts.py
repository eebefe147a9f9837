"""Whether a block is made of what the kernels serve."""

from typing import TypeGuard

from torch import nn

from vitrail.layers import DepthwiseMlp, DropPath, Mlp, PatchMerging
from vitrail.layers.embed import CONVOLUTIONS

DROPS = (nn.Dropout, nn.Identity)  # what may stand where values are dropped in training


def known_parts(module: nn.Module) -> bool:
    """Return whether a block's or perceptron's parts are what its own class puts there.

    A user may have put others in their place: adapters, another activation, another norm.
    """
    mlp = module if isinstance(module, Mlp) else getattr(module, "mlp", None)
    if not isinstance(mlp, Mlp):
        return False
    linears = [mlp.fc1, mlp.fc2, *(m for m in module.modules() if isinstance(m, nn.Linear))]
    norms = [getattr(module, name) for name in ("norm1", "norm2") if hasattr(module, name)]
    qkv = getattr(getattr(module, "attn", None), "qkv", None)
    return (
        all(type(linear) is nn.Linear for linear in linears)
        and all(type(norm) is nn.LayerNorm for norm in norms)
        and (qkv is None or type(qkv) is nn.Linear)
        and type(mlp.drop) in DROPS
        and type(getattr(module, "drop_path", None)) in (DropPath, nn.Identity, type(None))
        and type(mlp.act) is nn.GELU
        and mlp.act.approximate == "none"
        and (not isinstance(mlp, DepthwiseMlp) or _has_three_taps(mlp))
    )


def known_merging(module: PatchMerging) -> bool:
    """Return whether a merging layer's parts are what its own class puts there."""
    return type(module.reduction) is nn.Linear and type(module.norm) is nn.LayerNorm


def _has_three_taps(mlp: DepthwiseMlp) -> bool:
    """Return whether a channel's convolution is over three tokens along each axis."""
    convolution = mlp.dwconv
    return (
        plain_convolution(convolution)
        and set(convolution.kernel_size) == {3}
        and set(convolution.stride) == {1}
        and set(convolution.padding) == {1}
        and convolution.groups == convolution.in_channels == convolution.out_channels
        and type(mlp.relu) in (nn.ReLU, nn.Identity)
    )


def plain_convolution(module: nn.Module | None) -> TypeGuard[nn.Conv1d | nn.Conv2d | nn.Conv3d]:
    """Return whether a module is torch's own convolution, not dilated, padded with zeros."""
    return (
        isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        and type(module) in CONVOLUTIONS.values()
        and set(module.dilation) == {1}
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def of_one_type(block: nn.Module) -> bool:
    """Return whether all weights that rows of a block are multiplied with are of one type."""
    kinds = (nn.Linear, *CONVOLUTIONS.values())
    return len({m.weight.dtype for m in block.modules() if isinstance(m, kinds)}) == 1
