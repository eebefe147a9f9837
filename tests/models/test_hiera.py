"""Hiera: its numbers are the published ones, and what it alone does."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import vitrail
from tests.mechanisms import small_hiera
from tests.support import refuses
from vitrail.explain import capture
from vitrail.layers import PooledQueryAttention, PoolingBlock
from vitrail.patterns import Global, PooledQueries, Window

# timm's exact counts.
_PARAMETERS = {"hiera_tiny": 27_910_216, "hiera_small": 35_008_072, "hiera_base": 51_524_968}


@pytest.mark.parametrize("name", _PARAMETERS)
def test_parameters_are_those_published(name: str) -> None:
    with torch.device("meta"):
        model = vitrail.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == _PARAMETERS[name]
    assert model.strides == ((4, 4), (8, 8), (16, 16), (32, 32))


def test_patterns_of_the_published_blocks() -> None:
    """The block that leads to a stage attends as the stage before: within windows, then to all."""
    with torch.device("meta"):
        model = vitrail.create_model("hiera_tiny")
    patterns = [layer.module.pattern for layer in model.attention_layers()]
    first, second = Window((8, 8), (0, 0)), Window((4, 4), (0, 0))
    assert patterns == [
        first, PooledQueries(first, (2, 2)), second, PooledQueries(second, (2, 2)),
        *[Global()] * 6, PooledQueries(Global(), (2, 2)), Global(),
    ]  # fmt: skip


@pytest.mark.parametrize("spatial", [(8, 12), (7, 5), (1, 13), (3, 3)])
@pytest.mark.parametrize("windowed", [True, False])
def test_a_block_of_pooled_queries_written_once_more(
    spatial: tuple[int, int], windowed: bool
) -> None:
    """Cell by cell: the greatest query of its tokens, and all tokens of its window."""
    generator = torch.Generator().manual_seed(0)
    window, stride = (4, 6), (2, 3)
    pattern = PooledQueries(Window(window, (0, 0)) if windowed else Global(), stride)
    layer = PooledQueryAttention(5, 8, 2, pattern).double().eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, generator=generator)
    x = torch.randn(1, *spatial, 5, dtype=torch.float64, generator=generator)
    q, k, v = layer.qkv(x[0]).chunk(3, dim=-1)
    rows = []
    for i in range(-(-spatial[0] // 2)):
        for j in range(-(-spatial[1] // 3)):
            query = q[2 * i : 2 * i + 2, 3 * j : 3 * j + 3].flatten(0, 1).amax(0)
            top, left = 2 * i // 4 * 4, 3 * j // 6 * 6
            here = (slice(top, top + 4), slice(left, left + 6)) if windowed else (slice(None),) * 2
            keys, values = (t[here].reshape(-1, 2, 4).transpose(0, 1) for t in (k, v))
            share = F.softmax(query.view(2, 1, 4) @ keys.mT / 2, dim=-1)
            rows.append((share @ values).flatten())
    expected = layer.proj(torch.stack(rows)).view(1, -(-spatial[0] // 2), -(-spatial[1] // 3), 8)
    torch.testing.assert_close(layer(x), expected)


def test_gradients_reach_exactly_what_cells_may_see() -> None:
    generator = torch.Generator().manual_seed(0)
    pattern = PooledQueries(Window((4, 4), (0, 0)), (2, 2))
    layer = PooledQueryAttention(4, 4, 1, pattern).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, generator=generator)
    x = torch.randn(1, 6, 7, 4, dtype=torch.float64, generator=generator).requires_grad_()
    out = layer(x).flatten(1, 2)[0].sum(-1)
    each = torch.eye(len(out), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(out, x, each, is_grads_batched=True)
    seen = gradient[:, 0].flatten(1, 2).abs().sum(-1) > 0
    assert torch.equal(seen, pattern.allowed((6, 7)))


def test_choices_reach_the_layers() -> None:
    model = small_hiera(drop=0.1, attn_drop=0.2, qkv_bias=False, norm_eps=0.5)
    layers = [layer.module for layer in model.attention_layers()]
    assert all(layer.qkv.bias is None and layer.attend.dropout == 0.2 for layer in layers)
    assert all(layer.proj_drop.p == 0.1 for layer in layers)
    assert {m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)} == {0.5}
    detector = small_hiera(out_indices=(0, 1, 2), feature_norms=True, feature_norm_eps=0.25)
    assert {m.eps for m in detector.feature_norms.values()} == {0.25}  # type: ignore[union-attr]


def test_a_trace_shows_pooled_queries_token_by_token() -> None:
    """Tokens of a cell have the weights of its query; a merge to cells follows."""
    model = small_hiera()
    trace = capture(model, torch.randn(3, 21, 31))
    block = trace.blocks[1]
    assert (block.name, block.stage, block.pooled) == ("stages.1.blocks.0", 0, (2, 3))
    assert isinstance(model.stages[1].blocks[0], PoolingBlock)  # type: ignore[index]
    assert block.attends((2, 3)).shape == (11, 31)
    assert torch.equal(block.attends((2, 3)), block.attends((3, 5)))
    assert not torch.equal(block.attends((2, 3)), block.attends((2, 2)))
    assert (trace.merges[0].before, trace.merges[0].after) == ((11, 31), (6, 11))
    assert block.error < 1e-5
    with refuses("stage 2 has one block, which pools", "depths=(1, 2, 1)"):
        capture(small_hiera(depths=(1, 2, 1)), torch.randn(3, 21, 31))


@pytest.mark.parametrize(
    ("changes", "given", "fix"),
    [
        ({"window": (5, 6)}, "window=(5, 6) with 1 merges", "window=(4, 6)"),
        ({"windowed": (True,)}, "windowed=(True,)", "give 3 numbers"),
        ({"patch_kernel": (2, 3)}, "patch_kernel=(2, 3)", "patch_kernel=(3, 1)"),
        ({"positions": (5, 4, 3)}, "positions=(5, 4, 3)", "positions=(5, 5)"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], given: str, fix: str) -> None:
    with refuses(given, fix):
        small_hiera(**changes)


@pytest.mark.compile
def test_one_graph_for_all_sizes() -> None:
    torch._dynamo.reset()
    model = small_hiera()
    fast = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")
    with torch.no_grad():
        for size in ((11, 13), (41, 30)):
            x = torch.randn(2, 3, *size)
            torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)
