"""One graph without breaks: compiled equals eager, forward and backward, at any size."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support import KINDS, ODD_SIZES, odd_input, small
from vitrail.models import Backbone

pytestmark = pytest.mark.compile


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(model: Backbone, **options: Any) -> Callable[[Tensor], Tensor]:
    return torch.compile(model, fullgraph=True, **{"backend": "aot_eager", **options})


def gradients(model: Backbone, call: Callable[[Tensor], Tensor], x: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    call(x).square().mean().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert len(found) == len(list(model.parameters()))
    return found


def assert_same_gradients(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_one_size(kind: str) -> None:
    model, x = small(kind, depths=(2, 1), drop_path=0.0).train(), odd_input(kind)
    fast = compiled(model)
    torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)
    assert_same_gradients(gradients(model, fast, x), gradients(model, model, x))


@pytest.mark.parametrize("kind", KINDS)
def test_changing_sizes(kind: str) -> None:
    """Sizes on both sides of the switches of padding and shift."""
    model = small(kind, depths=(2,), num_heads=(2,))
    fast = compiled(model, dynamic=True, backend="eager")  # what differs by size is traced before
    config = model.config
    fitting = [m * p for m, p in zip(config.windows[0], config.patch, strict=True)]
    with torch.no_grad():
        for lengths in (ODD_SIZES[kind], fitting, [n + 1 for n in fitting]):
            x = torch.randn(2, 3, *lengths)
            torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)


def test_training_on_changing_sizes() -> None:
    model = small("1-D", depths=(2,), num_heads=(2,), drop_path=0.0).train()
    fast = compiled(model, dynamic=True)
    for batch, length in ((2, 43), (3, 67)):
        x = torch.randn(batch, 3, length)
        assert_same_gradients(gradients(model, fast, x), gradients(model, model, x))


def test_other_sizes_are_not_compiled_again() -> None:
    """One graph for all sizes that are padded; sizes that need no padding get another."""
    model = small("2-D", depths=(2,), num_heads=(2,)).eval()
    fast = compiled(model, dynamic=True)
    with torch.no_grad():
        fast(torch.randn(2, 3, 31, 43))
        with torch.compiler.set_stance("fail_on_recompile"):
            for lengths in ((33, 45), (50, 73), (43, 29), (97, 34)):
                x = torch.randn(3, 3, *lengths)
                torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)


def test_what_is_dropped_in_training() -> None:
    drops: dict[str, Any] = {"drop": 0.1, "attn_drop": 0.1, "drop_path": 0.5}
    model = small("1-D", depths=(2,), num_heads=(2,), **drops).train()
    fast = compiled(model, dynamic=True)
    x = odd_input("1-D")
    assert not torch.equal(fast(x), fast(x))
    gradients(model, fast, x)


def test_autocast_and_checkpointing() -> None:
    model = small("1-D", depths=(2,), num_heads=(2,), drop_path=0.0).train()
    x = odd_input("1-D")
    expected = gradients(model, model, x)
    model.set_grad_checkpointing()
    fast = compiled(model)
    assert_same_gradients(gradients(model, fast, x), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(fast(x), model(x), rtol=0.05, atol=0.05)


def test_inductor() -> None:
    model = small("1-D", depths=(2,), num_heads=(2,), drop_path=0.0).train()
    x = odd_input("1-D")
    fast = compiled(model, backend="inductor")
    torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)
    assert_same_gradients(gradients(model, fast, x), gradients(model, model, x))
