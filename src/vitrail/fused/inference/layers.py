"""Modules of inference that take the place of linear layers, perceptrons and embeddings."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.errors import UsageError
from vitrail.fused.depthwise import depthwise_taps
from vitrail.fused.inference.linear import (
    pack,
    packed_depthwise,
    packed_linear,
    packed_norm,
    packed_perceptron,
    packing,
)
from vitrail.layers import ConvMerging, DepthwiseMlp, Mlp, PatchEmbed
from vitrail.ops.windows import at_least, pad, padded_lengths

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


class PackedLinear(nn.Module):
    """A linear layer with packed weights, and what stands before and behind it.

    Its numbers are plain tensors: another type or device needs them in another order, and a
    state dict should hold the model's own.

    Args:
        linear: the layer; its numbers are copied.
        norm: a layer norm of its input.
        gelu: of its output.
    """

    def __init__(
        self, linear: nn.Linear, norm: nn.LayerNorm | None = None, *, gelu: bool = False
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.dtype = linear.weight.dtype
        self.gelu = gelu
        self.eps = 0.0 if norm is None else norm.eps
        weight, bias = pack(linear.weight.detach(), linear.bias)
        self.weight, self.padded_bias = weight, bias.detach()
        self.norm_weight = None if norm is None else _vector(norm, "weight", 1.0)
        self.norm_bias = None if norm is None else _vector(norm, "bias", 0.0)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a copy or a pickle brings.

        Raises:
            UsageError: it was packed for another processor.
        """
        super().__setstate__(state)
        here = packing(self.dtype, self.out_features)
        if (self.weight.shape[2], self.weight.shape[3]) != here:
            raise UsageError(
                "a model that optimize made on a machine with another processor",
                "one that was made on a machine like this",
                "save the model that it was made from, and optimize it here",
            )

    @property
    def bias(self) -> Float[Tensor, " outputs"]:
        """The bias, from which a layer computes the projection of padding."""
        return self.padded_bias[: self.out_features].to(self.dtype)

    def check(self, x: Tensor) -> None:
        """Refuse what the packed numbers do not fit.

        Raises:
            UsageError: an input of another type, device or width.
        """
        _check(x, self.dtype, self.in_features)

    def forward(
        self, x: Float[Tensor, "*batch inputs"], add: Float[Tensor, "*batch outputs"] | None = None
    ) -> Float[Tensor, "*batch outputs"]:
        """Normalise, project, rectify, and add ``add``: whatever of it this layer does."""
        self.check(x)
        return packed_linear(
            x, self.weight, self.padded_bias, self.norm_weight, self.norm_bias, add,
            self.out_features, self.eps, self.gelu,
        )  # fmt: skip


def linear_of(weight: Float[Tensor, "outputs inputs"], bias: Tensor | None) -> nn.Linear:
    """Return a linear layer with these numbers."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.detach())
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach())
    return linear


class PackedNorm(nn.Module):
    """A layer norm that no linear layer takes in.

    Args:
        norm: of a token's channels; its numbers are copied.
        dtype: of the tokens; default that of the norm's weight.
    """

    def __init__(self, norm: nn.LayerNorm, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.dtype, self.eps = dtype or norm.weight.dtype, norm.eps
        self.weight, self.bias = _vector(norm, "weight", 1.0), _vector(norm, "bias", 0.0)

    def forward(
        self,
        x: Float[Tensor, "*batch channels"],
        add: Float[Tensor, "*batch channels"] | None = None,
    ) -> Float[Tensor, "*batch channels"]:
        """Normalise every token on its own, and add ``add``.

        Raises:
            UsageError: what the packed numbers do not fit.
        """
        _check(x, self.dtype, len(self.weight))
        return packed_norm(x, self.weight, self.bias, self.eps, add)


class PackedMlp(nn.Module):
    """A perceptron whose hidden channels stay in the cache, between a norm and a sum.

    Args:
        mlp: the perceptron; its numbers are copied.
        norm: a layer norm of its input.
        residual: add the input to the output.
    """

    def __init__(self, mlp: Mlp, norm: nn.LayerNorm | None = None, *, residual: bool) -> None:
        super().__init__()
        self.fc1 = PackedLinear(mlp.fc1, norm)
        self.fc2 = PackedLinear(mlp.fc2)
        self.residual = residual

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Transform every token on its own."""
        first, second = self.fc1, self.fc2
        first.check(x)
        return packed_perceptron(
            x, first.weight, first.padded_bias, second.weight, second.padded_bias,
            first.norm_weight, first.norm_bias, first.out_features, first.eps, self.residual,
        )  # fmt: skip


class PackedDepthwiseMlp(nn.Module):
    """A perceptron with a depthwise convolution, between a norm and a sum.

    Hidden channels stay in the cache, a few lines of tokens at a time.

    Args:
        mlp: the perceptron; its numbers are copied.
        norm: a layer norm of its input.
    """

    def __init__(self, mlp: DepthwiseMlp, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.fc1 = PackedLinear(mlp.fc1, norm)
        self.fc2 = PackedLinear(mlp.fc2)
        self.relu = isinstance(mlp.relu, nn.ReLU)
        self.weight, self.bias = depthwise_taps(mlp.dwconv.weight, mlp.dwconv.bias)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Transform every token, knowing those next to it."""
        first, second = self.fc1, self.fc2
        first.check(x)
        return packed_depthwise(
            x, first.weight, first.padded_bias, self.weight, self.bias, second.weight,
            second.padded_bias, first.norm_weight, first.norm_bias, first.out_features, first.eps,
            self.relu,
        )  # fmt: skip


class PackedConvolution(nn.Module):
    """A convolution of all channels: its patches are cut out, then projected.

    Channels are last, before and after.

    Args:
        convolution: of any rank, in one group and not dilated; its numbers are copied.
    """

    def __init__(self, convolution: Convolution) -> None:
        super().__init__()
        self.kernel = tuple(convolution.kernel_size)
        self.stride = tuple(convolution.stride)
        self.padding = tuple(int(p) for p in convolution.padding)
        # Channels last, as the tokens have them: what is cut out is copied in long pieces.
        weight = convolution.weight.movedim(1, -1).flatten(1)
        self.linear = PackedLinear(linear_of(weight, convolution.bias))

    def forward(
        self, x: Float[Tensor, "batch *spatial channels"]
    ) -> Float[Tensor, "batch *cells out_channels"]:
        """Return one row for each place of the kernel."""
        axes = len(self.kernel)
        if any(self.padding):
            x = F.pad(x, [0, 0, *(p for n in reversed(self.padding) for p in (n, n))])
        for axis, (length, step) in enumerate(zip(self.kernel, self.stride, strict=True), start=1):
            x = x.unfold(axis, length, step)
        # Now (batch, *cells, channels, *kernel).
        return self.linear(x.movedim(1 + axes, -1).flatten(1 + axes))


class ChannelsFirst(nn.Module):
    """A packed convolution where a layer has its channels before the axes: as views, not copies.

    Args:
        convolution: what is computed.
    """

    def __init__(self, convolution: PackedConvolution) -> None:
        super().__init__()
        self.convolution = convolution
        self.kernel_size = convolution.kernel

    def forward(
        self, x: Float[Tensor, "batch channels *spatial"]
    ) -> Float[Tensor, "batch out_channels *cells"]:
        """Return one row for each place of the kernel, channels first."""
        return self.convolution(x.movedim(1, -1)).movedim(-1, 1)


class PackedPatchEmbed(nn.Module):
    """An embedding of patches of an input, or of tokens where stages merge them.

    Args:
        embed: the embedding; its numbers are copied.
    """

    def __init__(self, embed: PatchEmbed) -> None:
        super().__init__()
        self.patch, self.patch_fit = embed.patch, embed.patch_fit
        self.of_tokens = isinstance(embed, ConvMerging)
        self.proj = PackedConvolution(embed.proj)
        self.norm = embed.norm

    def forward(self, x: Float[Tensor, "batch *axes"]) -> Float[Tensor, "batch *spatial dim"]:
        """Embed an image, a sequence, a volume or tokens; tokens come out channels-last."""
        if not self.of_tokens:
            # Copied twice, but in long pieces: cutting planes would take number by number.
            x = x.movedim(1, -1).contiguous()
        spatial = x.shape[1:-1]
        if self.patch_fit == "pad":
            x = pad(x, padded_lengths(spatial, self.patch))
        elif self.of_tokens:
            x = pad(x, at_least(spatial, self.patch))
        return self.norm(self.proj(x))


def _check(x: Tensor, dtype: torch.dtype, channels: int) -> None:
    """Refuse an input of another type, device or width than numbers were packed for."""
    if x.dtype != dtype or x.device.type != "cpu":
        autocast = torch.is_autocast_enabled("cpu")
        raise UsageError(
            f"an input of {x.dtype} on {x.device.type}" + (" under autocast" if autocast else ""),
            f"{dtype} on cpu, for which the weights were packed",
            "call the model outside of torch.autocast: its type is that of optimize(..., dtype=)"
            if autocast
            else f"use x.to({dtype}), or optimize the model again for {x.dtype}",
        )
    if x.shape[-1] != channels:
        raise UsageError(
            f"an input of {x.shape[-1]} channels",
            f"{channels} channels",
            "give it what the layer it was made from takes",
        )


def _vector(norm: nn.LayerNorm, name: str, otherwise: float) -> Tensor:
    """Return a norm's weight or bias in float32."""
    given = getattr(norm, name)
    if given is None:
        return torch.full(norm.normalized_shape, otherwise, dtype=torch.float32, device="cpu")
    return given.detach().float().clone()
