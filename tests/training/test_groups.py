import pytest

from vitrail import create_model
from vitrail.training.groups import parameter_groups

TINY = {"num_classes": 4, "dim": 8, "depths": (1, 2), "num_heads": (1, 2), "window": (2, 2)}


def by_name(groups) -> dict[str, dict]:
    return {name: group for group in groups for name in group["names"]}


@pytest.mark.parametrize("name", ["swin_nano", "swin_v2_tiny"])
def test_decay(name) -> None:
    model = create_model(name, **TINY)
    groups = by_name(parameter_groups(model, 1e-3, 0.05))
    assert groups.keys() == dict(model.named_parameters()).keys()
    spared = {name for name, group in groups.items() if group["weight_decay"] == 0}
    expected = {
        name
        for name, p in model.named_parameters()
        if p.ndim == 1 or ".attn.bias." in name or name.endswith("logit_scale")
    }
    assert spared == expected
    assert "stages.0.blocks.0.attn.qkv.weight" not in spared
    assert {group["lr"] for group in groups.values()} == {1e-3}


def test_layer_decay() -> None:
    groups = by_name(parameter_groups(create_model("swin_nano", **TINY), 1.0, 0.05, 0.5))
    scales = {name: group["lr_scale"] for name, group in groups.items()}
    assert scales["head.weight"] == scales["norm.weight"] == 1.0
    assert scales["stages.1.blocks.1.mlp.fc1.weight"] == 0.5
    assert scales["stages.1.blocks.0.mlp.fc1.bias"] == 0.25
    assert scales["stages.1.merge.norm.weight"] == 0.25
    assert scales["stages.0.blocks.0.norm1.weight"] == 0.125
    assert scales["embed.proj.weight"] == 0.0625
    assert all(group["lr"] == group["lr_scale"] for group in groups.values())


def test_each_parameter_once_and_frozen_ones_never() -> None:
    model = create_model("swin_nano", frozen_stages=1, **TINY)
    groups = parameter_groups(model, 1e-3, 0.05, 0.9)
    seen = [p for group in groups for p in group["params"]]
    assert len({id(p) for p in seen}) == len(seen)
    assert all(p.requires_grad for p in seen)
    assert len(seen) == sum(p.requires_grad for p in model.parameters())
    assert not any(n.startswith("stages.0") for group in groups for n in group["names"])
