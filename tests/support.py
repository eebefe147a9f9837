"""What several tests share: small models, drawn weights, grids, and how a refusal is checked."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, get_args

import jaxtyping
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from vitrail import UsageError
from vitrail.layers import CosineWindowAttention, WindowAttention
from vitrail.models import Backbone, Swin, SwinConfig, SwinV2, SwinV2Config
from vitrail.patterns import Padding, ShiftRule, Window
from vitrail.shapes import Size

Module = TypeVar("Module", bound=nn.Module)

# Windows and patches that are no squares: two axes cannot be taken for one another unnoticed.
_SMALL = SwinConfig(
    dim=8, depths=(2, 2), num_heads=(2, 4), window=(3, 4), patch=(2, 2), num_classes=5
)
CONFIGS: dict[str, SwinConfig] = {
    "1-D": replace(_SMALL, patch=(2,), window=(4,), merge=(2,)),
    "2-D": _SMALL,
    "3-D": replace(_SMALL, patch=(2, 2, 1), window=(2, 3, 2), merge=(1, 2, 2)),
    "V2": SwinV2Config(
        dim=8, depths=(2, 2), num_heads=(2, 4), window=(4, 3), patch=(2, 2), num_classes=5
    ),
}
KINDS = tuple(CONFIGS)
# No multiple of anything, so that patches, windows and merges all pad, and no axis is another.
ODD_SIZES: dict[str, Size] = {"1-D": (43,), "2-D": (21, 31), "3-D": (5, 15, 9), "V2": (21, 31)}


def small(kind: str, *, seed: int = 0, **changes: Any) -> Backbone:
    """Return a small model with drawn weights, in evaluation mode."""
    config = replace(CONFIGS[kind], **changes)
    model = SwinV2(config) if isinstance(config, SwinV2Config) else Swin(config)
    return drawn(model, seed).eval()


def drawn(model: Module, seed: int = 0) -> Module:
    """Fill every parameter and running statistic with numbers at which it matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if name.endswith("logit_scale"):
                value = math.log(10) + 0.2 * noise
            elif parameter.ndim > 1 and not name.endswith("table"):
                value = noise / math.sqrt(parameter[0].numel())
            else:
                value = 0.5 + 0.5 * noise
            parameter.copy_(value)
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                noise = torch.randn(buffer.shape, generator=generator, dtype=torch.float64)
                buffer.copy_(0.5 * noise if name.endswith("mean") else 0.5 + noise.abs())
    return model


def odd_input(kind: str, batch: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return an input whose size nothing divides."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, *ODD_SIZES[kind], generator=generator, dtype=dtype)


def attention_layer(
    pattern: Window, *, cosine: bool = False, dim: int = 4, num_heads: int = 2, **options: Any
) -> WindowAttention:
    """Return a window attention layer in float64, with drawn weights."""
    kind = CosineWindowAttention if cosine else WindowAttention
    return drawn(kind(dim, num_heads, pattern, **options)).double().eval()


class Case(NamedTuple):
    """A pattern in its parts, and a grid to lay it on."""

    spatial: Size
    size: Size
    shift: Size
    padding: Padding = "masked"
    rule: ShiftRule = "axis"

    @property
    def pattern(self) -> Window:
        """The pattern; not made while hypothesis draws, where the shape checker would disturb."""
        return Window(self.size, self.shift, self.padding, self.rule)

    def tokens(self, dim: int = 4, batch: int = 2, seed: int = 0) -> Tensor:
        """Return float64 tokens on the grid."""
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, *self.spatial, dim)
        return torch.randn(shape, generator=generator, dtype=torch.float64)


@st.composite
def cases(
    draw: st.DrawFn,
    axes: int | None = None,
    padding: tuple[Padding, ...] = get_args(Padding),
    rules: tuple[ShiftRule, ...] = get_args(ShiftRule),
) -> Case:
    """Draw a pattern of one, two or three axes, and a grid smaller or larger than its window."""
    count = draw(st.integers(1, 3)) if axes is None else axes
    longest, widest = {1: (14, 5), 2: (8, 4), 3: (5, 3)}[count]
    size = tuple(draw(st.integers(1, widest)) for _ in range(count))
    shift = tuple(draw(st.integers(0, m - 1)) for m in size)
    spatial = tuple(draw(st.integers(1, longest)) for _ in range(count))
    return Case(spatial, size, shift, draw(st.sampled_from(padding)), draw(st.sampled_from(rules)))


@contextmanager
def refuses(given: str, fix: str) -> Iterator[None]:
    """Expect a ``UsageError`` that names the offending value and says how to mend it, in few words.

    Without the shape checker, which would refuse some values before our own code can.
    """
    with unchecked(), pytest.raises(UsageError) as caught:
        yield
    assert given in caught.value.given
    assert fix in caught.value.fix
    assert caught.value.allowed
    assert max(len(caught.value.given), len(caught.value.fix)) < 2000


@contextmanager
def unchecked() -> Iterator[None]:
    """Run without the shape checker, if this pass has it."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
