"""Peers with random weights, and what a test checks of them.

The weights are not those of initialisation, under which much has no effect (norms that are zero
or one, biases that are zero, tables of 0.02): every parameter is drawn so that it matters.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vitrail import from_model
from vitrail.models import Backbone


def drawn(model: nn.Module, seed: int = 0) -> nn.Module:
    """Fill every parameter and running statistic with numbers at which it matters.

    They are of a size at which nothing overflows.

    Attention scores stay within a spread of 60, where a mask of -100 still hides.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            if "logit_scale" in name:
                p.copy_(math.log(10) + 0.2 * noise)
            elif "relative_position_bias_table" in name or name.endswith("bias.table"):
                p.copy_(0.5 * noise)
            elif p.ndim > 1 and "position" not in name.rpartition(".")[2]:
                p.copy_(noise / math.sqrt(p[0].numel()))
            elif name.endswith("weight"):
                p.copy_(1 + 0.1 * noise)
            else:
                p.copy_(0.3 * noise)
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                noise = torch.randn(buffer.shape, generator=generator, dtype=buffer.dtype)
                buffer.copy_(0.3 * noise if name.endswith("mean") else 0.5 + noise.abs())
    return model


_CORES = ("swin", "swinv2", "pvt", "pvt_v2")  # inside a classifier of transformers


def last_blocks(model: Any) -> list[nn.Module]:
    """Return the last block of each stage: its output is the stage's map."""
    if hasattr(model, "stages"):  # ours, timm's PVT v2
        return [stage.blocks[-1] for stage in model.stages]
    if hasattr(model, "partition_size"):  # torchvision's MaxViT
        return [block.layers[-1] for block in model.blocks]
    if hasattr(model, "blocks"):  # timm's ViT
        return [model.blocks[-1]]
    if hasattr(model, "conv_proj"):  # torchvision's ViT
        return [model.encoder.layers[-1]]
    if hasattr(model, "features"):  # torchvision
        parts = [part for part in model.features if isinstance(part, nn.Sequential)]
        return [part[-1] for part in parts if hasattr(part[0], "attn")]
    core = next((getattr(model, name) for name in _CORES if hasattr(model, name)), model)
    if hasattr(core.encoder if hasattr(core, "encoder") else core, "block"):
        return [blocks[-1] for blocks in core.encoder.block]  # transformers' PVT
    stages = core.encoder.layers if hasattr(core, "encoder") else core.layers
    return [stage.blocks[-1] for stage in stages]


def answers(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the map of each stage as ``[batch, tokens, channels]``, and the logits."""
    found: list[Tensor] = []

    def keep(module: nn.Module, __: Any, out: Any) -> None:
        out = out[0] if isinstance(out, tuple) else out
        if type(module).__name__ in ("MaxxVitBlock", "MaxVitLayer"):
            out = out.movedim(1, -1)
        found.append(out.reshape(out.shape[0], -1, out.shape[-1]))

    handles = [block.register_forward_hook(keep) for block in last_blocks(model)]
    with torch.inference_mode():
        out = model(x)
    for handle in handles:
        handle.remove()
    return [*found, getattr(out, "logits", out)]


def largest_difference(ours: Backbone, peer: nn.Module, x: Tensor) -> float:
    """Return the largest difference in maps and logits, relative to the largest value there."""
    # A copy: the layers of transformers change for good when they meet a small map.
    copied = type(peer).__module__.startswith("transformers")
    theirs = answers(copy.deepcopy(peer) if copied else peer, x)
    mine = answers(ours, x)
    assert [m.shape for m in mine] == [t.shape for t in theirs]
    pairs = zip(mine, theirs, strict=True)
    return max(float((m - t).abs().max() / t.abs().max()) for m, t in pairs)


@dataclass
class Twins:
    """A peer, and the model that ``from_model`` made of it, in float64 and float32."""

    peer: nn.Module
    ours: Backbone

    @cached_property
    def single(self) -> tuple[Backbone, nn.Module]:
        """The same in float32."""
        return copy.deepcopy(self.ours).float(), copy.deepcopy(self.peer).float()

    def check(self, *size: int, double: bool = True) -> None:
        """Compare them on an input of that size, in float64 to 1e-9 and float32 to 1e-4."""
        shape = (1, self.ours.config.in_channels, *size)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        if double:
            difference = largest_difference(self.ours, self.peer, x)
            assert difference < 1e-9, f"float64: {difference:.1e}"
        difference = largest_difference(*self.single, x.float())
        assert difference < 1e-4, f"float32: {difference:.1e}"


Twin = Callable[[Callable[[], nn.Module]], Twins]


@pytest.fixture(scope="session")
def twins() -> Twin:
    """Draw a peer's weights and take it over."""

    def make(build: Callable[[], nn.Module]) -> Twins:
        peer = drawn(build().double()).eval()
        return Twins(peer, from_model(peer, check=False))  # it is compared here, and more closely

    return make


@pytest.fixture(name="draw", scope="session")
def _draw() -> Callable[..., nn.Module]:
    return drawn


@pytest.fixture(name="worst", scope="session")
def _worst() -> Callable[..., float]:
    return largest_difference
