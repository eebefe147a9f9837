"""Where tokens are: biases by relative position, and an optional table by absolute position."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.ops.relative import log_coordinates, relative_index, sliced_index
from vitrail.ops.resample import resize_antialiased, resize_grid, resize_linear
from vitrail.shapes import Size

if TYPE_CHECKING:
    from typing import Self
else:
    Self = Any  # the shape checker looks at one method at a time, where Self means nothing

BiasLookup = Literal["offset", "sliced"]
PositionResize = Literal["smooth", "linear", "antialiased"]
_LOOKUPS = {"offset": relative_index, "sliced": sliced_index}
_RESIZES = {"smooth": resize_grid, "linear": resize_linear, "antialiased": resize_antialiased}


class _WindowBias(nn.Module):
    """A table with a row for each offset within ``window``, looked up for every pair of tokens.

    The index depends on the window alone. It is a buffer for speed, yet no part of a checkpoint,
    and is computed anew when a model built on the meta device gets its memory.
    """

    index: Int[Tensor, "queries keys"]

    def __init__(self, window: Size, lookup: BiasLookup = "offset") -> None:
        super().__init__()
        if lookup not in _LOOKUPS:
            raise UsageError(
                f"bias_lookup={lookup!r}", "offset or sliced", "use bias_lookup='offset'"
            )
        self.window = window
        self.lookup = lookup
        self.register_buffer("index", relative_index(window), persistent=False)

    def rows(self) -> Float[Tensor, "offsets heads"]:
        """Return the table."""
        raise NotImplementedError

    def forward(self, window: Size) -> Float[Tensor, "heads queries keys"]:
        """Return the bias of every head for every pair of tokens of ``window``.

        Args:
            window: lengths of the window at hand, at most those of the table's window.
        """
        rows = self.rows()
        index = self.index
        if window != self.window:
            index = _LOOKUPS[self.lookup](window, self.window, rows.device)
        return rows[index.flatten()].unflatten(0, index.shape).permute(2, 0, 1).contiguous()

    def _fill_buffers(self, device: torch.device) -> None:
        self.index = relative_index(self.window, device=device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        was_meta = self.index.is_meta
        super()._apply(fn, recurse)
        if was_meta and not self.index.is_meta:
            self._fill_buffers(self.index.device)
        return self


class RelativeBias(_WindowBias):
    """One learned number for each offset and head.

    Args:
        window: window length along each axis, in tokens.
        num_heads: attention heads.
        lookup: how a window smaller than ``window`` finds its rows: by true ``"offset"``, or
            ``"sliced"`` from the full window's index as Video Swin and MONAI do.
    Source: Liu et al. 2021, arXiv 2103.14030, section 3.2.
    """

    def __init__(self, window: Size, num_heads: int, *, lookup: BiasLookup = "offset") -> None:
        super().__init__(window, lookup)
        offsets = math.prod(2 * m - 1 for m in window)
        self.table = nn.Parameter(torch.empty(offsets, num_heads))

    def reset_parameters(self) -> None:
        """Draw the table as the official code does."""
        nn.init.trunc_normal_(self.table, std=0.02)

    def rows(self) -> Float[Tensor, "offsets heads"]:
        """Return the table."""
        return self.table


class ContinuousBias(_WindowBias):
    """A small network that maps log-spaced offsets to one number for each head.

    Args:
        window: window length along each axis, in tokens.
        num_heads: attention heads.
        normaliser: the window in which offsets span -1 to 1; that of pre-training where a
            model's window has grown since.
    Source: Liu et al. 2022, Swin Transformer V2, arXiv 2111.09883, section 3.3. A window of one
    token divides by zero in the official code; here its offset is 0 (ADR 10).
    """

    coordinates: Float[Tensor, "offsets axes"]

    def __init__(self, window: Size, num_heads: int, *, normaliser: Size | None = None) -> None:
        super().__init__(window)
        self.normaliser = window if normaliser is None else normaliser
        first = nn.Linear(len(window), 512)
        self.mlp = nn.Sequential(first, nn.ReLU(), nn.Linear(512, num_heads, bias=False))
        coordinates = log_coordinates(window, self.normaliser)
        self.register_buffer("coordinates", coordinates, persistent=False)

    def rows(self) -> Float[Tensor, "offsets heads"]:
        """Compute the table; values lie between 0 and 16."""
        weight = next(self.mlp.parameters())
        return 16 * torch.sigmoid(self.mlp(self.coordinates.to(weight.dtype)))

    def _fill_buffers(self, device: torch.device) -> None:
        super()._fill_buffers(device)
        self.coordinates = log_coordinates(self.window, self.normaliser, device)


class AbsolutePosition(nn.Module):
    """A learned vector for each place of a grid, added to the tokens.

    Args:
        grid: lengths of the grid that the table was made for, in tokens; others are interpolated.
        dim: channels.
        resize: how: ``"smooth"``, bicubic in two dimensions; ``"linear"``, between the two nearest
            places along each axis (PVT); ``"antialiased"``, cubic over all places that a longer
            step covers (timm).
    Raises:
        UsageError: an unknown word.
    """

    def __init__(self, grid: Size, dim: int, *, resize: PositionResize = "smooth") -> None:
        super().__init__()
        if resize not in _RESIZES:
            known = ", ".join(_RESIZES)
            raise UsageError(f"position_resize={resize!r}", known, "use position_resize='smooth'")
        self.resize: PositionResize = resize
        self.table = nn.Parameter(torch.empty(1, *grid, dim))

    def reset_parameters(self) -> None:
        """Draw the table as the official code does."""
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Return ``x`` plus its places' vectors."""
        return x + _RESIZES[self.resize](self.table, x.shape[1:-1])
