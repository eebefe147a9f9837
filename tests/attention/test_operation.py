"""An operation goes through torch's dispatcher where somebody watches, and directly elsewhere."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import BaseTorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from vitrail.attention.operation import Operation, operation


@operation("vitrail_tests::doubled")
def doubled(x: Tensor, times: int) -> Tensor:
    """Return ``x`` doubled so many times."""
    return x.detach() * 2**times


@doubled.register_fake
def _(x: Tensor, times: int) -> Tensor:
    del times
    return torch.empty_like(x)


doubled.register_autograd(
    lambda ctx, grad: (grad * 2**ctx.times, None),
    setup_context=lambda ctx, inputs, output: setattr(ctx, "times", inputs[1]),
)


class Named(Tensor):
    """A tensor of another class, as distributed and quantised tensors are."""


def ways(monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> list[str]:
    """Return which ways a call went."""
    taken: list[str] = []
    for way in ("function", "registered"):
        inner = getattr(doubled, way)
        monkeypatch.setattr(
            doubled, way, lambda *a, way=way, inner=inner: taken.append(way) or inner(*a)
        )
    call()
    monkeypatch.undo()
    return taken


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_where_nobody_watches_it_is_called_directly(
    context: Callable[[], AbstractContextManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.arange(3.0)
    with context():
        assert ways(monkeypatch, lambda: doubled(x, 2)) == ["function"]
        assert torch.equal(doubled(x, 2), 4 * x)


@pytest.mark.parametrize(
    "context",
    [nullcontext, FlopCounterMode, torch.profiler.profile, BaseTorchFunctionMode],
    ids=lambda c: c.__name__,
)
def test_where_somebody_watches_it_is_dispatched(
    context: Callable[[], AbstractContextManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.arange(3.0)
    watcher = context()
    with torch.set_grad_enabled(context is nullcontext), watcher:
        assert ways(monkeypatch, lambda: doubled(x, 2)) == ["registered"]
    if isinstance(watcher, torch.profiler.profile):
        assert any(event.key == "vitrail_tests::doubled" for event in watcher.key_averages())


def test_gradients_go_through_it() -> None:
    x = torch.arange(3.0, requires_grad=True)
    doubled(x, 3).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full((3,), 8.0))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@torch.no_grad()
def test_tensors_without_numbers_batched_and_of_another_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FakeTensorMode():
        fake = torch.empty(2, 3)
        assert ways(monkeypatch, lambda: doubled(fake, 1)) == ["registered"]
        assert doubled(fake, 1).shape == (2, 3)
    x = torch.arange(6.0).view(2, 3)
    assert ways(monkeypatch, lambda: torch.vmap(lambda row: doubled(row, 1))(x)) == ["registered"]
    assert torch.equal(torch.vmap(lambda row: doubled(row, 1))(x), 2 * x)
    assert ways(monkeypatch, lambda: doubled(x.as_subclass(Named), 1)) == ["registered"]


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated")  # its kind changed
@torch.no_grad()
def test_a_trace_holds_it() -> None:
    x = torch.arange(3.0)
    graph = make_fx(lambda x: doubled(x, 1))(x)
    assert any("doubled" in str(node.target) for node in graph.graph.nodes)
    traced = torch.jit.trace(lambda x: doubled(x, 1), x)
    assert "doubled" in str(traced.graph)  # type: ignore[union-attr]


def test_it_is_named_as_its_function() -> None:
    assert isinstance(doubled, Operation)
    assert doubled.__name__ == "doubled"
    assert doubled.__doc__ == "Return ``x`` doubled so many times."
