import pytest
import torch
from torch.optim import AdamW, Muon

from tests.support import refuses
from vitrail import create_model
from vitrail.training.optimizers import build_optimizers, inner_matrices
from vitrail.training.recipe import Recipe

TINY = {"num_classes": 4, "dim": 8, "depths": (1, 2), "num_heads": (1, 2), "window": (2, 2)}


def names(optimizer) -> set[str]:
    return {name for group in optimizer.param_groups for name in group["names"]}


def test_adamw_has_everything() -> None:
    model = create_model("swin_nano", **TINY)
    (only,) = build_optimizers(model, Recipe(), fused=True)
    assert type(only) is AdamW
    assert names(only) == dict(model.named_parameters()).keys()


@pytest.mark.parametrize("name", ["swin_nano", "swin_v2_tiny", "video_swin_tiny"])
def test_muon_has_the_matrices_of_the_blocks_and_merges(name) -> None:
    model = create_model(name, **{k: v for k, v in TINY.items() if k != "window"})
    first, second = build_optimizers(model, Recipe(optimizer="muon", lr=0.1), fused=True)
    assert (type(first), type(second)) == (Muon, AdamW)
    ends = ("qkv.weight", "proj.weight", "fc1.weight", "fc2.weight", "reduction.weight")
    expected = {n for n, _ in model.named_parameters() if n.startswith("stages.")}
    expected = {n for n in expected if n.endswith(ends)}
    assert names(first) == expected == inner_matrices(model)
    assert names(second) == dict(model.named_parameters()).keys() - expected
    assert {g["lr"] for g in [*first.param_groups, *second.param_groups]} == {0.1}
    assert {g["weight_decay"] for g in first.param_groups} == {0.05}


def test_layer_decay_reaches_both() -> None:
    model = create_model("swin_nano", **TINY)
    recipe = Recipe(optimizer="muon", lr=1.0, layer_decay=0.5)
    first, second = build_optimizers(model, recipe, fused=True)
    rates = {n: g["lr"] for o in (first, second) for g in o.param_groups for n in g["names"]}
    assert rates["stages.1.blocks.1.mlp.fc1.weight"] == rates["stages.1.blocks.1.mlp.fc1.bias"]
    assert rates["stages.0.blocks.0.mlp.fc1.weight"] == 0.125
    assert rates["embed.proj.weight"] == 0.0625


def test_a_frozen_backbone_leaves_nothing_to_muon() -> None:
    model = create_model("swin_nano", **TINY).requires_grad_(False)
    assert model.head is not None
    model.head.requires_grad_(True)
    (only,) = build_optimizers(model, Recipe(optimizer="muon"), fused=True)
    assert type(only) is AdamW
    assert names(only) == {"head.weight", "head.bias"}


def test_nothing_that_trains() -> None:
    model = create_model("swin_nano", **TINY).requires_grad_(False)
    with refuses("nothing trains", "--freeze backbone"):
        build_optimizers(model, Recipe(), fused=True)


def test_only_matrices_that_train() -> None:
    model = create_model("swin_nano", **TINY).requires_grad_(False)
    model.get_parameter("stages.0.blocks.0.mlp.fc1.weight").requires_grad_(True)
    (only,) = build_optimizers(model, Recipe(optimizer="muon"), fused=True)
    assert type(only) is Muon


def test_the_last_block_of_a_bare_backbone_counts() -> None:
    fields = TINY | {"num_classes": 0, "out_indices": (0, 1)}
    assert "stages.1.blocks.1.mlp.fc1.weight" in inner_matrices(create_model("swin_nano", **fields))


def test_a_step_of_muon_has_no_weak_direction() -> None:
    """Every singular value of the step is about the same, whatever those of the gradient are."""
    model = create_model("swin_nano", **TINY)
    recipe = Recipe(optimizer="muon", lr=1.0, weight_decay=0.0)
    first, _ = build_optimizers(model, recipe, fused=True)
    weight = model.get_parameter("stages.0.blocks.0.mlp.fc1.weight")
    left, right = (torch.linalg.qr(torch.randn(n, 8))[0] for n in weight.shape)
    weight.grad = left @ torch.diag(torch.logspace(0, -2, 8)) @ right.T
    before = weight.detach().clone()
    first.step()
    values = torch.linalg.svdvals(weight.detach() - before)
    # AdamW's usual size is about 0.2 per entry; the iteration stops near orthogonality, not at it.
    assert values.max() / values.min() < 3
    size = (weight.detach() - before).pow(2).mean().sqrt()
    assert size == pytest.approx(0.2, rel=0.3)
