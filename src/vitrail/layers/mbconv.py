"""Convolutional blocks beside attention: MBConv, and the stem that such models begin with."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.layers.drop import DropPath
from vitrail.layers.embed import CONVOLUTIONS, channels_first, channels_last, check_type
from vitrail.layers.mlp import Act, gelu
from vitrail.shapes import Size

ConvPadding = Literal["same", "symmetric"]
ShortcutPool = Literal["stride", "kernel"]
_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_KERNEL = 3


class MBConv(nn.Module):
    """Widen, convolve each channel, weigh the channels, narrow; residual (inverted bottleneck).

    Args:
        dim: channels in.
        out_dim: channels out.
        stride: tokens in for one token out along each axis, 1 to 3.
        expand: channels between, over ``out_dim``.
        squeeze: channels of the squeeze-and-excitation, over ``out_dim``.
        act: activation of the convolutions.
        padding: where zeros stand around a length that a stride shortens: ``"same"``: shared
            between both ends, the odd one at the far end (TensorFlow); ``"symmetric"``: half a
            kernel at the near end (torch). Every ``stride`` begun gives a token either way.
        shortcut_pool: the shortcut averages as many tokens along an axis as its ``"stride"``, or
            as the convolution's ``"kernel"`` (zeros beyond the border count).
        shortcut_proj: project the shortcut also where ``dim`` is ``out_dim``, if it is strided.
        norm_eps: added to the variance by the batch norms.
        momentum: weight of a batch in the running statistics.
        drop_path: probability of dropping the branch of a sample while training.
    Source: Sandler et al. 2018, MobileNetV2, arXiv 1801.04381, section 3; with a norm before the
    first convolution and an average as its shortcut as in Tu et al. 2022, MaxViT, arXiv 2204.01697.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        stride: Size,
        *,
        expand: float = 4.0,
        squeeze: float = 0.25,
        act: Act = "gelu",
        padding: ConvPadding = "same",
        shortcut_pool: ShortcutPool = "stride",
        shortcut_proj: bool = False,
        norm_eps: float = 1e-3,
        momentum: float = 0.01,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        axes, hidden, squeezed = len(stride), int(expand * out_dim), int(squeeze * out_dim)
        conv, norm = CONVOLUTIONS[axes], _NORMS[axes]
        self.stride = stride
        self.padding: ConvPadding = padding
        self.pool = stride if shortcut_pool == "stride" else (_KERNEL,) * axes
        strided = any(s > 1 for s in stride)
        projected = dim != out_dim or (strided and shortcut_proj)
        self.shortcut = conv(dim, out_dim, 1) if projected else nn.Identity()
        self.norm = norm(dim, eps=norm_eps, momentum=momentum)
        self.conv1 = conv(dim, hidden, 1, bias=False)
        self.norm1 = norm(hidden, eps=norm_eps, momentum=momentum)
        self.conv2 = _strided(hidden, hidden, stride, padding, groups=hidden, bias=False)
        self.norm2 = norm(hidden, eps=norm_eps, momentum=momentum)
        self.squeeze = conv(hidden, squeezed, 1)
        self.excite = conv(squeezed, hidden, 1)
        self.conv3 = conv(hidden, out_dim, 1)
        self.act = gelu(act)
        self.drop_path = DropPath(drop_path)

    def reset_parameters(self) -> None:
        """Draw kernels so that the variance of what they add stays that of one product."""
        reset_convolutions(self)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *strided out_dim"]:
        """Return the tokens of a grid that ``stride`` makes shorter, each knowing its neighbours.

        Raises:
            ValueError: while training, a single value a channel, of which torch takes no variance.
        """
        x = channels_first(x)
        short = x
        if any(s > 1 for s in self.stride):
            short = pad_strided(x, self.pool, self.stride, self.padding)
            short = _average(short, self.pool, self.stride)
        x = self.act(self.norm1(self.conv1(self.norm(x))))
        x = self.act(self.norm2(_convolved(self.conv2, x)))
        whole = x.mean(tuple(range(2, x.ndim)), keepdim=True)
        x = self.conv3(x * self.excite(F.silu(self.squeeze(whole))).sigmoid())
        return channels_last(self.shortcut(short) + self.drop_path(x))


class ConvStem(nn.Module):
    """Embed the input by two convolutions with a norm and an activation between.

    Args:
        in_channels: channels of the input.
        dim: channels of a token.
        stride: input samples per token along each axis, 1 to 3.
        act: activation between the convolutions.
        padding: where zeros stand around the first convolution, as in ``MBConv``.
        bias: the first convolution has a bias.
        norm: normalise between the convolutions.
        norm_eps: added to the variance by the batch norm.
        momentum: weight of a batch in the running statistics.
    """

    def __init__(
        self,
        in_channels: int,
        dim: int,
        stride: Size,
        *,
        act: Act = "gelu",
        padding: ConvPadding = "same",
        bias: bool = True,
        norm: bool = True,
        norm_eps: float = 1e-3,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        axes = len(stride)
        self.proj = _strided(in_channels, dim, stride, padding, bias=bias)
        self.norm = _NORMS[axes](dim, eps=norm_eps, momentum=momentum) if norm else nn.Identity()
        self.act = gelu(act)
        self.conv = CONVOLUTIONS[axes](dim, dim, _KERNEL, padding=_KERNEL // 2)

    def reset_parameters(self) -> None:
        """Draw kernels so that the variance of what they add stays that of one product."""
        reset_convolutions(self)

    def forward(
        self, x: Float[Tensor, "batch channels *samples"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Embed an image, a sequence or a volume; tokens come out channels-last.

        Raises:
            UsageError: the input is of another type than the weights, outside autocast.
        """
        check_type(x, self.proj.weight)
        x = self.act(self.norm(_convolved(self.proj, x)))
        return channels_last(self.conv(x))


def _strided(
    dim: int, out_dim: int, stride: Size, padding: ConvPadding, *, bias: bool, groups: int = 1
) -> nn.Conv1d | nn.Conv2d | nn.Conv3d:
    """Return a convolution; it pads its input itself where both ends get the same at any length."""
    even = padding == "symmetric" or all(s == 1 for s in stride)
    around = _KERNEL // 2 if even else 0
    conv = CONVOLUTIONS[len(stride)]
    return conv(dim, out_dim, _KERNEL, stride, padding=around, groups=groups, bias=bias)  # type: ignore[arg-type]


def _convolved(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    padded = any(conv.padding)  # type: ignore[arg-type]  # numbers, not a word
    return conv(x if padded else pad_strided(x, conv.kernel_size, conv.stride, "same"))


def pad_strided(
    x: Float[Tensor, "batch channels *samples"], kernel: Size, stride: Size, padding: ConvPadding
) -> Float[Tensor, "batch channels *padded"]:
    """Append zeros so that a kernel without padding of its own gives a value every stride begun."""
    amounts: list[int] = []
    for n, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        both = (n + s - 1) // s * s - s + k - n
        near = both // 2 if padding == "same" else (k - 1) // 2
        amounts += [near, both - near]
    # Eager code saves the copy. A graph always pads: a condition would split it in two.
    if not torch.compiler.is_compiling() and not any(amounts):
        return x
    return F.pad(x, amounts)


def reset_convolutions(module: nn.Module) -> None:
    """Draw each convolution's kernel with a variance of two over the products that read a value."""
    for conv in module.modules():
        if isinstance(conv, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            reads = math.prod(conv.kernel_size) * conv.out_channels // conv.groups
            nn.init.normal_(conv.weight, std=math.sqrt(2 / reads))
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)


def has_statistics(module: nn.Module) -> bool:
    """Return whether some part keeps running statistics of its batches."""
    return any(isinstance(part, tuple(_NORMS.values())) for part in module.modules())


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Let batch norms leave their running statistics alone: the batch has been counted before."""
    norms: list[Any] = [m for m in module.modules() if isinstance(m, tuple(_NORMS.values()))]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        # Not track_running_stats: a recomputation has to save as many tensors as the first pass.
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)


def _average(
    x: Float[Tensor, "batch channels *samples"], kernel: Size, stride: Size
) -> Float[Tensor, "batch channels *pooled"]:
    """Average the values that a kernel spans, without padding."""
    if len(kernel) < 3:
        return (F.avg_pool1d, F.avg_pool2d)[len(kernel) - 1](x, kernel, stride)
    # Torch has none of volumes in bfloat16: average images, then along the first axis.
    planes = F.avg_pool2d(x.flatten(0, 1), kernel[1:], stride[1:])
    columns = F.avg_pool2d(planes.flatten(2)[:, None], (kernel[0], 1), (stride[0], 1))[:, 0]
    return columns.unflatten(-1, planes.shape[2:]).unflatten(0, x.shape[:2])
