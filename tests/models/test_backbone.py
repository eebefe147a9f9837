"""What every backbone answers, at any size, and what it refuses."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn

import vitrail
from tests.support import CONFIGS, KINDS, ODD_SIZES, drawn, odd_input, refuses, small
from vitrail.models import Swin, SwinConfig

DETECTOR: dict[str, Any] = {"out_indices": (0, 1), "feature_norms": True}


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_stages_outputs(kind: str) -> None:
    model = small(kind, **DETECTOR)
    x = odd_input(kind)
    maps = model.features(x)
    assert [m.shape[-1] for m in maps] == list(model.dims)
    for out, stride in zip(maps, model.strides, strict=True):
        lengths = [-(-n // s) for n, s in zip(x.shape[2:], stride, strict=True)]
        assert list(out.shape[1:-1]) == lengths
    first = model.features(x, channels_first=True)
    assert all(torch.equal(a, b.movedim(-1, 1)) for a, b in zip(first, maps, strict=True))
    normed = model.features(x, norm=True)
    assert torch.equal(normed[1], model.feature_norms["1"](maps[1]))
    assert all(torch.equal(a, b) for a, b in zip(model(x), normed, strict=True))


def test_features_of_a_classifier_come_before_the_last_norm() -> None:
    model = small("2-D")
    x = odd_input("2-D")
    last = model.features(x)[-1]
    assert model.norm is not None
    assert torch.equal(model.norm(last), model.forward_features(x))
    with refuses("norm=True", "feature_norms=True"):
        model.features(x, norm=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fields", [{}, {"out_indices": (0,)}, DETECTOR], ids=str)
def test_no_parameter_is_unused(kind: str, fields: dict[str, Any]) -> None:
    model = small(kind, **fields)
    out = model(odd_input(kind))
    sum((o**2).sum() for o in (out if isinstance(out, list) else [out])).backward()  # type: ignore[union-attr]
    unused = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not unused


def test_stages_that_are_not_asked_for_are_not_built() -> None:
    model = small("2-D", out_indices=(0,))
    assert len(model.stages) == 1
    assert model.norm is None and model.head is None
    assert model.num_features == model.dims[-1] == 8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 2, 7, 13])
def test_any_size(kind: str, length: int) -> None:
    axes = len(ODD_SIZES[kind])
    samples = (length, *(3 * length + a for a in range(1, axes)))
    model = small(kind)
    x = torch.randn(2, 3, *samples)
    logits = model(x)
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()
    assert torch.allclose(model(x[:1]), logits[:1], atol=1e-5)


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


def test_the_head_can_be_replaced() -> None:
    model = small("2-D").double()
    x = odd_input("2-D", dtype=torch.float64)
    model.reset_classifier(9)
    assert model(x).shape == (2, 9)
    assert model.num_classes == model.config.num_classes == 9
    model.reset_classifier(0)
    assert model.get_classifier() is None
    assert torch.equal(model(x), model.forward_head(model.forward_features(x), pre_logits=True))
    model.reset_classifier(4, global_pool="")
    assert model(x).shape == (2, *model.forward_features(x).shape[1:-1], 4)
    assert model.global_pool == ""


def test_a_bare_backbone_takes_no_head() -> None:
    model = small("2-D", out_indices=(0,))
    with refuses("num_classes=7 for a backbone with out_indices=(0,)", "without out_indices"):
        model.reset_classifier(7)


def test_class_names_go_with_the_head_they_name() -> None:
    model = small("2-D")
    model._set_preprocessing(classes=tuple("abcde"))
    model.reset_classifier(5)
    assert model.preprocessing.classes == tuple("abcde")
    model.reset_classifier(6)
    assert model.preprocessing.classes is None


@pytest.mark.parametrize("kind", ["2-D", "V2"])
@pytest.mark.parametrize("frozen", [0, 1])
def test_checkpointing_changes_no_gradient(kind: str, frozen: int) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = small(kind, frozen_stages=frozen, checkpointing=checkpointing).train()
        torch.manual_seed(3)  # stochastic depth draws the same
        model(odd_input(kind)).square().sum().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert gradient is not None and gradients[1][name] is not None
        assert torch.equal(gradient, gradients[1][name]), name


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


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_from_the_meta_device_is_whole(kind: str) -> None:
    real = small(kind)
    with torch.device("meta"):
        model = type(real)(CONFIGS[kind])
    model = model.to_empty(device="cpu").eval()
    model.load_state_dict(real.state_dict())
    assert torch.equal(model(odd_input(kind)), real(odd_input(kind)))
    model.reset_parameters()
    assert all(p.isfinite().all() for p in model.parameters())


def test_no_buffer_is_in_a_state_dict() -> None:
    for kind in KINDS:
        model = small(kind)
        assert model.state_dict().keys() == {n for n, _ in model.named_parameters()}


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


def test_copies_and_pickles() -> None:
    model = small("V2")
    x = odd_input("V2")
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x), model(x))
    drawn(twin, seed=5)
    assert not torch.equal(twin(x), model(x))
    assert pickle.loads(pickle.dumps(model.config)) == model.config


def test_the_hub_s_methods_round_trip(tmp_path: Any) -> None:
    model = small("V2")
    model._set_preprocessing(classes=tuple("abcde"), trained=True)
    model.save_pretrained(tmp_path)
    assert {"config.json", "model.safetensors"} <= {p.name for p in tmp_path.iterdir()}
    again = type(model).from_pretrained(tmp_path)
    assert again.config == model.config
    assert again.preprocessing == model.preprocessing
    assert torch.equal(again(odd_input("V2")), model(odd_input("V2")))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(dtype: torch.dtype) -> None:
    for kind in ("2-D", "V2"):
        logits = small(kind).to(dtype)(odd_input(kind, dtype=dtype))
        assert logits.dtype == dtype
        assert logits.isfinite().all()


def test_the_contract_is_spelled_as_timm_spells_it() -> None:
    model = vitrail.create_model("swin_nano", num_classes=3)
    assert isinstance(model.get_classifier(), nn.Linear)
    model.set_grad_checkpointing(True)
    assert all(stage.checkpointing for stage in model.stages)
    model.set_grad_checkpointing(False)
    assert model.num_features == 192
    assert model.out_indices == (0, 1, 2)
