"""ViT: what it answers at any size, and that its numbers are the published ones."""

from typing import Any

import pytest
import torch
from torch import nn

import vitrail
from tests.support import drawn, refuses
from vitrail.layers import GroupedAttention
from vitrail.models import ViT, ViTConfig
from vitrail.patterns import Global

# timm's exact counts.
_PARAMETERS = {"vit_tiny": 5_717_416, "vit_small": 22_050_664, "vit_base": 86_567_656}


def small(**changes: Any) -> ViT:
    """Return a small model with drawn weights, in evaluation mode."""
    fields: dict[str, Any] = {
        "dim": 8, "depths": (2,), "num_heads": (2,), "patch": (2, 3), "positions": (4, 5),
        "num_classes": 5, **changes,
    }  # fmt: skip
    return drawn(ViT(ViTConfig(**fields))).eval()


@pytest.mark.parametrize("name", _PARAMETERS)
def test_parameters_are_those_published(name: str) -> None:
    with torch.device("meta"):
        model = vitrail.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == _PARAMETERS[name]
    assert model.num_prefix_tokens == 1
    assert model.dims == (model.num_features,)
    assert model.strides == ((16, 16),)


def test_the_classifier_is_that_of_the_paper() -> None:
    """Written once more, on its own: a token, positions, two blocks, a norm, the token's head."""
    model = small(positions=(4, 5)).double()
    x = torch.randn(2, 3, 8, 15, dtype=torch.float64)
    (stage,) = model.stages
    tokens = model.embed.proj(x).flatten(2).mT + model.position.table.flatten(1, 2)  # type: ignore[union-attr,operator]
    first = (stage.prefix.tokens + stage.prefix.position).expand(2, -1, -1)  # type: ignore[union-attr,operator]
    tokens = torch.cat((first, tokens), dim=1)
    for block in stage.blocks:  # type: ignore[union-attr]
        q, k, v = block.attn.qkv(block.norm1(tokens)).unflatten(-1, (3, 2, 4)).unbind(2)
        scores = torch.einsum("bqhc,bkhc->bhqk", q, k) / 2
        out = torch.einsum("bhqk,bkhc->bqhc", scores.softmax(-1), v).flatten(2)
        tokens = tokens + block.attn.proj(out)
        mlp = block.mlp
        tokens = tokens + mlp.fc2(nn.functional.gelu(mlp.fc1(block.norm2(tokens))))
    assert model.norm is not None and model.head is not None
    torch.testing.assert_close(model(x), model.head(model.norm(tokens)[:, 0]))


def test_every_token_of_the_list_and_no_prefix() -> None:
    bare = small(prefix=0, global_pool="avg")
    assert bare.num_prefix_tokens == 0
    assert bare(torch.randn(2, 3, 9, 9)).shape == (2, 5)
    assert small(global_pool="")(torch.randn(2, 3, 8, 9)).shape == (2, 1 + 12, 5)


def test_the_mean_leaves_prefix_tokens_out() -> None:
    model = small(global_pool="avg")
    x = torch.randn(2, 3, 8, 15)
    tokens = model.forward_features(x)
    assert model.head is not None
    torch.testing.assert_close(model(x), model.head(tokens[:, 1:].mean(1)))


def test_the_first_token_keeps_its_position_at_other_sizes() -> None:
    model = small()
    with torch.no_grad():
        model.position.table.zero_()  # type: ignore[union-attr]
    x = torch.randn(1, 3, 30, 30)
    before = model(x)
    with torch.no_grad():
        model.stages[0].prefix.position.mul_(-2)  # type: ignore[union-attr]
    assert not torch.allclose(model(x), before)


def test_the_head_and_its_pool_can_be_replaced() -> None:
    model = small()
    x = torch.randn(2, 3, 8, 9)
    model.reset_classifier(9, global_pool="avg")
    assert model(x).shape == (2, 9)
    model.reset_classifier(0, global_pool="token")
    torch.testing.assert_close(model(x), model.forward_features(x)[:, 0])


def test_choices_reach_the_layers() -> None:
    model = small(drop=0.1, attn_drop=0.2, drop_path=0.3, qkv_bias=False, norm_eps=0.5)
    layers = [m for m in model.modules() if isinstance(m, GroupedAttention)]
    assert [layer.pattern for layer in layers] == [Global(prefix=1)] * 2
    assert all(layer.qkv.bias is None for layer in layers)
    assert all((layer.attend.dropout, layer.proj_drop.p) == (0.2, 0.1) for layer in layers)
    assert all(m.eps == 0.5 for m in model.modules() if isinstance(m, nn.LayerNorm))


@pytest.mark.parametrize(
    ("changes", "given", "fix"),
    [
        ({"depths": (2, 3), "num_heads": (2, 2)}, "depths=(2, 3)", "depths=(5,)"),
        ({"prefix": -1}, "prefix=-1", "prefix=1"),
        ({"mlp_ratio": 0.0}, "mlp_ratio=0.0", "mlp_ratio=4.0"),
        ({"positions": (4, 5, 6)}, "positions=(4, 5, 6)", "positions=(4, 4)"),
        ({"prefix": 0}, "global_pool='token'", "global_pool='avg'"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], given: str, fix: str) -> None:
    with refuses(given, fix):
        small(**changes)


@pytest.mark.compile
def test_one_graph_for_all_sizes() -> None:
    torch._dynamo.reset()
    model = small()
    fast = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")
    with torch.no_grad():
        for size in ((11, 13), (16, 15), (21, 9)):
            x = torch.randn(2, 3, *size)
            torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)
