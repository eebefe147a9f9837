"""Whether Triton is taken on a GPU without being named."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.attention.test_select import LAYER
from vitrail.attention import choose_kernel
from vitrail.attention.kernels import why_no_kernel
from vitrail.attention.triton import device

LAYER = replace(LAYER, device="cuda")


class Driver:
    """Stands for Triton's link to a GPU."""

    def get_current_target(self) -> str:
        return "a GPU"


class Broken(Driver):
    """Stands for one that cannot be built."""

    def get_current_target(self) -> str:
        raise RuntimeError("Failed to find C compiler.\nPlease specify one.")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A GPU of the generation of an A100, with a Triton that works."""
    runtime = pytest.importorskip("triton.runtime")
    monkeypatch.setattr(device, "_current", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    monkeypatch.setattr(runtime.driver, "_active", Driver())
    device._reason.cache_clear()
    yield monkeypatch
    device._reason.cache_clear()


def test_a_gpu_that_serves(gpu: pytest.MonkeyPatch) -> None:
    del gpu
    assert device.why_not_here() is None
    assert choose_kernel(LAYER) == "triton"


def test_without_a_gpu_nothing_speaks_against_one() -> None:
    if not torch.cuda.is_available():
        assert device.why_not_here() is None


def test_an_older_gpu_composes_unless_named(gpu: pytest.MonkeyPatch) -> None:
    gpu.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert "compute capability 7.5" in (why_no_kernel("triton", LAYER) or "")
    assert choose_kernel(LAYER) is None
    assert choose_kernel(LAYER, "triton") == "triton"


def test_another_maker_s_gpu_composes(gpu: pytest.MonkeyPatch) -> None:
    gpu.setattr(torch.version, "hip", "6.4")
    assert "ROCm" in (why_no_kernel("triton", LAYER) or "")


def test_a_gpu_without_a_c_compiler_composes(gpu: pytest.MonkeyPatch) -> None:
    from triton.runtime import driver

    gpu.setattr(driver, "_active", Broken())
    assert "RuntimeError: Failed to find C compiler." in (why_no_kernel("triton", LAYER) or "")


@pytest.mark.compile
@pytest.mark.parametrize("reason", [None, "too old"])
def test_compiling_checks_and_goes_on(reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_current", lambda: 0)
    monkeypatch.setattr(device, "_reason", lambda _: reason)
    torch.compiler.reset()

    @torch.compile(fullgraph=True, backend="eager")
    def signed(x: Tensor) -> Tensor:
        return x if device.why_not_here() is None else -x

    x = torch.ones(2)
    assert torch.equal(signed(x), x if reason is None else -x)
