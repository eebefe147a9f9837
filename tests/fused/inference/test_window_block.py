"""A block of windows, tile by tile: every token once, and the same as all at once."""

import copy
import itertools
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.support import odd_input, small
from vitrail.attention.cpp import build
from vitrail.fused import fuse, support
from vitrail.fused.inference.blocks import InTiles
from vitrail.fused.inference.window_block import tiles
from vitrail.layers import PreNormBlock
from vitrail.patterns import Window

ROW_BYTES = 5000  # so that a tile of 192 rows is the longest

KINDS = ("2-D", "V2")  # norms before and after

needs_compiler = pytest.mark.skipif(support.why_not() is not None, reason="no C++ compiler")


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("spatial", [(7, 7), (20, 23), (50, 9)])
def test_every_token_is_in_one_strip(spatial: tuple[int, int], threads: int) -> None:
    batch, tokens = 3, spatial[0] * spatial[1]
    groups = Window((7, 7), (3, 3), shift_rule="always").groups(spatial)
    index, region = groups.q_index, groups.q_region
    found = tiles(groups, batch, tokens, ROW_BYTES, threads)
    assert found is not None
    rows = [row[:count].tolist() for row, count in zip(found.rows, found.count, strict=True)]
    assert sorted(itertools.chain(*rows)) == list(range(batch * tokens))
    assert region is not None and found.region is not None
    for group, local in enumerate(found.index):
        member, once = divmod(group, len(index))
        assert torch.equal(local < 0, index[once] < 0)
        token = torch.tensor(rows[group // found.together])[local[local >= 0]]
        assert torch.equal(token, index[once][index[once] >= 0] + member * tokens)
        assert torch.equal(found.region[group], region[once])


@pytest.mark.parametrize(("groups", "threads"), [(8, 2), (32, 2), (32, 3), (7, 5), (100, 1)])
def test_threads_get_about_as_much(groups: int, threads: int) -> None:
    whole = Window((7, 7), (0, 0)).groups((7, 7 * groups))
    found = tiles(whole, 1, 49 * groups, ROW_BYTES, threads)
    assert found is not None
    turns = -(-len(found.rows) // threads)
    assert turns * found.together * threads <= 1.35 * groups + threads


def test_fewer_groups_than_threads_are_not_cut() -> None:
    groups = Window((7, 7), (0, 0)).groups((14, 14))
    assert tiles(groups, 2, 196, ROW_BYTES, threads=9) is None


@needs_compiler
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", ["masked", "visible"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_strips_change_nothing(
    dtype: torch.dtype, padding: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = copy.deepcopy(small(kind, padding=padding)).to(dtype)
    fuse(made)
    x = odd_input(kind).to(dtype)
    with torch.no_grad():
        found = made(x)
        blocks = [block for block in made.modules() if isinstance(block, InTiles)]
        assert any(cut for block in blocks for cut in block.tiles.known.values())
        for block in blocks:
            monkeypatch.setattr(block, "tiles", lambda *_: None)
        wanted = made(x)
    atol = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
    torch.testing.assert_close(found, wanted, atol=atol, rtol=atol)


@needs_compiler
@pytest.mark.parametrize(
    ("kind", "part"),
    [
        *((kind, part) for kind in KINDS for part in ("attn", "attn.attend", "mlp")),
        ("V2", "attn.qkv"),
    ],
)
def test_a_hook_on_a_part_is_called(kind: str, part: str) -> None:
    made = copy.deepcopy(small(kind))
    fuse(made)
    blocks = [block for block in made.modules() if isinstance(block, InTiles)]
    seen = []
    for block in blocks:
        block.get_submodule(part).register_forward_hook(lambda *call: seen.append(call))
    with torch.no_grad():
        made(odd_input(kind))
    assert len(seen) == len(blocks) > 0


@needs_compiler
def test_layers_that_drop_nothing_go_in_strips_too() -> None:
    model = copy.deepcopy(small("2-D"))
    blocks = [m for m in model.modules() if isinstance(m, PreNormBlock)]
    for block in blocks:
        for name in ("drop_path", "mlp.drop", "attn.proj_drop"):
            block.set_submodule(name, torch.nn.Identity())
    assert fuse(model)["WindowBlock"] == len(blocks) > 0


@needs_compiler
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_hook_keeps_stays_what_it_was(kind: str) -> None:
    made = copy.deepcopy(small(kind))
    fuse(made)
    kept = []
    for block in [block for block in made.modules() if isinstance(block, InTiles)]:
        block.attn.register_forward_hook(lambda _, inputs, out: kept.append((out, out.clone())))
    with torch.no_grad():
        made(odd_input(kind))
    for later, at_once in kept:
        assert torch.equal(later, at_once)


@needs_compiler
def test_the_kernel_is_built_before_enough_windows_come(monkeypatch: pytest.MonkeyPatch) -> None:
    library, built = build.library, []

    def noted(source: Path = build.SOURCE) -> object:
        built.append(source.name)
        return library(source)

    monkeypatch.setattr(build, "library", noted)
    fuse(copy.deepcopy(small("2-D")))
    assert "window_block.cpp" in built


@needs_compiler
def test_tensors_without_numbers_leave_nothing_behind() -> None:
    made = copy.deepcopy(small("2-D"))
    fuse(made)
    x = odd_input("2-D")
    with torch.no_grad():
        wanted = small("2-D")(x)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            assert made(mode.from_tensor(x)).shape == wanted.shape
        torch.testing.assert_close(made(x), wanted, atol=2e-5, rtol=2e-5)


@needs_compiler
def test_an_input_without_members() -> None:
    made = copy.deepcopy(small("2-D"))
    fuse(made)
    with torch.no_grad():
        assert len(made(odd_input("2-D")[:0])) == 0
