"""What every backbone answers, at any size, and what it refuses."""

from typing import Any

import pytest
import torch
from torch import nn

import vitrail
from tests.support import CONFIGS, odd_input, refuses, small
from vitrail.models import Swin, SwinConfig

DETECTOR: dict[str, Any] = {"out_indices": (0, 1), "feature_norms": True}


def test_features_of_a_classifier_come_before_the_last_norm() -> None:
    model = small("2-D")
    x = odd_input("2-D")
    last = model.features(x)[-1]
    assert model.norm is not None
    assert torch.equal(model.norm(last), model.forward_features(x))
    with refuses("norm=True", "feature_norms=True"):
        model.features(x, norm=True)


def test_absolute_position_is_interpolated() -> None:
    model = small("2-D", absolute_position=(3, 5))
    at_home, elsewhere = torch.randn(1, 3, 6, 10), torch.randn(1, 3, 14, 9)
    assert model.position is not None
    before = model(at_home), model(elsewhere)
    with torch.no_grad():
        model.position.table.zero_()
    assert not torch.allclose(before[0], model(at_home))
    assert not torch.allclose(before[1], model(elsewhere))


@pytest.mark.parametrize(
    ("x", "given", "fix"),
    [
        (torch.zeros(3, 8, 8), "(3, 8, 8)", "x[None]"),
        (torch.zeros(1, 3, 8, 8, 8), "(1, 3, 8, 8, 8)", "x[None]"),
        (torch.zeros(1, 4, 8, 8), "(1, 4, 8, 8)", "in_channels"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "torch.uint8", "vitrail.transform"),
        (torch.zeros(1, 3, 8, 8).double(), "float64 for weights of torch.float32", "x.to("),
        (torch.zeros(1, 3, 0, 8), "(0, 8)", "enlarge"),
    ],
)
def test_an_input_it_cannot_take_is_refused(x: torch.Tensor, given: str, fix: str) -> None:
    model = small("2-D")
    with refuses(given, fix):
        model(x)


def test_dropping_the_rest_needs_a_whole_patch() -> None:
    model = small("2-D", patch_fit="floor")
    assert model(torch.randn(1, 3, 3, 2)).shape == (1, 5)
    with refuses("(1, 8)", "patch_fit='pad'"):
        model(torch.randn(1, 3, 1, 8))


def test_class_names_go_with_the_head_they_name() -> None:
    model = small("2-D")
    model._set_preprocessing(classes=tuple("abcde"))
    model.reset_classifier(5)
    assert model.preprocessing.classes == tuple("abcde")
    model.reset_classifier(6)
    assert model.preprocessing.classes is None


def test_frozen_stages_neither_train_nor_drop() -> None:
    model = small("2-D", frozen_stages=1, absolute_position=(4, 4), drop_path=0.5).train()
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert {n.split(".")[0] for n in frozen} == {"embed", "position", "stages"}
    assert all(n.startswith("stages.0.") for n in frozen if n.startswith("stages"))
    assert not model.stages[0].training and model.stages[1].training
    assert not model.eval().stages[1].training


def test_stochastic_depth_rises_linearly_over_all_blocks() -> None:
    model = small("2-D", drop_path=0.3)
    rates = [block.drop_path.rate for stage in model.stages for block in stage.blocks]  # type: ignore[union-attr]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_what_weight_decay_leaves_alone() -> None:
    for kind in ("2-D", "V2"):
        model = small(kind, absolute_position=(4, 4))
        spared = model.no_weight_decay()
        assert "position.table" in spared
        kept = {n for n, _ in model.named_parameters()} - spared
        matrices = ("proj.weight", "qkv.weight", "fc1.weight", "fc2.weight", "reduction.weight")
        assert all(n.endswith((*matrices, "head.weight")) for n in kept)
        assert len(kept) == 1 + 4 * 4 + 1 + 1  # patches, four blocks, one merge, head


def test_layers_are_counted_from_the_input() -> None:
    model = small("2-D")
    assert model.num_layers == 6
    index = {n: model.layer_index(n) for n, _ in model.named_parameters()}
    assert index["embed.proj.weight"] == 0
    assert index["stages.0.blocks.1.norm1.weight"] == 2
    assert index["stages.1.merge.norm.weight"] == index["stages.1.blocks.0.mlp.fc1.bias"] == 3
    assert index["norm.weight"] == index["head.bias"] == 5
    assert {*index.values()} == {*range(model.num_layers)}


def test_initialisation_is_the_paper_s() -> None:
    model = Swin(SwinConfig(dim=64, num_heads=(2, 4, 8, 16), depths=(2, 2, 2, 2)))
    for name, parameter in model.named_parameters():
        if name.endswith(("qkv.weight", "fc1.weight", "reduction.weight", "head.weight", "table")):
            assert parameter.std().item() == pytest.approx(0.02, rel=0.15), name
        elif name.endswith(".bias") and not name.startswith("embed.proj"):
            assert not parameter.any(), name
    v2 = type(small("V2"))(CONFIGS["V2"])  # type: ignore[arg-type]
    for name, parameter in v2.named_parameters():
        if ".norm1." in name or ".norm2." in name:
            assert not parameter.any(), name
        if name.endswith("logit_scale"):
            assert torch.allclose(parameter.exp(), torch.tensor(10.0))


def test_the_contract_is_spelled_as_timm_spells_it() -> None:
    model = vitrail.create_model("swin_nano", num_classes=3)
    assert isinstance(model.get_classifier(), nn.Linear)
    model.set_grad_checkpointing(True)
    assert all(stage.checkpointing for stage in model.stages)
    model.set_grad_checkpointing(False)
    assert model.num_features == 192
    assert model.out_indices == (0, 1, 2)
