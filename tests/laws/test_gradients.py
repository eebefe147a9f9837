"""Gradients of whole layers, against finite differences in float64."""

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from tests.support import Case, attention_layer, small
from vitrail.layers import PatchMerging, PostNormPatchMerging

# Padded on both axes, shifted on one; the other axis is covered by one window.
CASE = Case((4, 3), (3, 4), (1, 2))


@pytest.mark.parametrize("cosine", [False, True])
def test_window_attention(cosine: bool) -> None:
    layer = attention_layer(CASE.pattern, cosine=cosine)
    names = [name for name, _ in layer.named_parameters() if not name.startswith("bias.mlp")]
    values = [layer.get_parameter(name).detach().clone().requires_grad_() for name in names]

    def call(x: Tensor, *parameters: Tensor) -> Tensor:
        return functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    x = CASE.tokens(batch=1).requires_grad_()
    assert torch.autograd.gradcheck(call, (x, *values))


@pytest.mark.parametrize("kind", [PatchMerging, PostNormPatchMerging])
def test_merging(kind: type[PatchMerging] | type[PostNormPatchMerging]) -> None:
    layer = kind(2, 3, (2, 2)).double()
    x = torch.randn(1, 3, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))


@pytest.mark.parametrize("kind", ["1-D", "V2"])
def test_a_whole_model(kind: str) -> None:
    model = small(kind, depths=(2,), num_heads=(2,), dim=4).double()
    lengths = (5,) if kind == "1-D" else (5, 3)
    x = torch.randn(1, 3, *lengths, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, (x,))
