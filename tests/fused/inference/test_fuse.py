"""A fused model computes what the model computes, in every mechanism."""

import copy
import pickle
from contextlib import suppress

import pytest
import torch

from tests.mechanisms import MECHANISMS
from tests.support import ODD_SIZES, odd_input, refuses, small
from vitrail.errors import UsageError
from vitrail.fused import fuse, support
from vitrail.fused.inference.cache import Cache
from vitrail.fused.inference.layers import PackedLinear
from vitrail.layers import Attend, GroupedAttention, PreNormBlock, WindowAttention
from vitrail.models import Backbone

pytestmark = pytest.mark.skipif(support.why_not() is not None, reason="no C++ compiler")


def agree(model: Backbone, x: torch.Tensor, atol: float = 2e-5) -> Backbone:
    made = copy.deepcopy(model)
    assert fuse(made)
    with torch.no_grad():
        torch.testing.assert_close(made(x), model(x), atol=atol, rtol=atol)
    return made


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_mechanism(name: str) -> None:
    made = agree(MECHANISMS[name](), odd_input("2-D"))
    assert all(m.backend == "cpp" for m in made.modules() if isinstance(m, Attend))
    assert not any(isinstance(m, torch.nn.LayerNorm) for m in made.modules())


@pytest.mark.parametrize("kind", ["1-D", "3-D"])
def test_every_rank_and_two_sizes(kind: str) -> None:
    made = agree(small(kind), odd_input(kind))
    shorter = torch.randn(1, 3, *(n - 3 for n in ODD_SIZES[kind]))
    with torch.no_grad():
        torch.testing.assert_close(made(shorter), small(kind)(shorter), atol=2e-5, rtol=2e-5)


CHANGES = [
    {"padding": "visible"},
    {"patch_fit": "floor"},
    {"qkv_bias": False},
    {"mask_value": -9.0},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_what_checkpoints_need(changes: dict) -> None:
    agree(small("2-D", **changes), odd_input("2-D"))


@pytest.mark.parametrize("padding", ["masked", "visible"])
def test_a_hook_on_attend_still_sees_what_it_saw(padding: str) -> None:
    made = agree(small("2-D", padding=padding), odd_input("2-D"))
    seen = []
    for module in made.modules():
        if isinstance(module, Attend):
            module.register_forward_hook(lambda *call: seen.append(call[2].shape))
    with torch.no_grad():
        again = made(odd_input("2-D"))
        torch.testing.assert_close(
            again, small("2-D", padding=padding)(odd_input("2-D")), atol=2e-5, rtol=2e-5
        )
    assert len(seen) == 4


@pytest.mark.parametrize("kind", ["2-D", "V2"])
def test_norms_without_numbers(kind: str) -> None:
    model = small(kind)
    for module in list(model.modules()):
        if isinstance(module, PreNormBlock):
            for name in ("norm1", "norm2"):
                wide = getattr(module, name).normalized_shape
                setattr(module, name, torch.nn.LayerNorm(wide, elementwise_affine=False))
    agree(model, odd_input(kind))


@pytest.mark.parametrize("name", ["swin", "swin_v2", "focal"])
def test_every_projection_is_packed(name: str) -> None:
    made = MECHANISMS[name]()
    fuse(made)
    layers = [module for module in made.modules() if hasattr(module, "qkv")]
    assert layers
    assert all(isinstance(layer.qkv, PackedLinear) for layer in layers)


class Adapted(torch.nn.Module):
    """A linear layer with an adapter beside it, as peft wraps it."""

    def __init__(self, base: torch.nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.adapter = torch.nn.Linear(base.in_features, base.out_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base_layer(x) + self.adapter(x)


@pytest.mark.parametrize("kind", ["2-D", "V2"])
def test_an_adapter_on_the_projection_is_kept(kind: str) -> None:
    model = small(kind)
    for module in list(model.modules()):
        if isinstance(module, WindowAttention):
            module.proj = Adapted(module.proj)  # type: ignore[assignment]
    made = agree(model, odd_input(kind))
    assert sum(isinstance(module, Adapted) for module in made.modules()) == 4


class _WithItsInput(GroupedAttention):
    """Attention of a user's own, which reads what the norm made besides projecting it."""

    def forward(self, x: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        return super().forward(x, *more) + x


def test_a_norm_stays_where_a_layer_s_own_forward_reads_what_it_made() -> None:
    model = MECHANISMS["vit"]()
    for module in model.modules():
        if type(module) is GroupedAttention:
            module.__class__ = _WithItsInput
    assert any(type(module) is _WithItsInput for module in model.modules())
    agree(model, odd_input("2-D"))


def test_numbers_packed_for_another_processor_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = small("2-D")
    fuse(made)
    stored = pickle.dumps(made)
    monkeypatch.setattr("vitrail.fused.inference.layers.packing", lambda *_: (8, 1))
    with refuses("another processor", "optimize it here"):
        pickle.loads(stored)


def test_what_is_remembered_was_not_computed_under_autocast() -> None:
    model, x = small("V2"), odd_input("V2")
    made = copy.deepcopy(model)
    fuse(made)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16), suppress(UsageError):
            made(x)
        torch.testing.assert_close(made(x), model(x), atol=1e-5, rtol=1e-5)


def test_under_autocast_the_way_out_is_named() -> None:
    made = PackedLinear(torch.nn.Linear(8, 4))
    with torch.autocast("cpu", torch.bfloat16), refuses("under autocast", "outside of"):
        made(torch.randn(2, 8).bfloat16())


def test_a_memo_computes_each_answer_once_and_forgets() -> None:
    calls = []
    memo = Cache(lambda n: calls.append(n) or n, maxsize=3)
    assert [memo(1), memo(2), memo(1)] == [1, 2, 1]
    assert calls == [1, 2]
    for n in range(7):
        memo(n)
        assert len(memo.known) <= 3


@pytest.mark.parametrize("name", ["swin", "swin_v2", "focal", "pvt", "pvt_v2"])
def test_features_and_a_copy(name: str) -> None:
    model, x = MECHANISMS[name](), odd_input("2-D")
    made = copy.deepcopy(agree(model, x))
    with torch.no_grad():
        for ours, theirs in zip(made.features(x), model.features(x), strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


def test_narrow_numbers_stay_as_near_as_they_were() -> None:
    model, x = small("2-D"), odd_input("2-D")
    with torch.no_grad():
        wanted = model(x)
        narrow = copy.deepcopy(model).bfloat16()
        by_itself = (narrow(x.bfloat16()).float() - wanted).abs().max()
        fuse(narrow)
        fused = (narrow(x.bfloat16()).float() - wanted).abs().max()
    assert fused <= 2 * by_itself + 2**-8 * wanted.abs().max()
