"""Rollout against a dense oracle, against the gradient's support, and by hand."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from tests.explain.dense import rollout_maps, token_count
from tests.explain.rollout_fixture import fixture
from tests.mechanisms import MECHANISMS
from tests.pyramids import SIZES, small_pyramid
from tests.support import ODD_SIZES, drawn, refuses, small
from vitrail.explain import Trace, capture, rollout, rollout_all, rollout_stages, to_input
from vitrail.explain.rollout import rollout_rows
from vitrail.layers import PoolingBlock
from vitrail.models import Backbone

Build = Callable[[], Backbone]
SQUARE = (21, 31)

# Every mechanism with two draws of its weights; other ranks beside them.
NETS: dict[str, tuple[Build, tuple[int, ...], int]] = {
    **{f"{name}-{seed}": (build, SQUARE, seed)
       for name, build in MECHANISMS.items() for seed in (1, 2)},
    "swin 1-D": (lambda: small("1-D"), ODD_SIZES["1-D"], 1),
    "swin 3-D": (lambda: small("3-D"), ODD_SIZES["3-D"], 1),
    "swin visible": (lambda: small("2-D", padding="visible"), SQUARE, 1),
    "pvt 1-D": (lambda: small_pyramid("v1 1-D"), SIZES[1], 1),
    "pvt 3-D": (lambda: small_pyramid("v1 3-D"), SIZES[3], 1),
    "linear 1-D": (lambda: small_pyramid("linear 1-D"), SIZES[1], 1),
}  # fmt: skip


def net(name: str, times: int = 1) -> tuple[Backbone, Tensor]:
    build, size, seed = NETS[name]
    size = tuple(times * (n - 1) + 1 for n in size)
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 3, *size, generator=generator, dtype=torch.float64)
    return drawn(build(), seed).double().eval(), image


def every_row(trace: Trace, block: int) -> Tensor:
    return torch.eye(token_count(trace.blocks[block]), dtype=torch.float64)


@pytest.mark.parametrize("name", NETS)
def test_it_equals_the_dense_oracle_and_its_rows_sum_to_one(name: str) -> None:
    assert len(NETS) >= 20
    model, image = net(name)
    trace = capture(model, image)
    for block in (len(trace.blocks) - 1, 0):
        maps = rollout_rows(trace, every_row(trace, block), block, residual=0.3)
        expected = rollout_maps(trace, block, 0.3)
        assert len(maps) == trace.blocks[block].stage + 1 == len(expected)
        for rows, oracle in zip(maps, expected, strict=True):
            assert torch.allclose(rows.flatten(1), oracle, rtol=0, atol=1e-6)
            assert torch.allclose(rows.flatten(1).sum(1), torch.ones((), dtype=torch.float64))


def test_in_pieces_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("focal-1", "pvt-1", "swin-1"):
        trace = capture(*net(name))
        whole = rollout_rows(trace, every_row(trace, -1), len(trace.blocks) - 1)
        with monkeypatch.context() as patch:
            patch.setattr("vitrail.explain.pieces.MOST", 60)
            parts = rollout_rows(trace, every_row(trace, -1), len(trace.blocks) - 1)
        for one, other in zip(whole, parts, strict=True):
            assert torch.allclose(one, other)


# PVT v2 mixes neighbours outside of attention, in its perceptrons and merges: rollout, which knows
# attention alone, has no more support than the gradient there, and elsewhere exactly as much.
MIXING = ("pvt_v2", "pvt_v2_linear", "linear", "focal_fast")


@pytest.mark.parametrize("name", [name for name in NETS if not name.endswith("-2")])
def test_its_support_is_that_of_the_gradient_at_every_stage(name: str) -> None:
    model, image = net(name, times=2)
    trace = capture(model, image)
    last = trace.blocks[-1]
    middle = tuple(n // 2 for n in last.spatial)
    for position in (middle, tuple(n - 1 for n in last.spatial), *range(last.pattern.prefix)):
        maps = rollout_stages(trace, -1, position)
        if name in ("swin-1", "swin_v2-1", "swin visible", "swin 3-D"):
            assert all((found == 0).any() for found in maps), "everything would show nothing"
        gradients = stage_gradients(model, image, trace, position)
        for found, gradient in zip(maps, reversed(gradients), strict=True):
            if name.startswith("hiera"):  # of a cell, each channel's greatest token alone counts
                assert not ((found == 0) & gradient).any()
            elif name.startswith(MIXING):
                assert not ((found > 0) & ~gradient).any()
            else:
                assert torch.equal(found > 0, gradient)


def stage_gradients(model: Backbone, image: Tensor, trace: Trace, position: object) -> list[Tensor]:
    """Where the gradient of one token behind the last block is not zero, as each stage begins."""
    last = trace.blocks[-1]
    entered: list[Tensor] = []
    left: list[Tensor] = []

    def enter(_: nn.Module, args: tuple[Tensor]) -> None:
        entered.append(args[0])

    def leave(_: nn.Module, args: object, output: Tensor) -> None:
        left.append(output)

    hooks = []
    for stage in model.stages:
        first = cast(Any, stage).blocks[0]
        if isinstance(first, PoolingBlock):  # it leads to the stage's grid
            hooks.append(first.register_forward_hook(lambda *out: entered.append(out[2])))
        else:
            hooks.append(stage.register_forward_pre_hook(enter))
    hooks.append(model.get_submodule(last.name).register_forward_hook(leave))
    model(image)
    for hook in hooks:
        hook.remove()
    group, query = last.locate(position)  # pyright: ignore[reportArgumentType]
    token = left[0][0].flatten(0, -2)[last.groups.q_index[group, query]]
    probe = torch.randn(token.shape, dtype=token.dtype)
    return [
        (gradient[0] != 0).any(-1)
        for gradient in torch.autograd.grad((token * probe).sum(), entered)
    ]


def test_by_hand_on_a_line() -> None:
    """Uniform attention in windows of four, then merged in pairs: shares one can count."""
    model = small("1-D", depths=(1, 1))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".attn." in name:
                parameter.zero_()
    trace = capture(model, torch.randn(3, 32))
    assert [block.spatial for block in trace.blocks] == [(16,), (8,)]
    second, first = rollout_stages(trace, 1, (1,))
    assert torch.allclose(second[:4], torch.tensor([0.125, 0.625, 0.125, 0.125]).double())
    assert (second[4:] == 0).all()
    halves = second.repeat_interleave(2) / 2
    mixed = halves.view(4, 4).sum(1, keepdim=True).expand(4, 4).flatten() / 4
    assert torch.allclose(first, (halves + mixed) / 2)
    assert torch.equal(rollout(trace, -1, (1,)), first)
    assert torch.allclose(to_input(first, trace), first.repeat_interleave(2) / 2)


def test_the_answer_is_the_pooled_tokens() -> None:
    for name in ("swin-1", "vit-1", "pvt-1"):
        trace = capture(*net(name))
        last = trace.blocks[-1]
        pooled = name != "swin-1"
        assert (trace.model.pool == "token") == pooled
        if pooled:
            expected = rollout(trace, -1, 0)
        else:
            rows = every_row(trace, -1).mean(0, keepdim=True)
            expected = rollout_rows(trace, rows, len(trace.blocks) - 1)[-1][0]
            assert len(rows[0]) == last.spatial[0] * last.spatial[1]
        assert torch.allclose(rollout_all(trace), expected), name


@pytest.mark.parametrize("name", ["swin-1", "pvt-1", "vit-1", "swin 3-D"])
def test_over_the_input_it_keeps_its_sum(name: str) -> None:
    trace = capture(*net(name))
    grid = rollout_all(trace)
    spread = to_input(grid, trace)
    assert spread.shape == trace.spatial
    assert torch.allclose(spread.sum(), torch.ones((), dtype=torch.float64))
    corner = spread[tuple(slice(n) for n in trace.blocks[0].stride)]
    assert torch.allclose(corner.sum(), grid.flatten()[0])


def test_of_a_large_residual_nothing_but_the_token_is_left() -> None:
    trace = capture(*net("swin-1"))
    assert rollout_stages(trace, -1, (1, 2), residual=0.999)[0][1, 2] > 0.99


def test_refusals() -> None:
    trace = capture(*net("swin-1"))
    with refuses("block=4", "block=3"):
        rollout(trace, 4, (0, 0))
    with refuses("residual=1", "residual=0.5"):
        rollout(trace, 0, (0, 0), residual=1.0)
    with refuses("position=(99, 0)", "up to"):
        rollout(trace, 0, (99, 0))


def test_the_fixture_for_other_languages_holds_what_a_reader_needs() -> None:
    """A reader of plain lists, close to what a page does, gets the maps that the fixture names."""
    for name in ("swin", "pvt"):
        found = fixture(name)
        for case in found["cases"]:
            maps = plain_rollout(found, case["block"], case["token"])
            for values, expected in zip(maps, case["maps"], strict=True):
                assert values == pytest.approx(expected["values"], abs=1e-9)


def plain_rollout(net: dict[str, Any], number: int, token: int) -> list[list[float]]:
    blocks = net["blocks"]
    row = {token: 1.0}
    maps = []
    for i in range(number, -1, -1):
        block = blocks[i]
        row = plain_step(block, row)
        if i > 0 and blocks[i - 1]["stage"] == block["stage"]:
            continue
        prefix, (height, width) = block["prefix"], block["spatial"]
        row = {key - prefix: value for key, value in row.items() if key >= prefix}
        total = sum(row.values())
        maps.append([row.get(key, 0) / total for key in range(height * width)])
        if i > 0:
            (rows, columns), (down, right) = blocks[i - 1]["spatial"], (
                net["stages"][block["stage"]]["merge"]["factor"]
            )  # fmt: skip
            finer: dict[int, float] = {}
            for key, value in row.items():
                y, x = divmod(key, width)
                children = [
                    v * columns + u
                    for v in range(y * down, min(rows, (y + 1) * down))
                    for u in range(x * right, min(columns, (x + 1) * right))
                ]
                for child in children:
                    finer[blocks[i - 1]["prefix"] + child] = value / len(children)
            row = finer
    return maps


def plain_step(block: dict[str, Any], row: dict[int, float]) -> dict[int, float]:
    keys, queries, prefix = block["keys_per_group"], block["queries_per_group"], block["prefix"]
    tokens = prefix + block["spatial"][0] * block["spatial"][1]
    result = {token: value / 2 for token, value in row.items()}
    for slot, token in enumerate(block["queries"]):
        if token not in row:
            continue
        seen = slice(slot // queries * keys, slot // queries * keys + keys)
        codes = [code**2 for code in block["codes"][slot * keys : slot * keys + keys]]
        total = sum(c for c, key in zip(codes, block["keys"][seen], strict=True) if key >= 0)
        for place, (code, key) in enumerate(zip(codes, block["keys"][seen], strict=True)):
            stands = [key] if 0 <= key < tokens else []
            if key >= tokens:
                box = block["boxes"][4 * (seen.start + place) :][:4]
                stands = [
                    prefix + y * block["spatial"][1] + x
                    for y in range(box[0], box[1]) for x in range(box[2], box[3])
                ]  # fmt: skip
            for other in stands:
                share = row[token] * code / total / len(stands) / 2
                result[other] = result.get(other, 0) + share
    return result
