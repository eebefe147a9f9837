"""Heads beside transformers' own, in float64: the same weights give the same logits."""

import pytest
import torch
from torch import nn

from vitrail.heads import HeadShape, SegFormerConfig, SegFormerHead, UPerNet, UPerNetConfig

DIMS, CLASSES, DIM = (8, 16, 24, 32), 5, 12
STRIDES = ((4, 4), (8, 8), (16, 16), (32, 32))
SHAPE = HeadShape(3, DIMS, STRIDES, CLASSES)


def pyramid(height: int, width: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, d, -(-height // s), -(-width // s), generator=generator, dtype=torch.float64)
        for d, (s, _) in zip(DIMS, STRIDES, strict=True)
    ]


def shuffled(module: nn.Module) -> nn.Module:
    """Give norms statistics of their own, so that no default hides one."""
    torch.manual_seed(1)
    module.double().eval()
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5 if "var" in name else torch.randn_like(value))
            value.mul_(value.numel() ** -0.5 if value.ndim > 1 else 1)
    return module


def copied(source: nn.Module, target: nn.Module, pairs: list[tuple[str, str]]) -> None:
    """Copy the tensors of modules to modules, in the order of their names."""
    theirs, ours = dict(source.named_modules()), dict(target.named_modules())
    moved = 0
    for one, other in pairs:
        given = [v for v in theirs[one].state_dict().values() if v.is_floating_point()]
        wanted = [v for v in ours[other].state_dict().values() if v.is_floating_point()]
        assert len(given) == len(wanted), (one, other)
        for a, b in zip(given, wanted, strict=True):
            b.copy_(a.reshape(b.shape))
            moved += a.numel()
    assert moved == sum(v.numel() for v in source.state_dict().values() if v.is_floating_point())


@pytest.mark.parametrize("size", [(64, 96), (70, 33), (131, 65)])
def test_segformer_is_that_of_transformers(size: tuple[int, int]) -> None:
    from transformers import SegformerConfig
    from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

    settings: dict = {"hidden_sizes": list(DIMS), "decoder_hidden_size": DIM, "num_labels": CLASSES}
    peer = shuffled(SegformerDecodeHead(SegformerConfig(**settings)))
    config = SegFormerConfig(dim=DIM, align="stretch")
    head = SegFormerHead(config, SHAPE).double().eval()
    pairs = [(f"linear_projections.{n}", f"project.{n}") for n in range(4)]
    pairs += [("linear_fuse", "fuse"), ("batch_norm", "norm"), ("classifier", "classify")]
    copied(peer, head, pairs)
    maps = pyramid(*size)
    with torch.no_grad():
        torch.testing.assert_close(head.logits(maps), peer(maps), rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [(64, 96), (70, 33), (131, 65)])
def test_upernet_is_that_of_transformers(size: tuple[int, int]) -> None:
    from transformers import UperNetConfig
    from transformers.models.upernet.modeling_upernet import UperNetHead

    settings: dict = {"hidden_size": DIM, "num_labels": CLASSES, "backbone_config": None}
    peer = shuffled(UperNetHead(UperNetConfig(**settings), list(DIMS)))
    config = UPerNetConfig(dim=DIM, align="stretch")
    head = UPerNet(config, SHAPE).double().eval()
    pairs = [(f"psp_modules.{n}.1", f"pool.{n}") for n in range(4)]
    pairs += [("bottleneck", "bottleneck"), ("fpn_bottleneck", "fuse"), ("classifier", "classify")]
    pairs += [(f"lateral_convs.{n}", f"lateral.{n}") for n in range(3)]
    pairs += [(f"fpn_convs.{n}", f"smooth.{n}") for n in range(3)]
    copied(peer, head, pairs)
    maps = pyramid(*size)
    with torch.no_grad():
        torch.testing.assert_close(head.logits(maps), peer(maps), rtol=0, atol=1e-9)
