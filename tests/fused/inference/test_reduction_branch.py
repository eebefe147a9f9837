"""A block that attends to a coarser grid: one operation, and the same as layer by layer."""

import copy
import pickle
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.pyramids import PYRAMIDS, pyramid_input, small_pyramid
from tests.support import drawn, unchecked
from vitrail.errors import UsageError
from vitrail.fused import fuse, support
from vitrail.fused.inference import blocks, reduction_branch
from vitrail.fused.inference.blocks import ReductionBlock
from vitrail.layers import Mlp, PreNormBlock, ReductionAttention
from vitrail.patterns import Global, Reduced
from vitrail.shapes import Size

pytestmark = [
    pytest.mark.skipif(support.why_not() is not None, reason="no C++ compiler"),
    pytest.mark.usefixtures("poison"),
]

KINDS = [kind for kind in PYRAMIDS if "linear" not in kind]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Size]]:
    """Shapes for which the operation was called."""
    shapes: list[Size] = []

    def facts(x: Tensor, *rest: object) -> Tensor:
        shapes.append(tuple(x.shape))
        return reduction_branch.packed_reduction(x, *rest)

    monkeypatch.setattr(blocks, "packed_reduction", facts)
    yield shapes


@pytest.mark.parametrize("kind", KINDS)
def test_models_of_every_rank(kind: str, calls: list[Size]) -> None:
    model, x = small_pyramid(kind), pyramid_input(kind)
    made = copy.deepcopy(model)
    fuse(made)
    with torch.no_grad():
        torch.testing.assert_close(made(x), model(x), atol=2e-5, rtol=2e-5)
    assert len(calls) == 4


def test_the_pooled_grid_is_left_to_the_layers(calls: list[Size]) -> None:
    model, x = small_pyramid("linear 2-D"), pyramid_input("linear 2-D")
    made = copy.deepcopy(model)
    fuse(made)
    with torch.no_grad():
        torch.testing.assert_close(made(x), model(x), atol=2e-5, rtol=2e-5)
    assert not calls


def block(pattern: Reduced | Global, dim: int = 48, heads: int = 3) -> nn.Sequential:
    attn = ReductionAttention(dim, heads, pattern, norm_eps=0.1)
    return nn.Sequential(drawn(PreNormBlock(dim, attn, Mlp(dim, 2 * dim), norm_eps=0.2))).eval()


SHAPES = [
    (Global(), (1, 1)),  # one token
    (Global(), (2, 1100)),  # several tiles
    (Reduced((4,)), (3, 41)),
    (Reduced((3, 2)), (1, 3, 2)),  # one cell
    (Reduced((3, 2)), (2, 23, 31)),  # tokens left over on both sides
    (Reduced((8, 8)), (1, 41, 40)),
    (Reduced((2, 3, 2)), (2, 5, 7, 9)),
    (Reduced((1, 2)), (5, 4, 4)),
]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("pattern", "shape"), SHAPES, ids=str)
def test_any_shape_and_number_of_threads(
    pattern: Reduced | Global, shape: Size, threads: int, calls: list[Size]
) -> None:
    model = block(pattern)
    made = copy.deepcopy(model)
    fuse(made)
    x = torch.randn(*shape, 48, generator=torch.Generator().manual_seed(2))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            found = made(x)
    finally:
        torch.set_num_threads(before)
    with torch.no_grad():
        torch.testing.assert_close(found, model(x), atol=2e-5, rtol=2e-5)
    assert calls == [x.shape]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("dim", "heads"), [(40, 5), (45, 3)])  # the last in no whole pairs
def test_narrow_numbers_are_rounded_as_often_as_by_the_layers(
    dim: int, heads: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = block(Reduced((3, 2)), dim, heads)
    x = torch.randn(2, 23, 31, dim, generator=torch.Generator().manual_seed(3)).to(dtype)
    made = copy.deepcopy(model).to(dtype)
    fuse(made)
    with torch.no_grad():
        wanted, found = model(x.float()), made(x).float()
        monkeypatch.setattr(ReductionBlock, "forward", blocks.FusedBlock.forward)
        layers = made(x).float()
    ours, theirs = ((y - wanted).square().mean() for y in (found, layers))
    assert 0 < ours < 1.2 * theirs


def test_any_layout_of_memory(calls: list[Size]) -> None:
    made = block(Reduced((3, 2)))
    fuse(made)
    x = torch.randn(2, 23, 31, 48)
    turned = x.transpose(1, 3).contiguous().transpose(1, 3)
    assert not turned.is_contiguous()
    with torch.no_grad():
        assert torch.equal(made(turned), made(x))
    assert len(calls) == 2


def test_copies_and_pickles_compute_the_same() -> None:
    made = block(Reduced((3, 2)))
    fuse(made)
    x = torch.randn(2, 9, 8, 48)
    with torch.no_grad():
        for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            assert torch.equal(again(x), made(x))


def test_a_member_that_is_no_number_stays_alone() -> None:
    made = block(Reduced((3, 2)))
    fuse(made)
    x = torch.randn(3, 9, 8, 48)
    x[1, 4, 4, 7] = torch.nan
    with torch.no_grad():
        assert made(x).isnan().flatten(1).all(1).tolist() == [False, True, False]
        assert made(x)[[0, 2]].isfinite().all()


def test_an_axis_shorter_than_a_cell_goes_layer_by_layer(calls: list[Size]) -> None:
    model = block(Reduced((3, 2)))
    made = copy.deepcopy(model)
    fuse(made)
    x = torch.randn(2, 2, 31, 48)
    with torch.no_grad():
        torch.testing.assert_close(made(x), model(x), atol=2e-5, rtol=2e-5)
    assert not calls


@pytest.mark.parametrize("part", ["norm1", "attn", "attn.sr", "attn.attend", "attn.proj", "mlp"])
def test_a_hook_on_a_part_is_called(part: str) -> None:
    made = block(Reduced((3, 2)))
    x = torch.randn(1, 9, 8, 48)
    fuse(made)
    with torch.no_grad():
        wanted = made(x)
        seen = []
        made[0].get_submodule(part).register_forward_hook(lambda *call: seen.append(call))
        torch.testing.assert_close(made(x), wanted, atol=2e-5, rtol=2e-5)
    assert len(seen) == 1


def test_norms_without_numbers_and_layers_without_bias() -> None:
    attn = ReductionAttention(48, 3, Reduced((3, 2)), qkv_bias=False)
    attn.norm = nn.LayerNorm(48, elementwise_affine=False)
    model = nn.Sequential(PreNormBlock(48, attn, Mlp(48, 96))).eval()
    model[0].norm1 = nn.LayerNorm(48, elementwise_affine=False)
    made = copy.deepcopy(model)
    fuse(made)
    x = torch.randn(2, 9, 8, 48)
    with torch.no_grad():
        torch.testing.assert_close(made(x), model(x), atol=2e-5, rtol=2e-5)


OTHERS: dict[str, Callable[[ReductionAttention], nn.Module]] = {
    "q": lambda attn: nn.Sequential(attn.q, nn.Tanh()),
    "kv": lambda attn: nn.Sequential(attn.kv, nn.Tanh()),
    "proj": lambda attn: nn.Sequential(attn.proj, nn.Tanh()),
    "sr": lambda attn: drawn(nn.Conv2d(48, 48, 3, stride=2, padding=1)),
    "dilated": lambda attn: drawn(nn.Conv2d(48, 48, 3, stride=3, dilation=2)),
    "circular": lambda attn: drawn(nn.Conv2d(48, 48, 3, 3, padding=1, padding_mode="circular")),
    "groups": lambda attn: drawn(nn.Conv2d(48, 48, (3, 2), (3, 2), groups=4)),
    "act": lambda attn: nn.GELU(),
    "norm": lambda attn: nn.Identity(),
    "proj_drop": lambda attn: nn.Tanh(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_user_put_there_is_kept(name: str) -> None:
    model = block(Reduced((3, 2)))
    place = name if hasattr(model[0].attn, name) else "sr"
    setattr(model[0].attn, place, OTHERS[name](model[0].attn))  # type: ignore[arg-type]
    made = copy.deepcopy(model)
    fuse(made)
    x = torch.randn(2, 9, 8, 48)
    with torch.no_grad():
        torch.testing.assert_close(made(x), model(x), atol=2e-5, rtol=2e-5)
    assert not any(isinstance(module, ReductionBlock) for module in made.modules())


def test_what_the_numbers_do_not_fit_is_refused() -> None:
    made = block(Reduced((3, 2)))
    fuse(made)
    x = torch.randn(2, 9, 8, 48)
    with torch.no_grad():
        for one in (x.bfloat16(), x.half(), x.double(), x.to("meta"), x[..., :47]):
            with unchecked(), pytest.raises(UsageError):
                made(one)


def test_layers_of_two_types_are_not_put_together() -> None:
    made = block(Reduced((3, 2)))
    made[0].attn.half()
    fuse(made)
    with torch.no_grad(), pytest.raises(UsageError):
        made(torch.randn(2, 9, 8, 48))
    assert not any(isinstance(module, ReductionBlock) for module in made.modules())


def test_tensors_without_numbers_and_an_input_without_members() -> None:
    made = block(Reduced((3, 2)))
    fuse(made)
    x = torch.randn(2, 9, 8, 48)
    with torch.no_grad():
        assert made(x[:0]).shape == (0, 9, 8, 48)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            assert made(mode.from_tensor(x)).shape == x.shape


def test_the_operation_shows_its_shape() -> None:
    made = block(Reduced((3, 2)))
    fuse(made)
    facts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "packed_reduction", lambda *a: facts.append(a) or a[0])
        with torch.no_grad():
            made(torch.randn(2, 9, 8, 48))
    torch.library.opcheck(torch.ops.vitrail.packed_reduction.default, facts[0])
