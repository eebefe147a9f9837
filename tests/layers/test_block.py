"""Blocks: both branches are residual, both are dropped, and V2 starts as the identity."""

import pytest
import torch
from torch import nn

from vitrail.layers import DropPath, Mlp, PostNormBlock, PreNormBlock


def _block(kind: type[PreNormBlock], drop_path: float) -> PreNormBlock:
    return kind(4, nn.Linear(4, 4), Mlp(4, 8), drop_path=drop_path)


@pytest.mark.parametrize("kind", [PreNormBlock, PostNormBlock])
@pytest.mark.parametrize("branch", ["attn", "mlp"])
def test_stochastic_depth_drops_either_branch(kind: type[PreNormBlock], branch: str) -> None:
    """In transformers' Swin it never drops the perceptron."""
    block = _block(kind, 0.5).train()
    x = torch.randn(256, 3, 4)
    with torch.no_grad():
        # The other branch adds nothing, so what differs from x is this one's doing.
        for parameter in getattr(block, "mlp" if branch == "attn" else "attn").parameters():
            parameter.zero_()
        unchanged = (block(x) == x).flatten(1).all(1)
    assert 64 < int(unchanged.sum()) < 192


def test_dropping_keeps_the_mean() -> None:
    drop = DropPath(0.25).train()
    out = drop(torch.ones(4000, 1))
    assert out.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert out.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(drop.eval()(torch.ones(4)), torch.ones(4))


def test_v2_starts_as_the_identity() -> None:
    block = _block(PostNormBlock, 0.0)
    assert isinstance(block, PostNormBlock)
    block.reset_parameters()
    x = torch.randn(2, 3, 4)
    assert torch.equal(block(x), x)
