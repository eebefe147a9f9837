"""Focal Transformer, both versions: sizes, ranks, parts, counts, and what a field may be."""

from dataclasses import replace
from typing import Any

import pytest
import torch

import vitrail
from tests.support import drawn, refuses
from vitrail.layers import FocalAttention, NearestAttention
from vitrail.models import Focal, FocalConfig, FocalFast, FocalFastConfig
from vitrail.models.focal import FOCAL_FAST_TINY, FOCAL_TINY, FocalFamily

SMALL: dict[str, Any] = {
    "dim": 8, "depths": (2, 1), "num_heads": (2, 4), "patch": (2, 2), "num_classes": 5,
    "windows": ((4, 3), (3, 4)),
}  # fmt: skip
TABLES: dict[str, Any] = {
    **SMALL, "margins": ((2, 1), (1, 2)), "levels": (((3, 1),), ((1, 3),)),
}  # fmt: skip


def small(kind: str, **changes: Any) -> FocalFamily:
    configs = {
        "exact": FocalConfig(**TABLES),
        "rolled": FocalConfig(halo="rolled", padding="visible", **TABLES),
        "conv": FocalConfig(conv_embed=True, **TABLES),
        "fast": FocalFastConfig(count=9, **SMALL),
    }
    config = replace(configs[kind], **changes)
    family = FocalFast if isinstance(config, FocalFastConfig) else Focal
    return drawn(family(config)).eval()  # type: ignore[arg-type]


KINDS = ("exact", "rolled", "conv", "fast")

# Of the official code: 28.9 (30.8), 51.1 (53.1), 89.8 (93.3); 30.2, 51.5 and 91.2 million. The
# first version's have 132 halo keys where the exact halo has 120.
_MILLIONS = {
    "focal_tiny": 28.9, "focal_small": 51.1, "focal_base": 89.8,
    "focal_tiny_conv": 30.8, "focal_small_conv": 53.1, "focal_base_conv": 93.3,
    "focal_fast_tiny": 30.2, "focal_fast_small": 51.5, "focal_fast_base": 91.2,
}  # fmt: skip


@pytest.mark.parametrize("name", _MILLIONS)
def test_parameters_are_those_published(name: str) -> None:
    with torch.device("meta"):
        changes: dict[str, Any] = {} if "fast" in name else {"halo": "rolled"}
        model = vitrail.create_model(name, **changes)
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(_MILLIONS[name], abs=0.06 if "base" not in name else 0.12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_matters(kind: str) -> None:
    model, x = small(kind), torch.randn(2, 3, 25, 34)
    with torch.no_grad():
        before = model(x)
        for name, parameter in model.named_parameters():
            kept = parameter.clone()
            parameter += 0.3 * torch.randn_like(parameter)
            assert not torch.equal(model(x), before), name
            parameter.copy_(kept)


def test_every_field_reaches_its_layer() -> None:
    model = Focal(FocalConfig(**TABLES, qkv_bias=False, attn_drop=0.1, drop=0.2, drop_path=0.3))
    layer = model.stages[1].blocks[0].attn  # type: ignore[union-attr,index]
    assert isinstance(layer, FocalAttention)
    assert layer.pattern == model.config.pattern(1)
    assert layer.qkv.bias is None
    assert layer.attend.dropout == 0.1
    assert layer.proj_drop.p == 0.2
    fast = small("fast").stages[0].blocks[1].attn  # type: ignore[union-attr,index]
    assert isinstance(fast, NearestAttention)
    assert fast.pattern.count == 9


def test_published_numbers() -> None:
    assert FOCAL_TINY.pattern(0).num_keys == 49 + 120 + 49
    assert FOCAL_TINY.pattern(3).num_keys == 49 + 1
    assert FOCAL_FAST_TINY.pattern(0).num_keys((56, 56)) == 128 + 64


def test_cells_start_as_means() -> None:
    model = Focal(FocalConfig(**TABLES))
    pool = model.stages[0].blocks[0].attn.pool[0]  # type: ignore[union-attr,index]
    assert torch.equal(pool.weight, torch.full((1, 12), 1 / 12))  # type: ignore[union-attr]
    assert pool.bias == 0  # type: ignore[union-attr]


def test_what_a_field_may_be() -> None:
    with refuses("mlp_ratio=0", "mlp_ratio=4.0"):
        FocalConfig(mlp_ratio=0)
    with refuses("for 4 stages", "give 4 numbers"):
        FocalConfig(margins=((3, 3),))
    with refuses("for 4 stages", "give 4 numbers"):
        FocalConfig(levels=(((3, 3),),))
    with refuses("levels[0]=(4, 4)", "levels[0]=(5, 5)"):
        FocalConfig(levels=(((4, 4),), ((5, 5),), ((3, 3),), ((1, 1),)))
    with refuses("count=0", "count=1"):
        FocalFastConfig(count=0)


@pytest.mark.compile
@pytest.mark.parametrize("kind", ["exact", "fast"])
def test_one_graph_serves_changing_sizes(kind: str) -> None:
    torch._dynamo.reset()
    tables: Any = {} if kind == "fast" else {"margins": ((2, 1),), "levels": (((3, 1),),)}
    model = small(kind, depths=(1,), num_heads=(2,), windows=((4, 3),), **tables)
    fast = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")
    with torch.no_grad():
        for lengths in ((21, 31), (16, 12), (1, 1)):
            x = torch.randn(2, 3, *lengths)
            torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)
