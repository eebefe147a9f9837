"""What timm's users and tools call on a model answers as timm's own model of the family does."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support import drawn
from vitrail import from_model
from vitrail.weights import load

timm = pytest.importorskip("timm")
optim = pytest.importorskip("timm.optim")

SMALL: dict[str, dict[str, Any]] = {
    "swin_tiny_patch4_window7_224": {"embed_dim": 8, "depths": (1, 3), "num_heads": (1, 2)},
    "swinv2_tiny_window8_256": {"embed_dim": 8, "depths": (1, 2), "num_heads": (1, 2)},
    "pvt_v2_b0": {"embed_dims": (4, 8, 20, 16), "depths": (1, 2, 1, 2)},
    "pvt_v2_b2_li": {"embed_dims": (4, 8, 20, 16), "depths": (1, 2, 1, 2)},
    "vit_tiny_patch16_224": {"embed_dim": 12, "depth": 3},
}
every = pytest.mark.parametrize("name", SMALL)
_MAXVIT: dict[str, Any] = {"embed_dim": (32, 32), "depths": (2, 1), "block_type": ("M", "M"),
                           "stem_width": 16, "head_hidden_size": 32}  # fmt: skip


def peer(name: str) -> nn.Module:
    return drawn(timm.create_model(name, num_classes=5, **SMALL.get(name, _MAXVIT))).eval()


def groups(model: nn.Module) -> dict[str, tuple[float, float]]:
    """Return the factor on the learning rate and the decay of each parameter."""
    optimizer = optim.create_optimizer_v2(
        model, "adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.7
    )
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: (group["lr_scale"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


@pytest.mark.parametrize("name", [*SMALL, "maxvit_tiny_tf_224"])
def test_layer_decay_makes_timm_s_groups(name: str) -> None:
    theirs = peer(name)
    ours = from_model(theirs)
    origin = {}
    with torch.no_grad():
        # Each of its parameters is filled with a number, by which it is found again in ours.
        for number, (key, parameter) in enumerate(theirs.named_parameters(), 1):
            parameter.fill_(number)
            origin[number] = key
    load(ours, theirs.state_dict())
    expected, found = groups(theirs), groups(ours)
    assert (
        len({scale for scale, _ in found.values()})
        == len({scale for scale, _ in expected.values()})
        > 3
    )
    for key, parameter in ours.named_parameters():
        sources = [origin[int(n)] for n in parameter.unique().tolist()]
        assert sources and {expected[source] for source in sources} == {found[key]}, key


@every
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"indices": 1, "norm": True},
        {"indices": [0, -1], "norm": True},
        {"indices": (0,), "stop_early": True},
        {"intermediates_only": True},
    ],
    ids=str,
)
def test_intermediates_are_timm_s(name: str, options: dict[str, Any]) -> None:
    theirs = peer(name).double()
    ours = from_model(theirs)
    size: int = theirs.pretrained_cfg["input_size"][1]  # type: ignore[index, assignment]
    x = torch.randn(1, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs.forward_intermediates(x, **options)  # type: ignore[operator]
        found = ours.forward_intermediates(x, **options)
    if not options.get("intermediates_only"):
        tokens: Tensor = expected[0]
        if tokens.ndim == 4 and "pvt" in name:
            tokens = tokens.movedim(1, -1)  # ours are channels-last
        torch.testing.assert_close(found[0], tokens)
        expected, found = expected[1], found[1]
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@every
def test_the_head_s_width_has_timm_s_name(name: str) -> None:
    theirs = peer(name)
    ours = from_model(theirs)
    assert ours.head_hidden_size == theirs.head_hidden_size
    ours.reset_classifier(0)
    assert ours.head_hidden_size == theirs.head_hidden_size
