"""The choice of an implementation: a pure function of the problem, and open about it."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.support import Case, attention_layer, refuses
from vitrail.attention import BACKENDS, Problem, attend, choose, explain
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
        ({"bias_gradient": True}, "the bias wants a gradient"),
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
    assert passed.startswith("sdpa: passed over: ")
    assert reason in passed
    assert chosen == "reference: chosen"


def test_the_explanation_names_the_chosen_one() -> None:
    assert explain(PROBLEM).splitlines() == [
        "sdpa: chosen",
        "reference: passed over: another came first",
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


def test_training_and_evaluation_agree_whatever_is_chosen() -> None:
    layer = attention_layer(Case((9, 10), (4, 4), (2, 2)).pattern, dim=8).float()
    x = torch.randn(2, 9, 10, 8)
    with torch.no_grad():
        fused = layer(x)
    torch.testing.assert_close(layer(x).detach(), fused, rtol=1e-5, atol=1e-5)
