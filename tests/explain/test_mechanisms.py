"""Capture needs nothing but grouped attention: every mechanism of the catalog has a trace."""

import math

import pytest
import torch

from tests.mechanisms import MECHANISMS
from vitrail.explain import BlockTrace, capture
from vitrail.models import CATALOG
from vitrail.patterns import Window

SIZE = (21, 31)


@pytest.mark.parametrize("name", MECHANISMS)
def test_single_queries_have_the_weights_of_the_whole(name: str) -> None:
    for block in capture(MECHANISMS[name](), image()).blocks:
        groups, _, queries, _ = block.shape
        slots = torch.randperm(groups * queries)[:17]
        expected = block.attention.transpose(1, 2).flatten(0, 1)[slots]
        torch.testing.assert_close(block.at(slots), expected)


@pytest.fixture(params=MECHANISMS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def image() -> torch.Tensor:
    return torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(0))


def hidden(block: BlockTrace) -> torch.Tensor:
    """Which key of which query may not be seen, ``[groups, queries, keys]``."""
    groups = block.groups
    q_region, k_region = groups.labels
    return q_region[:, :, None] != k_region[:, None, :]


def test_the_answer_is_the_same_to_the_last_bit(name: str) -> None:
    model = MECHANISMS[name]()
    with torch.no_grad():
        expected = model(image()[None])[0]
    assert torch.equal(capture(model, image()).logits, expected)


def test_blocks_grids_and_strides(name: str) -> None:
    model = MECHANISMS[name]()
    trace = capture(model, image())
    assert [b.name for b in trace.blocks] == [a.around for a in model.attention_layers()]
    maps = [tuple(map.shape[1:-1]) for map in model.features(image()[None])]
    for block in trace.blocks:
        assert block.spatial == maps[block.stage], block.name
        assert block.stride == model.config.stage_strides[block.stage]
    for merge in trace.merges:
        assert (merge.before, merge.after) == (maps[merge.stage - 1], maps[merge.stage])
        before, after = (model.config.stage_strides[merge.stage - i] for i in (1, 0))
        assert tuple(b * f for b, f in zip(before, merge.factor, strict=True)) == after


def test_weights_lie_where_the_pattern_says(name: str) -> None:
    for block in capture(MECHANISMS[name](), image()).blocks:
        groups = block.groups
        shape = (len(groups.q_index), block.heads, groups.q_index.shape[1], groups.k_index.shape[1])
        assert block.attention.shape == shape, block.name
        assert block.pattern.scores(block.spatial) * block.heads == block.attention.numel()
        assert torch.allclose(block.attention.sum(-1), torch.ones(()), atol=1e-5)
        weights = block.attention.amax(1)
        real = (groups.q_index >= 0)[:, :, None]
        masked = hidden(block) & real
        assert (weights[masked] == 0).all(), block.name
        assert block.error < 1e-4, block.name
        if block.bias is not None:
            assert block.bias.shape[-3:] == shape[1:]


def test_the_map_holds_all_that_goes_to_the_grid(name: str) -> None:
    for block in capture(MECHANISMS[name](), image()).blocks:
        position = tuple(n // 2 for n in block.spatial)
        group, _ = block.locate(position)
        row, index = block.row(position), block.groups.k_index[group]
        elsewhere = row[(index < 0) | (index < block.pattern.prefix)].sum()
        total = block.attends(position).sum()
        assert torch.isclose(total, 1 - elsewhere, atol=1e-5), block.name


def test_prefix_tokens_are_queries_too() -> None:
    block = capture(MECHANISMS["vit"](), image()).blocks[0]
    assert block.pattern.prefix == 2
    first, second = block.row(0), block.row(1)
    assert len(first) == 2 + math.prod(block.spatial)
    assert not torch.allclose(first, second)
    grid = block.attends(1, head=1)
    assert torch.equal(grid.flatten(), block.row(1, head=1)[2:])


def test_the_keys_order_is_the_layers() -> None:
    """A token's own value, marked at the input, comes back where the trace says it is."""
    model = MECHANISMS["axial_tiny"]()
    blocks = {block.name: block for block in capture(model, image()).blocks}
    block = blocks["stages.0.blocks.1"]
    layer = model.get_submodule(f"{block.name}.attn")
    x = torch.randn(1, *block.spatial, 8)
    with torch.no_grad():
        before = layer(x)
        x[0, 3, 5] += 10
        changed = (layer(x) - before)[0].abs().sum(-1) > 1e-6
    assert torch.equal(changed, block.pattern.allowed(block.spatial)[:, 3 * 16 + 5].view(11, 16))


def test_no_model_of_the_catalog_is_missing() -> None:
    """Every class with every kind of pattern that it has there."""

    def kinds(model: torch.nn.Module) -> set[tuple[str, str]]:
        patterns = (getattr(module, "pattern", None) for module in model.modules())
        body = next(kind for kind in type(model).__mro__ if "build_stage" in vars(kind))  # not MiT
        return {(body.__name__, type(p).__name__) for p in patterns if p is not None}

    ours = set().union(*(kinds(build()) for build in MECHANISMS.values()))
    for name, entry in CATALOG.items():
        with torch.device("meta"):
            assert kinds(entry.model(entry.config)) <= ours, name
    assert ("Swin", Window.__name__) in ours
