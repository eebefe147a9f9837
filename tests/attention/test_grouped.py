"""Attention by groups: by values and by gradients it is its pattern, and its formula is right."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.support import refuses
from vitrail.attention import Problem, attend_groups, kernels, plain, reference
from vitrail.attention.grouped import grouped_attention
from vitrail.patterns import (
    Axial,
    Focal,
    Global,
    Groups,
    Nearest,
    Pattern,
    Pooled,
    Reduced,
    SparseFixed,
    SparseStrided,
    Window,
)
from vitrail.shapes import Size

HEADS, HEAD_DIM, BATCH = 2, 4, 2

# Sizes that nothing divides, in one, two and three dimensions.
CASES: dict[str, tuple[Pattern, Size]] = {
    "window": (Window((3, 4), (0, 0)), (7, 9)),
    "shifted": (Window((3, 4), (1, 2)), (7, 9)),
    "shifted line": (Window((4,), (2,)), (11,)),
    "shifted volume": (Window((2, 3, 2), (1, 1, 0)), (3, 5, 3)),
    "visible padding": (Window((3, 4), (1, 2), "visible"), (7, 9)),
    "one token": (Window((2, 2), (1, 1)), (1, 1)),
    "axial": (Axial(0), (3, 5)),
    "axial volume": (Axial(1), (2, 3, 2)),
    "fixed": (SparseFixed(4), (3, 5)),
    "local": (SparseStrided(4, "local"), (3, 5)),
    "residue": (SparseStrided(4, "residue"), (3, 5)),
    "global": (Global(), (3, 4)),
    "prefix": (Global(prefix=2), (3, 4)),
    "reduced": (Reduced((2, 3)), (5, 7)),
    "pooled": (Pooled((2, 2)), (5, 7)),
    "focal": (Focal((4, 2), (2, 1), ((3, 1), (1, 3))), (7, 5)),
    "focal, keys twice": (Focal((4, 3), (2, 1), ((3, 1),), "rolled"), (10, 7)),
    "focal volume": (Focal((2, 2, 2), (1, 1, 1), ((1, 1, 1),)), (3, 2, 5)),
    "nearest": (Nearest((3, 2), 5), (7, 5)),
}


def groups_of(pattern: Pattern, spatial: Size) -> tuple[Groups, int, int]:
    """Return a pattern's groups, its tokens and its pooled cells."""
    groups = pattern.groups(spatial)
    tokens = pattern.prefix + math.prod(spatial)
    return groups, tokens, sum(math.prod(grid) for grid in groups.grids)


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def inputs(name: str, *, shared: bool = True) -> tuple[Tensor, Groups, dict[str, Any]]:
    """Return what the operation takes for a case, with a bias."""
    groups, tokens, cells = groups_of(*CASES[name])
    count, queries = groups.q_index.shape
    count = 1 if shared else count
    options: dict[str, Any] = {"bias": drawn(count, HEADS, queries, groups.k_index.shape[1])}
    if cells:
        options["pooled"] = drawn(BATCH, cells, 2, HEADS, HEAD_DIM, seed=1)
    return drawn(BATCH, tokens, 3, HEADS, HEAD_DIM, seed=2), groups, {"scale": 0.7, **options}


def dense(qkv: Tensor, groups: Groups, *, scale: float, **options: Any) -> tuple[Tensor, Tensor]:
    """Return the same from a matrix of all tokens, and how often each query sees each key."""
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    if "pooled" in options:
        cells = options["pooled"].permute(2, 0, 3, 1, 4)
        k, v = torch.cat((k, cells[0]), dim=2), torch.cat((v, cells[1]), dim=2)
    q_region, k_region = groups.labels
    seen = q_region[:, :, None] == k_region[:, None, :]
    seen &= (groups.q_index[:, :, None] >= 0) & (groups.k_index[:, None, :] >= 0)
    group, row, column = seen.nonzero().unbind(-1)
    q_token, k_token = groups.q_index[group, row].long(), groups.k_index[group, column].long()
    bias = options["bias"][group * (len(options["bias"]) > 1), :, row, column]
    scores = (q @ k.mT * scale)[:, :, q_token, k_token] + bias.T
    pair = q_token * k.shape[2] + k_token
    empty = scores.new_zeros(*q.shape[:2], q.shape[2] * k.shape[2])
    weights = empty.index_add(2, pair, scores.exp()).unflatten(2, (-1, k.shape[2]))
    out = (weights / weights.sum(-1, keepdim=True)) @ v
    return out.transpose(1, 2).flatten(2), pair.bincount(minlength=empty.shape[2]).view(
        weights.shape[2:]
    )


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_it_is_dense_attention_under_the_pattern(name: str, shared: bool) -> None:
    pattern, spatial = CASES[name]
    qkv, groups, options = inputs(name, shared=shared)
    expected, counts = dense(qkv, groups, **options)
    torch.testing.assert_close(attend_groups(qkv, groups, **options), expected)
    assert torch.equal(counts > 0, pattern.allowed(spatial))


@pytest.mark.parametrize("name", ["shifted", "fixed", "focal", "nearest", "shifted volume"])
def test_gradients_equal_finite_differences(name: str) -> None:
    qkv, groups, options = inputs(name, shared=name != "nearest")
    names = ("bias", "pooled")[: len(options) - 1]

    def call(qkv: Tensor, *values: Tensor) -> Tensor:
        return attend_groups(qkv, groups, **{**options, **dict(zip(names, values, strict=True))})

    leaves = [t.clone().requires_grad_() for t in (qkv, *(options[name] for name in names))]
    assert torch.autograd.gradcheck(call, leaves, fast_mode=True)


@pytest.mark.parametrize("mask_value", [-math.inf, -3.0])
def test_gradients_of_cosines_and_of_visible_padding(mask_value: float) -> None:
    qkv, groups, options = inputs("visible padding")
    padding_kv, logit_scale = drawn(3, HEADS, HEAD_DIM, seed=4), torch.tensor([0.5, 2.0]).double()

    def call(qkv: Tensor, bias: Tensor, padding_kv: Tensor, logit_scale: Tensor) -> Tensor:
        return attend_groups(
            qkv, groups, scale=0.7, bias=bias, padding_kv=padding_kv, logit_scale=logit_scale,
            mask_value=mask_value,
        )  # fmt: skip

    leaves = [t.clone().requires_grad_() for t in (qkv, options["bias"], padding_kv, logit_scale)]
    assert torch.autograd.gradcheck(call, leaves, fast_mode=True)


def test_a_finite_mask_value_is_added_across_labels() -> None:
    groups = groups_of(Window((4,), (2,)), (8,))[0]
    qkv = drawn(1, 8, 3, 1, HEAD_DIM)
    index, label = groups.q_index.long(), groups.q_region
    assert label is not None
    q, k, v = (qkv[:, index, part].transpose(2, 3) for part in range(3))
    expected = reference.attend(
        q, k, v, scale=0.5, region=(label[None], label[None]), mask_value=-3.0
    )
    found = attend_groups(qkv, groups, scale=0.5, mask_value=-3.0)
    torch.testing.assert_close(found[:, index.flatten()], expected.reshape(1, 8, HEAD_DIM))


def test_a_vector_of_zeros_has_a_direction_s_gradient() -> None:
    """As torch.nn.functional.normalize: zero stays zero, and its gradient is finite."""
    groups = groups_of(Window((2, 2), (0, 0)), (2, 2))[0]
    qkv = drawn(1, 4, 3, HEADS, HEAD_DIM)
    qkv[0, 1] = 0
    qkv.requires_grad_()
    out = attend_groups(qkv, groups, scale=1.0, logit_scale=torch.ones(HEADS).double())
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    unit = torch.nn.functional.normalize
    expected = (unit(q, dim=-1) @ unit(k, dim=-1).mT).softmax(-1) @ v
    torch.testing.assert_close(out, expected.transpose(1, 2).flatten(2))
    (found,) = torch.autograd.grad(out.sin().sum(), qkv, retain_graph=True)
    torch.testing.assert_close(
        found, torch.autograd.grad(expected.transpose(1, 2).flatten(2).sin().sum(), qkv)[0]
    )


def test_padding_stands_where_there_is_no_token() -> None:
    groups, tokens, _ = groups_of(Window((3,), (0,), "visible"), (4,))
    qkv, padding_kv = drawn(1, tokens, 3, 1, HEAD_DIM), drawn(3, 1, HEAD_DIM, seed=1)
    padded = torch.cat((qkv, padding_kv.expand(1, 2, -1, -1, -1)), dim=1)
    q, k, v = padded.view(1, 2, 3, 3, HEAD_DIM).unbind(3)  # two windows of three
    expected = reference.attend(q[:, :, None], k[:, :, None], v[:, :, None], scale=0.5)
    found = attend_groups(qkv, groups, scale=0.5, padding_kv=padding_kv)
    torch.testing.assert_close(found, expected.reshape(1, 6, HEAD_DIM)[:, :4])
    assert not torch.allclose(attend_groups(qkv, groups, scale=0.5), found)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_softmax_is_wide_and_the_answer_is_not(dtype: torch.dtype) -> None:
    qkv, groups, options = inputs("focal")
    narrow = {
        "scale": 0.7,
        "bias": options["bias"].to(dtype),
        "pooled": options["pooled"].to(dtype),
    }
    wide = {"scale": 0.7, **{n: narrow[n].double() for n in ("bias", "pooled")}}
    found = attend_groups(qkv.to(dtype), groups, **narrow)
    expected = attend_groups(qkv.to(dtype).double(), groups, **wide)
    assert found.dtype == dtype
    # Half a step of rounding, once: all that comes before is done in float32.
    step = 1e-6 if dtype == torch.float32 else 0.51 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), expected, rtol=step, atol=1e-6)


def test_nothing_is_read_between_the_rows_or_left_unwritten() -> None:
    qkv, groups, options = inputs("focal")
    room = torch.full((BATCH, qkv.shape[1] + 3, 5, HEADS, HEAD_DIM + 2), math.nan).double()
    view = room[:, 1:-2, 1:4, :, :HEAD_DIM].copy_(qkv).requires_grad_()
    found = attend_groups(view, groups, **options)
    torch.testing.assert_close(found, attend_groups(qkv, groups, **options))
    found.sum().backward()
    assert view.grad is not None
    assert view.grad.isfinite().all()


def test_only_what_is_wanted_is_differentiated(monkeypatch: pytest.MonkeyPatch) -> None:
    qkv, groups, options = inputs("focal")
    calls: list[list[bool]] = []
    right = plain.backward

    def spy(*args: Any) -> Any:
        calls.append(list(args[-1]))
        return right(*args)

    monkeypatch.setattr(plain, "backward", spy)
    attend_groups(qkv.requires_grad_(), groups, **options).sum().backward()
    options["pooled"].requires_grad_()
    qkv = qkv.detach()
    attend_groups(qkv, groups, **options).sum().backward()
    assert calls == [[True, False, False, False, False], [False, True, False, False, False]]


def test_no_weight_is_kept_for_the_backward_pass() -> None:
    qkv, groups, options = inputs("shifted")
    kept: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        attend_groups(qkv.requires_grad_(), groups, **options)
    groups, queries = groups.q_index.shape
    lse = BATCH * groups * HEADS * queries
    assert {x.numel() for x in kept if x.ndim == 4} == {lse, options["bias"].numel()}
    assert all(x.numel() <= qkv.numel() for x in kept)


@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_it_is_an_operation_as_torch_wants_it() -> None:
    qkv, groups, options = inputs("focal")
    leaves = [t.clone().requires_grad_() for t in (qkv, options["pooled"], options["bias"])]
    arguments = (
        leaves[0], leaves[1], groups.q_index, groups.k_index, groups.q_region, groups.k_region,
        leaves[2], None, None, 0.7, -math.inf, False, "plain",
    )  # fmt: skip
    torch.library.opcheck(grouped_attention.registered, arguments)


def test_its_operations_are_counted() -> None:
    """As many as the pattern has scores; backward, five products for two."""
    pattern, spatial = CASES["focal"]
    qkv, groups, options = inputs("focal")
    with FlopCounterMode(display=False) as counter:
        attend_groups(qkv.requires_grad_(), groups, **options).sum().backward()
    forward = 4 * BATCH * HEADS * HEAD_DIM * pattern.scores(spatial)
    assert counter.get_total_flops() == forward * 7 // 2


def test_an_unknown_backend_is_refused() -> None:
    qkv, groups, options = inputs("window")
    with refuses("backend='flash'", "leave it out"):
        attend_groups(qkv, groups, **options, backend="flash")


def test_a_backend_that_cannot_serve_is_refused() -> None:
    qkv, groups, options = inputs("window")
    with refuses("backend='cpp' for torch.float64", "backend='plain'"):
        attend_groups(qkv, groups, **options, backend="cpp")


def test_a_backend_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("vitrail.attention.triton.kernel", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "vitrail.attention.triton.kernel", None)
    with refuses("backend='triton'", "install what is missing"):
        kernels.kernel("triton")


def test_a_call_is_described_by_its_tensors() -> None:
    qkv, groups, options = inputs("shifted")
    bias = options["bias"].requires_grad_()
    problem = Problem.of_groups(qkv, groups.q_index, groups.k_index, bias, groups.q_region)
    assert problem == Problem(
        queries=12, keys=12, head_dim=4, dtype=torch.float64, device="cpu", has_bias=True,
        has_region=True, bias_gradient=True, dropout=0.0, in_place=True,
    )  # fmt: skip
