"""Half precision: finite, close to float32, masks without a dtype, and outputs in the right one."""

import pytest
import torch
from torch import Tensor

from tests.support import KINDS, odd_input, small
from vitrail.layers import WindowAttention
from vitrail.models import Backbone

HALVES = (torch.bfloat16, torch.float16)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return ((found.float() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_in_half_precision(kind: str, dtype: torch.dtype) -> None:
    model, x = small(kind), odd_input(kind)
    with torch.no_grad():
        expected = model(x)
        found = model.to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    assert relative_error(found, expected) < 0.05


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", KINDS)
def test_autocast_trains(kind: str, dtype: torch.dtype) -> None:
    model, x = small(kind, drop_path=0.0).train(), odd_input(kind)
    expected = model(x)
    with torch.autocast("cpu", dtype=dtype):
        found = model(x)
        assert all(m.isfinite().all() for m in model.features(x))
    assert relative_error(found, expected.detach()) < 0.05
    found.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_float64_goes_all_the_way(kind: str) -> None:
    model, x = small(kind).double(), odd_input(kind, dtype=torch.float64)
    assert model(x).dtype == torch.float64


def test_labels_are_integers_in_every_precision() -> None:
    model = small("2-D")
    for dtype in (torch.float64, torch.float32, *HALVES):
        assert {label.dtype for label in labels_of(model.to(dtype), dtype)} == {torch.int32}


def labels_of(model: Backbone, dtype: torch.dtype) -> list[Tensor]:
    found: list[Tensor] = []
    hooks = [
        layer.attend.register_forward_pre_hook(
            lambda _, __, kwargs: found.extend(kwargs["region"] or ()), with_kwargs=True
        )
        for layer in model.modules()
        if isinstance(layer, WindowAttention)
    ]
    with torch.no_grad():
        model(odd_input("2-D", dtype=dtype))
    for hook in hooks:
        hook.remove()
    assert found
    return found


@pytest.mark.parametrize("kind", ["2-D", "V2"])
def test_large_scores_stay_finite_in_half_precision(kind: str) -> None:
    """Scores far beyond what float16 can add: softmax in float32 keeps them."""
    model, x = small(kind), odd_input(kind)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("bias.table", "qkv.weight")):
                parameter.mul_(30)
        assert model.half()(x.half()).isfinite().all()
