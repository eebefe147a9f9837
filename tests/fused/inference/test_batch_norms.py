"""Batch norms disappear into the convolutions beside them, and outputs stay what they were."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

import vitrail
from tests.mechanisms import small_maxvit
from tests.support import ODD_SIZES, odd_input
from vitrail.fused import support
from vitrail.fused.inference.batch_norms import fold_batch_norms
from vitrail.layers import MBConv

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, NORMS) for module in model.modules())


@pytest.mark.parametrize("kind", ["1-D", "2-D", "3-D"])
@pytest.mark.parametrize(
    "changes", [{}, {"conv_padding": "symmetric", "shortcut_pool": "kernel", "stem_bias": False}],
    ids=["same", "symmetric"],
)  # fmt: skip
def test_outputs_are_the_same_in_float64(kind: str, changes: dict[str, Any]) -> None:
    model = small_maxvit(len(ODD_SIZES[kind]), **changes).double()
    folded = copy.deepcopy(model)
    fold_batch_norms(folded)
    assert norms(model) > 0 and norms(folded) == 0
    assert not any(p.dtype != torch.float64 for p in folded.parameters())
    x = odd_input(kind).double()
    with torch.no_grad():
        torch.testing.assert_close(folded(x), model(x), rtol=1e-10, atol=1e-10)


def test_weights_are_rounded_once() -> None:
    model = small_maxvit().bfloat16()
    folded = copy.deepcopy(model)
    fold_batch_norms(folded)
    assert {p.dtype for p in folded.parameters()} == {torch.bfloat16}
    exact = copy.deepcopy(model).double()
    fold_batch_norms(exact)
    for found, wanted in zip(folded.parameters(), exact.parameters(), strict=True):
        assert torch.equal(found, wanted.bfloat16())


def test_norms_that_differ_by_batch_stay() -> None:
    """Without running statistics a norm is no constant; and a user's own class may do more."""

    class Own(nn.BatchNorm2d):
        pass

    model = small_maxvit()
    first, *others = [m for m in model.modules() if type(m) is MBConv]
    first.norm1 = nn.BatchNorm2d(first.conv1.out_channels, track_running_stats=False).eval()
    first.norm2 = Own(first.conv2.out_channels).eval()
    folded = copy.deepcopy(model)
    fold_batch_norms(folded)
    assert norms(folded) == 2 and others
    x = odd_input("2-D")
    with torch.no_grad():
        torch.testing.assert_close(folded(x), model(x), rtol=2e-5, atol=2e-5)


@pytest.mark.skipif(support.why_not() is not None, reason="no C++ compiler")
def test_optimize_folds_them_in_the_copy_alone() -> None:
    model = small_maxvit()
    before = norms(model)
    x = odd_input("2-D")
    made = vitrail.optimize(model, x, path="fused")
    assert norms(made) == 0 and norms(model) == before
    with torch.no_grad():
        torch.testing.assert_close(made(x), model(x), rtol=2e-5, atol=2e-5)
