"""Cut the input into patches and embed each as a token."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.errors import UsageError
from vitrail.ops.windows import padded_lengths
from vitrail.shapes import Size

PatchFit = Literal["pad", "floor"]
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class PatchEmbed(nn.Module):
    """Map each patch to one token.

    Args:
        in_channels: channels of the input.
        dim: channels of a token.
        patch: input samples per token along each axis.
        overlap: samples that a patch reaches into its neighbours, on each side along each axis.
        kernel: samples that a patch spans along each axis, neighbours included, where that is not
            the same on both sides; instead of ``overlap``.
        padding: zeros before and after each axis, for ``kernel``; default half of it.
        norm: normalise the tokens.
        norm_eps: added to the variance.
        patch_fit: an input the patch does not divide is padded with zeros at its end (``"pad"``),
            or loses what is left over (``"floor"``, torchvision).
    """

    def __init__(
        self,
        in_channels: int,
        dim: int,
        patch: Size,
        *,
        overlap: Size | None = None,
        kernel: Size | None = None,
        padding: Size | None = None,
        norm: bool = True,
        norm_eps: float = 1e-5,
        patch_fit: PatchFit = "pad",
    ) -> None:
        super().__init__()
        if len(patch) not in CONVOLUTIONS:
            raise UsageError(
                f"patch={patch}", "a patch of one, two or three axes", "use patch=(4, 4) for images"
            )
        if patch_fit not in ("pad", "floor"):
            raise UsageError(f"patch_fit={patch_fit!r}", "pad or floor", "use patch_fit='pad'")
        self.patch = patch
        self.patch_fit = patch_fit
        if kernel is None:
            padding = overlap or (0,) * len(patch)
            kernel = tuple(p + 2 * o for p, o in zip(patch, padding, strict=True))
        elif padding is None:
            padding = tuple(k // 2 for k in kernel)
        convolution = CONVOLUTIONS[len(patch)]
        self.proj = convolution(in_channels, dim, kernel_size=kernel, stride=patch, padding=padding)
        self.norm = nn.LayerNorm(dim, eps=norm_eps) if norm else nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch channels *samples"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Embed an image, a sequence or a volume; tokens come out channels-last.

        Raises:
            UsageError: the input is of another type than the weights, outside autocast.
        """
        check_type(x, self.proj.weight)
        if self.patch_fit == "pad":
            x = pad_samples(x, padded_lengths(x.shape[2:], self.patch))
        return self.norm(self.proj(x).movedim(1, -1))


def check_type(x: Tensor, weight: Tensor) -> None:
    """Refuse an input of another type than the weights that read it first, outside autocast."""
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise UsageError(
            f"an input of {x.dtype} for weights of {weight.dtype}",
            "the same type for both, or autocast",
            f"use x.to({weight.dtype}), or model.to({x.dtype})",
        )


def channels_first(
    x: Float[Tensor, "batch *spatial channels"],
) -> Float[Tensor, "batch channels *spatial"]:
    """Return a view for a convolution; while exporting, a copy.

    Convolutions check how their input lies in memory, and the result for a view would bind the
    exported graph to grids of more than one token along each axis.
    """
    x = x.movedim(-1, 1)
    return x.clone(memory_format=torch.contiguous_format) if torch.compiler.is_exporting() else x


def channels_last(
    x: Float[Tensor, "batch channels *spatial"],
) -> Float[Tensor, "batch *spatial channels"]:
    """Undo ``channels_first``, with a copy while exporting for the same reason."""
    x = x.movedim(1, -1)
    return x.clone(memory_format=torch.contiguous_format) if torch.compiler.is_exporting() else x


def pad_samples(
    x: Float[Tensor, "batch channels *samples"], lengths: Size
) -> Float[Tensor, "batch channels *padded"]:
    """Append zeros to every axis of ``x``, channels first, until it has ``lengths`` samples."""
    amounts: list[int] = []
    for n, length in zip(reversed(x.shape[2:]), reversed(lengths), strict=True):
        amounts += [0, length - n]
    # Eager code saves the copy. A graph always pads: a condition would split it in two.
    if not torch.compiler.is_compiling() and not any(amounts):
        return x
    return F.pad(x, amounts)
