"""One body, four ways to attend: what they share, and what each of them does."""

from typing import Any

import pytest
import torch
from torch import nn

import vitrail
from tests.support import drawn, refuses
from vitrail.layers import OffsetBias
from vitrail.models import MechanismSwin, MechanismSwinConfig
from vitrail.patterns import Axial, Global, Pattern, SparseFixed, SparseStrided, Window

KINDS: dict[str, dict[str, Any]] = {
    "window": {"mechanism": "window"},
    "global": {"mechanism": "global"},
    "axial": {"mechanism": "axial"},
    "strided": {"mechanism": "sparse"},
    "fixed": {"mechanism": "sparse", "sparse": "fixed"},
    "block": {"mechanism": "sparse", "block": 5},
}


def small(kind: str, **changes: Any) -> MechanismSwin:
    """Return a small model with drawn weights, in evaluation mode."""
    fields: dict[str, Any] = {
        "dim": 8, "depths": (2, 3), "num_heads": (2, 4), "window": (3, 4), "patch": (2, 2),
        "num_classes": 5, **KINDS[kind], **changes,
    }  # fmt: skip
    return drawn(MechanismSwin(MechanismSwinConfig(**fields))).eval()


def patterns(model: nn.Module) -> list[list[Pattern]]:
    return [[block.attn.pattern for block in stage.blocks] for stage in model.stages]  # type: ignore[union-attr]


def test_all_have_the_same_parameters_under_the_same_names() -> None:
    shapes = []
    with torch.device("meta"):
        for name in ("window_tiny", "global_tiny", "axial_tiny", "sparse_tiny"):
            model = vitrail.create_model(name)
            shapes.append({n: tuple(p.shape) for n, p in model.named_parameters()})
        swin = vitrail.create_model("swin_tiny")
    assert all(found == shapes[0] for found in shapes)
    # Swin itself, but for the bias.
    expected = {n: tuple(p.shape) for n, p in swin.named_parameters() if ".bias.table" not in n}
    assert {n: s for n, s in shapes[0].items() if ".attn.bias." not in n} == expected


def test_blocks_take_turns() -> None:
    assert patterns(small("axial"))[1] == [Axial(0), Axial(1), Axial(0)]
    assert patterns(small("global"))[1] == [Global()] * 3
    assert patterns(small("fixed", block=4))[1] == [SparseFixed(4)] * 3
    local, residue = SparseStrided(None, "local"), SparseStrided(None, "residue")
    assert patterns(small("strided"))[1] == [local, residue, local]
    regular, shifted = Window((3, 4), (0, 0)), Window((3, 4), (1, 2))
    assert patterns(small("window"))[1] == [regular, shifted, regular]


def test_only_the_pattern_differs() -> None:
    """On a grid of one token all see the same: the same numbers."""
    x = torch.randn(2, 3, 2, 2)
    expected = small("window")(x)
    for kind in KINDS:
        torch.testing.assert_close(small(kind)(x), expected)
    x = torch.randn(2, 3, 22, 30)
    outs = [small(kind)(x) for kind in KINDS]
    for i, one in enumerate(outs):
        assert not any(torch.allclose(one, other, rtol=1e-4) for other in outs[:i])


def test_the_bias_is_of_one_kind_and_matters() -> None:
    x = torch.randn(2, 3, 22, 30)
    for kind in KINDS:
        model = small(kind)
        before = model(x)
        biases = [m for m in model.modules() if isinstance(m, OffsetBias)]
        assert len(biases) == 5
        with torch.no_grad():
            for bias in biases:
                list(bias.mlp.parameters())[-1].zero_()
        assert not torch.allclose(model(x), before, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "given", "fix"),
    [
        ({"mechanism": "focal"}, "mechanism='focal'", "mechanism='window'"),
        ({"sparse": "dilated"}, "sparse='dilated'", "sparse='strided'"),
        ({"mlp_ratio": -1.0}, "mlp_ratio=-1.0", "mlp_ratio=4.0"),
        ({"mechanism": "sparse", "block": 0}, "block=0", "block=1"),
        ({"merge": (2, 2, 2)}, "merge=(2, 2, 2)", "merge=(2, 2)"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], given: str, fix: str) -> None:
    with refuses(given, fix):
        MechanismSwinConfig(**changes)


# The root of a symbolic number of tokens takes torch minutes to reason about: blocks are given.
@pytest.mark.compile
@pytest.mark.parametrize("kind", ["window", "global", "axial"])
def test_one_graph_for_all_sizes(kind: str) -> None:
    torch._dynamo.reset()
    model = small(kind, depths=(2,), num_heads=(2,))
    fast = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")
    with torch.no_grad():
        for size in ((11, 13), (16, 24), (21, 9)):
            x = torch.randn(2, 3, *size)
            torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.compile
@pytest.mark.parametrize("kind", ["strided", "fixed"])
def test_one_graph_for_one_size(kind: str) -> None:
    torch._dynamo.reset()
    model = small(kind, depths=(2,), num_heads=(2,))
    fast = torch.compile(model, fullgraph=True, dynamic=False, backend="eager")
    x = torch.randn(2, 3, 11, 13)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)
