"""A call leaves nothing behind: not in the model, not in its arguments, not in global state."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from tests.support import KINDS, ODD_SIZES, Case, attention_layer, odd_input, small
from vitrail.attention import BACKENDS, attend

DROPS: dict[str, Any] = {"drop": 0.3, "attn_drop": 0.3, "drop_path": 0.3}


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_input_does_not_change_the_next(kind: str) -> None:
    model, x = small(kind), odd_input(kind)
    with torch.no_grad():
        before = model(x)
        for lengths in (
            [1] * model.config.axes,
            [2] * model.config.axes,
            [3 * n for n in x.shape[2:]],
        ):
            model(torch.zeros(1, 3, *lengths))
        assert torch.equal(model(x), before)


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_is_deterministic_whatever_is_dropped_in_training(kind: str) -> None:
    model, x = small(kind, **DROPS), odd_input(kind)
    with torch.no_grad():
        assert torch.equal(model(x), model(x))
        assert torch.equal(model(x), small(kind)(x))
        model.train()
        assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_caller_s_is_changed(kind: str) -> None:
    model, x = small(kind, **DROPS).train(), odd_input(kind)
    given, config, names = x.clone(), copy.deepcopy(model.config), set(vars(model))
    patterns = [m.pattern for m in model.modules() if hasattr(m, "pattern")]
    weights = copy.deepcopy(model.state_dict())
    model(x).sum().backward()
    model.features(x, channels_first=True)
    assert torch.equal(x, given)
    assert model.config == config
    assert set(vars(model)) == names
    assert [m.pattern for m in model.modules() if hasattr(m, "pattern")] == patterns
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mask_value", [float("-inf"), -100.0])
def test_attention_changes_no_argument(backend: str, mask_value: float) -> None:
    q, k, v = torch.randn(3, 2, 3, 2, 4, 5)
    labels = torch.randint(0, 2, (1, 3, 4))
    arguments = [q, k, v, torch.randn(2, 4, 4), labels]
    before = [part.clone() for part in arguments]
    attend(q, k, v, scale=0.5, bias=arguments[3], region=(labels, labels), mask_value=mask_value,
           backend=backend)  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(arguments, before, strict=True))


def test_no_random_number_is_drawn_in_evaluation() -> None:
    model, x = small("2-D", **DROPS), odd_input("2-D")
    before = torch.get_rng_state()
    model(x)
    assert torch.equal(torch.get_rng_state(), before)


@contextmanager
def memory_filled_with_nan() -> Iterator[None]:
    """Let ``torch.empty`` and its like return NaN, so that reading them unwritten shows."""
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    try:
        assert torch.empty(1).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_no_memory_is_read_before_it_is_written(kind: str) -> None:
    model, x = small(kind), odd_input(kind)
    expected = model(x)
    expected.sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    with memory_filled_with_nan():
        assert torch.equal(model(x), expected)
        with torch.no_grad():  # where torch's fused attention serves
            torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)
        model(x).sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name])


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_initialised(kind: str) -> None:
    with memory_filled_with_nan():
        model = type(small(kind))(small(kind).config)
    assert all(p.isfinite().all() for p in model.parameters())
    assert all(b.isfinite().all() for b in model.buffers())


@pytest.mark.parametrize("kind", KINDS)
def test_perturbing_any_parameter_changes_the_output(kind: str) -> None:
    model = small(kind, feature_norms=True, absolute_position=(3,) * len(ODD_SIZES[kind]))
    x = odd_input(kind)

    def answer() -> torch.Tensor:
        maps = model.features(x, norm=True)
        return torch.cat([model(x).flatten(), *(m.flatten() for m in maps)])

    with torch.no_grad():
        before = answer()
        for name, parameter in model.named_parameters():
            kept = parameter.clone()
            parameter += 0.1 * torch.randn_like(parameter)
            assert not torch.allclose(answer(), before, rtol=0, atol=1e-6), name
            parameter.copy_(kept)
        assert torch.equal(answer(), before)


def test_layers_share_no_state() -> None:
    case = Case((5, 6), (3, 4), (1, 2))
    layer: nn.Module = attention_layer(case.pattern)
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
        assert not torch.equal(layer(case.tokens()), twin(case.tokens()))
