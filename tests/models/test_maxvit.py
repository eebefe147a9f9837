"""MaxViT: its numbers are the published ones, and what it alone does."""

from typing import Any

import pytest
import torch

import vitrail
from tests.mechanisms import small_maxvit
from tests.support import refuses
from vitrail.layers import MBConv, WindowAttention
from vitrail.models import MaxViT
from vitrail.models.maxvit import MAXVIT_T
from vitrail.patterns import Grid, Window

# timm's exact counts, and torchvision's.
_PARAMETERS = {"maxvit_tiny": 30_916_528, "maxvit_small": 68_927_956, "maxvit_base": 119_467_708}


@pytest.mark.parametrize("name", _PARAMETERS)
def test_parameters_are_those_published(name: str) -> None:
    with torch.device("meta"):
        model = vitrail.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == _PARAMETERS[name]
    assert model.strides == ((4, 4), (8, 8), (16, 16), (32, 32))
    with torch.device("meta"):
        assert sum(p.numel() for p in MaxViT(MAXVIT_T).parameters()) == 30_919_624


def test_a_block_is_a_convolution_a_window_and_a_grid() -> None:
    model = small_maxvit()
    assert isinstance(model.stages[1].merge, MBConv)
    for stage in model.stages:
        for index, block in enumerate(stage.blocks):  # type: ignore[arg-type]
            assert (block.conv is None) == (index == 0)
            assert block.window.attn.pattern == Window((3, 4), (0, 0))
            assert block.grid.attn.pattern == Grid((4, 3))


def test_choices_reach_the_layers() -> None:
    model = small_maxvit(
        drop=0.1, attn_drop=0.2, qkv_bias=False, norm_eps=0.5, conv_norm_eps=0.25, momentum=0.125,
        scale="dim",
    )  # fmt: skip
    layers = [m for m in model.modules() if isinstance(m, WindowAttention)]
    assert len(layers) == 8
    assert all(layer.qkv.bias is None and layer.attend.dropout == 0.2 for layer in layers)
    assert {layer.scale for layer in layers} == {8**-0.5, 12**-0.5}
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(0.25, 0.125)}
    assert {m.eps for m in model.modules() if isinstance(m, torch.nn.LayerNorm)} == {0.5}


def test_the_head_reads_the_mean_normed_and_squashed() -> None:
    model: Any = small_maxvit()
    tokens = model.forward_features(torch.randn(2, 3, 21, 31))
    pooled = model.pre_logits.fc(model.norm(tokens.flatten(1, 2).mean(1))).tanh()
    torch.testing.assert_close(model.forward_head(tokens), model.head(pooled))
    torch.testing.assert_close(model.forward_head(tokens, pre_logits=True), pooled)


def test_evaluation_does_not_touch_the_statistics() -> None:
    model = small_maxvit()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(torch.randn(2, 3, 21, 31))
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    model.train()(torch.randn(2, 3, 21, 31))
    assert not any(
        torch.equal(buffer, before[name])
        for name, buffer in model.named_buffers()
        if name.endswith("running_mean")
    )


@pytest.mark.parametrize(
    ("changes", "given", "fix"),
    [
        ({"dims": (8,)}, "dims=(8,) for 2 stages", "give 2 numbers"),
        ({"window": (3, 4, 5)}, "window=(3, 4, 5)", "window=(3, 3)"),
        ({"grid": (0, 3)}, "grid=(0, 3)", "grid="),
        ({"act": "relu"}, "act='relu'", "act='gelu_tanh'"),
        ({"scale": "row"}, "scale='row'", "scale='head'"),
        ({"conv_padding": "valid"}, "conv_padding='valid'", "conv_padding='same'"),
        ({"shortcut_pool": "max"}, "shortcut_pool='max'", "shortcut_pool='stride'"),
        ({"patch": (8, 4)}, "patch=(8, 4) with merge=(2, 2)", "merge=(2, 2)"),
        ({"patch_fit": "floor"}, "patch_fit='floor'", "patch_fit='pad'"),
        ({"squeeze": 0.01}, "squeeze=0.01", "squeeze=0.25"),
        ({"stem_dim": 0}, "stem_dim=0", "stem_dim=64"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], given: str, fix: str) -> None:
    with refuses(given, fix):
        small_maxvit(**changes)


@pytest.mark.compile
def test_one_graph_for_all_sizes() -> None:
    torch._dynamo.reset()
    model = small_maxvit(dims=(8,), depths=(2,), num_heads=(2,))
    fast = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")
    with torch.no_grad():
        for size in ((11, 13), (41, 30)):
            x = torch.randn(2, 3, *size)
            torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)
