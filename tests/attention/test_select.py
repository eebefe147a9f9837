"""The choice of an implementation: a pure function of the problem, and open about it."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.support import Case, attention_layer, refuses
from vitrail.attention import (
    BACKENDS,
    KERNELS,
    Problem,
    attend,
    choose,
    choose_kernel,
    explain,
    kernels,
)
from vitrail.attention.select import Backend

PROBLEM = Problem(
    queries=49,
    keys=49,
    head_dim=32,
    dtype=torch.float32,
    device="cpu",
    has_bias=True,
    has_region=True,
    bias_gradient=False,
    dropout=0.0,
)


def test_fused_attention_serves_where_it_can() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert choose(replace(PROBLEM, dtype=dtype)) == "sdpa"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dtype": torch.float64}, "torch.float64"),
        ({"bias_gradient": True}, "the bias needs a gradient"),
        ({"dropout": 0.1}, "dropout of attention weights"),
    ],
)
def test_the_reference_serves_what_fused_attention_does_not(
    change: dict[str, Any], reason: str
) -> None:
    problem = replace(PROBLEM, **change)
    assert choose(problem) == "reference"
    assert BACKENDS["reference"].why_not(problem) is None
    passed, chosen = explain(problem).splitlines()
    assert passed.startswith("sdpa: not used: ")
    assert reason in passed
    assert chosen == "reference: chosen"


def test_the_explanation_names_the_chosen_one() -> None:
    assert explain(PROBLEM).splitlines() == [
        "sdpa: chosen",
        "reference: not used: sdpa was chosen",
    ]


def test_a_problem_is_read_off_its_tensors() -> None:
    q, k = torch.zeros(2, 3, 4, 5, 8), torch.zeros(2, 3, 4, 7, 8)
    bias = torch.zeros(4, 5, 7, requires_grad=True)
    region = (torch.zeros(1, 3, 5, dtype=torch.int32), torch.zeros(1, 3, 7, dtype=torch.int32))
    problem = Problem.of(q, k, bias, region, 0.5)
    assert problem == Problem(
        queries=5, keys=7, head_dim=8, dtype=torch.float32, device="cpu", has_bias=True,
        has_region=True, bias_gradient=True, dropout=0.5,
    )  # fmt: skip
    with torch.no_grad():
        assert not Problem.of(q, k, bias, None, 0.0).bias_gradient


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_named_implementation_is_used(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = attention_layer(Case((5, 6), (3, 4), (1, 2)).pattern).float()
    called: list[str] = []
    for name, entry in list(BACKENDS.items()):

        def spy(*args: Any, _name: str = name, _entry: Backend = entry, **options: Any) -> Any:
            called.append(_name)
            return _entry.attend(*args, **options)

        monkeypatch.setitem(BACKENDS, name, entry._replace(attend=spy))
    layer.attend.backend = backend
    layer(torch.randn(2, 5, 6, 4))
    assert called == [backend]


def test_an_unknown_implementation_is_refused() -> None:
    q = torch.zeros(1, 1, 1, 2, 4)
    with refuses("backend='flash'", "leave it out"):
        attend(q, q, q, scale=1.0, backend="flash")


LAYER = replace(PROBLEM, in_place=True)


@pytest.mark.parametrize(
    ("change", "backend", "chosen"),
    [
        ({}, None, None),  # what must be built is not built unasked
        ({}, "cpp", "cpp"),
        ({}, "plain", "plain"),
        ({}, "sdpa", None),
        ({"device": "cuda"}, None, "triton"),
        ({"device": "cuda"}, "triton", "triton"),
        ({"device": "cuda"}, "cpp", None),
        ({"device": "cuda"}, "reference", None),
        ({"device": "cuda", "dtype": torch.float64}, None, None),
        ({"device": "cuda", "observed": True}, None, None),
        ({"exporting": True}, "cpp", None),
        ({"observed": True}, "cpp", None),
        ({"dropout": 0.1}, "cpp", None),
        ({"dtype": torch.float64}, "cpp", None),
        ({"dtype": torch.float64}, "plain", "plain"),
        ({"in_place": False}, "cpp", None),
    ],
)
def test_who_attends_in_place(
    change: dict[str, Any], backend: str | None, chosen: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(kernels, "_HAS_TRITON", True)
    if chosen == "triton":
        pytest.importorskip("triton")
    assert choose_kernel(replace(LAYER, **change), backend) == chosen


def test_without_triton_layers_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_HAS_TRITON", False)
    problem = replace(LAYER, device="cuda")
    assert choose_kernel(problem) is None
    assert "the package triton is not installed" in explain(problem)


def test_the_explanation_of_a_layer_names_the_kernels_too() -> None:
    found = explain(LAYER, "cpp").splitlines()
    assert [line.partition(":")[0] for line in found] == [*KERNELS, *BACKENDS]
    assert found[1] == "cpp: chosen"
    found = explain(replace(LAYER, observed=True), "cpp").splitlines()
    assert found[1] == "cpp: not used: a hook on attend reads its queries, keys and values"
    assert found[3] == "sdpa: chosen"
    assert explain(LAYER, "reference").splitlines()[-1] == "reference: chosen"


def test_training_and_evaluation_agree_whatever_is_chosen() -> None:
    layer = attention_layer(Case((9, 10), (4, 4), (2, 2)).pattern, dim=8).float()
    x = torch.randn(2, 9, 10, 8)
    with torch.no_grad():
        fused = layer(x)
    torch.testing.assert_close(layer(x).detach(), fused, rtol=1e-5, atol=1e-5)
