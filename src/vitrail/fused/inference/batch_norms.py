"""Batch norms of inference: two numbers a channel, which the convolution beside them takes in."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vitrail.fused.parts import plain_convolution
from vitrail.layers import ConvStem, MBConv

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold_batch_norms(model: nn.Module) -> None:
    """Let convolutions compute the batch norms beside them, in place.

    Weights are multiplied in float64 and rounded once, to the type that they have.

    Args:
        model: in evaluation mode; norms without running statistics stay as they are.
    """
    for module in model.modules():
        if type(module) is MBConv:
            _fold(module, "conv1", before="norm", behind="norm1")
            _fold(module, "conv2", behind="norm2")
        elif isinstance(module, ConvStem):
            _fold(module, "proj", behind="norm")


def fold_in_head(head: nn.Module) -> None:
    """Let a head's convolutions compute the batch norms that follow them, in place.

    Args:
        head: in evaluation mode. Norms follow in an ``nn.Sequential``, or as the head's ``normed``
            says.
    """
    for module in head.modules():
        if type(module) is nn.Sequential:
            for conv, norm in pairwise(dict(module.named_children())):
                _fold(module, conv, behind=norm)
    for conv, norm in getattr(head, "normed", ()):
        _fold(head, conv, behind=norm)


def _fold(parent: nn.Module, name: str, *, behind: str, before: str = "") -> None:
    """Fold the norms before and behind a convolution into it, as far as that is possible."""
    conv = getattr(parent, name)
    if not plain_convolution(conv):
        return
    kind = conv.weight.dtype
    # A padded convolution would have to pad with what the norm makes of zeros.
    one_to_one = set(conv.kernel_size) == {1} and set(conv.padding) == {0} and conv.groups == 1
    if before and one_to_one and _is_constant(norm := getattr(parent, before)):
        conv = _behind_norm(conv.double(), norm.double())
        setattr(parent, before, nn.Identity())
    if _is_constant(norm := getattr(parent, behind)):
        conv = fuse_conv_bn_eval(conv.double(), norm.double())
        setattr(parent, behind, nn.Identity())
    setattr(parent, name, conv.to(kind))


def _is_constant(norm: nn.Module) -> bool:
    """Return whether a module is torch's own batch norm, and the same for every batch."""
    return type(norm) in _NORMS and norm.running_mean is not None


@torch.no_grad()
def _behind_norm(conv: Conv, norm: nn.Module) -> Conv:
    """Let a convolution of single tokens compute the norm before it, ``factor * x + shift``."""
    zero = torch.zeros_like(conv.weight[:1])
    shift = norm(zero)
    bias = conv(shift).flatten()
    conv.weight.mul_(norm(zero + 1) - shift)
    conv.bias = nn.Parameter(bias, conv.weight.requires_grad)
    return conv
