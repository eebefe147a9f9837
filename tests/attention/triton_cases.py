"""The Triton kernels equal the plain operation, in values and in gradients.

Triton decides when it is imported whether it interprets: ``test_triton`` runs this file in a
process of its own, in the interpreter; on a machine with a GPU, ``pytest`` with this file's name
runs the same on that.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from tests.support import attention_layer, refuses
from vitrail.attention import attend_groups
from vitrail.attention.triton import call, kernel, launch
from vitrail.patterns import Axial, Focal, Groups, Pattern, SparseFixed, Window

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}
NAMES = ("qkv", "pooled", "bias", "logit_scale", "padding_kv")


class _Once:
    """Patch Triton's language once a kernel and file, not at every call of a function."""

    def __init__(self, patch: Any) -> None:
        self.patch = patch
        self.scopes: dict[int, Any] = {}

    def __call__(self, kernel: Any) -> "_Once":
        place = id(kernel.__globals__)
        if place not in self.scopes:
            self.scopes[place] = self.patch(kernel)
        return self

    def restore(self) -> None:
        for scope in reversed(self.scopes.values()):
            scope.restore()
        self.scopes.clear()


@pytest.fixture(autouse=True, scope="session")
def _faster() -> Iterator[None]:
    """Save the interpreter half of its time, if it is the one that is known."""
    patcher = pytest.MonkeyPatch()
    if kernel.INTERPRETED:
        from triton.runtime import interpreter

        if hasattr(interpreter, "_patch_lang"):
            patcher.setattr(interpreter, "_patch_lang", _Once(interpreter._patch_lang))
    yield
    patcher.undo()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take one setting on a GPU: compiling five for each test would take a quarter of an hour."""
    monkeypatch.setattr(launch, "_may_try", lambda x: False)


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill memory that need not be zero with NaN: what is not written is seen."""
    empty, new_empty = torch.empty, Tensor.new_empty

    def poison(x: Tensor) -> Tensor:
        return x.fill_(math.nan) if x.is_floating_point() else x

    monkeypatch.setattr(torch, "empty", lambda *a, **k: poison(empty(*a, **k)))
    monkeypatch.setattr(Tensor, "new_empty", lambda *a, **k: poison(new_empty(*a, **k)))


@pytest.fixture
def deterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def laid(pattern: Pattern, spatial: tuple[int, ...], *, unique: bool = True) -> Groups:
    """Return a pattern's groups on the device, with labels, claimed unique or not."""
    groups = pattern.groups(spatial, torch.device(DEVICE))
    q_region, k_region = groups.labels
    return replace(groups, q_region=q_region, k_region=k_region, unique_keys=unique)


class Inputs(NamedTuple):
    """What is differentiated, in the order of ``NAMES``."""

    qkv: Tensor
    pooled: Tensor | None = None
    bias: Tensor | None = None
    logit_scale: Tensor | None = None
    padding_kv: Tensor | None = None


def drawn(
    groups: Groups, *, heads: int = 2, head_dim: int = 16, batch: int = 2, seed: int = 0,
    dtype: torch.dtype = torch.float32, bias: str | None = "shared", cells: int = 0,
    cosine: bool = False, filled: bool = False,
) -> Inputs:  # fmt: skip
    """Draw what a call needs."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(DEVICE, dtype)

    count, queries = groups.q_index.shape
    sets = count if bias == "each" else 1
    return Inputs(
        draw(batch, int(groups.q_index.max()) + 1, 3, heads, head_dim),
        draw(batch, cells, 2, heads, head_dim) if cells else None,
        draw(sets, heads, queries, groups.k_index.shape[1]) if bias else None,
        3 + draw(heads).float().abs() if cosine else None,
        draw(3, heads, head_dim) if filled else None,
    )


def attended(
    inputs: Inputs, groups: Groups, backend: str, **options: Any
) -> tuple[Tensor, list[Tensor | None]]:
    """Return the answers and the gradients of all inputs, for drawn gradients of the answers."""
    leaves = [None if x is None else x.detach().clone().requires_grad_() for x in inputs]
    qkv, *rest = leaves
    assert qkv is not None
    named = dict(zip(NAMES[1:], rest, strict=True))
    out = attend_groups(qkv, groups, backend=backend, **named, **options)
    grad_out = torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).to(out)
    out.backward(grad_out)
    return out.detach(), [None if x is None else x.grad for x in leaves]


def check(inputs: Inputs, groups: Groups, **options: Any) -> tuple[Tensor, list[Tensor | None]]:
    """Compare with what the plain operation makes of the same numbers in float32."""
    options = {"scale": inputs.qkv.shape[-1] ** -0.5, **options}
    qkv, *rest = inputs
    wide = Inputs(qkv.float(), *(None if x is None else x.float() for x in rest))
    expected, wanted = attended(wide, groups, "plain", **options)
    found, gradients = attended(inputs, groups, "triton", **options)
    tolerance = TOLERANCE[inputs.qkv.dtype]
    assert found.dtype == inputs.qkv.dtype
    _close("answers", found, expected, tolerance)
    for name, x, ours, theirs in zip(NAMES, inputs, gradients, wanted, strict=True):
        assert (ours is None) == (theirs is None) == (x is None), name
        if x is not None and ours is not None and theirs is not None:
            assert ours.dtype == x.dtype
            assert ours.is_contiguous(), name
            _close(name, ours, theirs, 2 * tolerance)
    return found, gradients


def _close(name: str, found: Tensor, expected: Tensor, tolerance: float) -> None:
    scale = max(1.0, expected.abs().max().item())
    error = (found.float() - expected).abs().max().item()
    assert error <= tolerance * scale, f"{name}: {error:.2e} of {scale:.2e}"


WINDOWS = {
    "a line": (Window((4,), (1,)), (11,)),
    "7 x 7 on an odd map": (Window((7, 7), (3, 3)), (8, 9)),
    "regular": (Window((7, 7), (0, 0)), (7, 14)),
    "a map smaller than its window": (Window((7, 7), (0, 0)), (3, 5)),
    "a volume": (Window((2, 3, 2), (1, 1, 0)), (3, 4, 5)),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_windows(case: str) -> None:
    groups = laid(*WINDOWS[case])
    check(drawn(groups, batch=1 if "7" in case else 2), groups)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", ["a line", "7 x 7 on an odd map"])
def test_windows_in_half_precision(case: str, dtype: torch.dtype) -> None:
    groups = laid(*WINDOWS[case])
    check(drawn(groups, dtype=dtype, batch=1 if "7" in case else 2), groups)


@pytest.mark.parametrize("head_dim", [16, 24, 32, 48, 64, 96, 128])
def test_widths_of_a_head(head_dim: int) -> None:
    groups = laid(Window((3, 3), (1, 1)), (4, 3))
    check(drawn(groups, head_dim=head_dim, batch=1), groups)


SEVERAL_TILES = [
    ((9, 9), True, torch.float32), ((9, 9), True, torch.bfloat16), ((9, 9), False, torch.float16),
    ((16, 16), False, torch.float32), ((8, 7, 7), False, torch.float32),
    ((16, 16), False, torch.bfloat16),
]  # fmt: skip


@pytest.mark.parametrize(("window", "cosine", "dtype"), SEVERAL_TILES, ids=str)
def test_windows_of_several_tiles(
    window: tuple[int, ...], cosine: bool, dtype: torch.dtype
) -> None:
    groups = laid(Window(window, tuple(0 for _ in window)), window)
    check(drawn(groups, batch=1, heads=1, cosine=cosine, dtype=dtype), groups)


@pytest.mark.parametrize(("cosine", "dtype"), [(True, torch.float32), (False, torch.bfloat16)])
def test_visible_padding_of_several_tiles(cosine: bool, dtype: torch.dtype) -> None:
    groups = laid(Window((9, 9), (0, 0), "visible"), (7, 9))
    assert (groups.k_index == -1).any()
    check(drawn(groups, filled=True, cosine=cosine, batch=1, heads=1, dtype=dtype), groups)


@pytest.mark.parametrize("head_dim", [32, 64])
def test_wide_heads_in_half_precision(head_dim: int) -> None:
    groups = laid(Window((3, 3), (1, 1)), (4, 3))
    check(drawn(groups, head_dim=head_dim, batch=1, dtype=torch.bfloat16), groups)


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_cosines(dtype: torch.dtype) -> None:
    groups = laid(Window((4, 3), (2, 1)), (7, 8))
    inputs = drawn(groups, dtype=dtype, cosine=True)
    if dtype != torch.float16:  # which cannot hold the gradient of a vector without a direction
        inputs.qkv[0, 5, :2] = 0
    check(inputs, groups, scale=1.0)


@pytest.mark.parametrize("cosine", [False, True])
def test_visible_padding(cosine: bool) -> None:
    groups = laid(Window((4, 4), (2, 1), "visible"), (6, 5))
    assert (groups.k_index == -1).any()
    check(drawn(groups, filled=True, cosine=cosine), groups)


@pytest.mark.parametrize("mask_value", [-100.0, -1.5])
def test_a_mask_that_leaks(mask_value: float) -> None:
    groups = laid(Window((4, 3), (2, 1)), (7, 8))
    check(drawn(groups), groups, mask_value=mask_value)


@pytest.mark.parametrize("bias", ["each", None])
@pytest.mark.parametrize("regions", [True, False])
def test_a_bias_for_each_group_or_none(bias: str | None, regions: bool) -> None:
    groups = laid(Window((4, 3), (0, 0)), (8, 9))
    if not regions:
        groups = replace(groups, q_region=None, k_region=None)
    check(drawn(groups, bias=bias, heads=1, batch=3), groups)


def test_a_bias_for_each_group_over_several_tiles() -> None:
    groups = laid(Window((70,), (20,)), (100,))
    check(drawn(groups, bias="each", heads=1, batch=1), groups)


@pytest.mark.parametrize("pattern", [Axial(1), SparseFixed(4)], ids=repr)
def test_lines_and_blocks(pattern: Pattern) -> None:
    spatial = (19,) if isinstance(pattern, SparseFixed) else (3, 18)
    unique = isinstance(pattern, Axial)
    groups = laid(pattern, spatial, unique=unique)
    check(drawn(groups, bias=None), groups)


FOCAL = (Focal((3, 3), (1, 1), ((3, 3),)), (4, 5))


def _cells(pattern: Pattern, spatial: tuple[int, ...]) -> int:
    return sum(math.prod(grid) for grid in pattern.groups(spatial).grids)


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_pooled_keys_that_stand_in_several_groups(dtype: torch.dtype) -> None:
    groups = laid(*FOCAL, unique=False)
    inputs = drawn(groups, cells=_cells(*FOCAL), dtype=dtype, batch=1)
    assert (groups.k_index >= inputs.qkv.shape[1]).any()
    check(inputs, groups)


@pytest.mark.usefixtures("deterministic")
def test_the_same_bits_in_deterministic_mode() -> None:
    groups = laid(*FOCAL, unique=False)
    inputs = drawn(groups, cells=_cells(*FOCAL), cosine=True, heads=1)
    first = check(inputs, groups)
    second = attended(inputs, groups, "triton", scale=0.25)
    assert torch.equal(first[0], second[0])
    for once, again in zip(first[1], second[1], strict=True):
        assert once is None or again is None or torch.equal(once, again)


def test_a_key_that_nobody_sees_has_no_gradient() -> None:
    q_index = torch.tensor([[0, 1, 2], [3, 4, -1]], dtype=torch.int32, device=DEVICE)
    k_index = torch.tensor([[0, 4], [1, -1]], dtype=torch.int32, device=DEVICE)
    groups = Groups(q_index, k_index, unique_keys=True)
    _, (d_qkv, *_) = check(drawn(groups), groups)
    assert d_qkv is not None
    assert (d_qkv[:, 2:4, 1:] == 0).all()


def test_offsets_beyond_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "_FARTHEST", 0)
    groups = laid(*FOCAL, unique=False)
    check(drawn(groups, cells=_cells(*FOCAL), batch=1), groups)


def test_what_trials_add_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(100, 0, -1))  # the last setting is the fastest
    monkeypatch.setattr(launch, "_seconds", lambda run: (run(), next(times))[1])
    monkeypatch.setattr(launch, "_may_try", lambda x: True)
    groups = laid(Window((66,), (0,)), (66,), unique=False)
    check(drawn(groups, heads=1, batch=1), groups)
    assert next(times) < 90


@pytest.mark.skipif(DEVICE == "cpu", reason="a GPU's own time decides")
def test_the_setting_that_a_gpu_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_may_try", lambda x: True)
    groups = laid(Window((7, 7), (3, 3)), (14, 21))
    for _ in range(2):
        check(drawn(groups, heads=5, batch=2), groups)


def test_tokens_that_are_no_keys_have_no_gradient_though_the_index_is_shared() -> None:
    index = torch.arange(6, dtype=torch.int32, device=DEVICE).view(2, 3)
    groups = Groups(index, index[:, :2], unique_keys=True)  # the same memory, but narrower
    _, (d_qkv, *_) = check(drawn(groups), groups)
    assert d_qkv is not None
    assert (d_qkv[:, 2::3, 1:] == 0).all()


def test_reads_where_the_linear_layer_wrote() -> None:
    groups = laid(Window((4, 3), (2, 1)), (7, 8))
    inputs = drawn(groups, batch=1)
    expected, wanted = attended(inputs, groups, "triton", scale=0.3)
    stored = inputs.qkv.permute(2, 0, 3, 1, 4).contiguous()  # heads before tokens
    more = torch.randn(1, 5, 3, 2, 16, device=DEVICE)
    for qkv in (
        stored.permute(1, 3, 0, 2, 4),
        torch.cat((more, inputs.qkv), 1)[:, 5:],
        inputs.qkv.transpose(3, 4).contiguous().transpose(3, 4),  # channels far apart
    ):
        found, gradients = attended(inputs._replace(qkv=qkv), groups, "triton", scale=0.3)
        assert torch.equal(found, expected)
        for ours, theirs in zip(gradients, wanted, strict=True):
            assert ours is None or theirs is None or torch.equal(ours, theirs)


def test_gradients_that_nobody_wants() -> None:
    groups = laid(Window((4, 3), (2, 1)), (7, 8))
    inputs = drawn(groups, cosine=True, batch=1)
    assert inputs.bias is not None
    assert inputs.logit_scale is not None
    _, wanted = attended(inputs, groups, "plain", scale=1.0)
    heat = inputs.logit_scale.clone().requires_grad_()
    out = attend_groups(
        inputs.qkv, groups, scale=1.0, bias=inputs.bias, logit_scale=heat, backend="triton"
    )
    grad_out = torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).to(out)
    out.backward(grad_out)
    assert heat.grad is not None
    assert wanted[3] is not None
    _close("logit_scale", heat.grad, wanted[3], 1e-4)
    assert inputs.bias.grad is None


def test_no_images() -> None:
    groups = laid(Window((4, 3), (2, 1)), (7, 8))
    out, gradients = attended(drawn(groups, batch=0), groups, "triton", scale=1.0)
    assert out.shape == (0, 56, 32)
    assert gradients[2] is not None
    assert (gradients[2] == 0).all()


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("padding", ["masked", "visible"])
def test_a_layer(padding: Any, cosine: bool) -> None:
    layer = attention_layer(Window((4, 3), (2, 1), padding), cosine=cosine, dim=16)
    layer = layer.float().to(DEVICE)
    x = torch.randn(2, 7, 5, 16, device=DEVICE)
    layer.attend.backend = "reference"
    expected = layer(x)
    layer.attend.backend = "triton"
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_refuses_what_it_cannot_serve() -> None:
    groups = laid(Window((4,), (0,)), (4,))
    with refuses("head_dim=160: it takes up to 128", "plain"):
        attend_groups(drawn(groups, head_dim=160).qkv, groups, scale=1.0, backend="triton")
    with refuses("float64: it takes float32", "plain"):
        attend_groups(drawn(groups).qkv.double(), groups, scale=1.0, backend="triton")
