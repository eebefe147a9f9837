import pytest
import torch

from tests.weights.conftest import fields_of
from vitrail.errors import UsageError
from vitrail.weights import load, to_format
from vitrail.weights.detect import detect
from vitrail.weights.families import FAMILIES
from vitrail.weights.formats import FORMATS

# timm's old layout is the official one: the two cannot be distinguished, and need not be.
SAME = {"timm-old": "official"}
# One layout since 2022, whatever the name it is requested by.
V2 = {"transformers-old": "transformers"}


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "backbone.", "net.module.encoder."])
@pytest.mark.parametrize(("name", "kind"), sorted(FORMATS))
def test_every_format_is_recognised_whatever_stands_before_it(build, name, kind, prefix):
    fields = fields_of(name, kind)
    if name == "mmdet":
        fields = {"out_indices": (0, 1), "feature_norms": True}
    model = build(kind, **fields)
    state = {prefix + key: value for key, value in to_format(model, name).items()}
    found = detect(state)
    expected = SAME.get(name, name)
    if kind == "swin_v2":
        expected = V2.get(expected, expected)
    assert (found.format.name, found.format.kind) == (expected, kind)
    if kind != "hiera":  # whose blocks are numbered through all stages
        assert found.stages == len(model.config.depths)
    assert sum(family.recognise(found.state) is not None for family in FAMILIES) == 1
    report = load(build(kind, **fields), state)
    assert len(report.loaded) == len(model.state_dict())


@pytest.mark.parametrize("name", ["official", "timm", "torchvision", "transformers", "mmpretrain"])
def test_a_file_without_classifier_is_recognised(build, name):
    state = {k: v for k, v in to_format(build(num_classes=0), name).items() if "head" not in k}
    assert detect(state).format.name == name


def test_other_parts_of_a_detector_are_left_out(build):
    model = build(out_indices=(0, 1), feature_norms=True)
    state = to_format(model, "mmdet")
    state |= {
        "neck.lateral_convs.0.conv.weight": torch.zeros(1),
        "bbox_head.fc.bias": torch.zeros(1),
    }
    found = detect(state)
    assert found.format.name == "mmdet"
    assert sorted(found.beside) == ["bbox_head.fc.bias", "neck.lateral_convs.0.conv.weight"]
    assert "2 weights of other parts" in str(load(model, state))


def test_of_several_copies_the_fullest_is_taken(build):
    model = build()
    state = {
        "ema." + k: torch.zeros_like(v) for k, v in model.state_dict().items() if "head" not in k
    }
    state |= {"model." + k: v for k, v in model.state_dict().items()}
    assert detect(state).prefix == "model."


@pytest.mark.parametrize(
    ("key", "guess"),
    [
        ("blocks.0.attn.qkv.weight", "a plain vision transformer"),
        ("layer1.0.conv1.weight", "a ResNet"),
        ("stages.0.blocks.0.gamma", "a ConvNeXt"),
        ("block1.0.attn.q.weight", "a Pyramid Vision Transformer"),
        ("layers.0.blocks.0.spatial_mlp.weight", "a Swin-MLP"),
        ("stages.0.blocks.0.attn.meta_mlp.fc1.weight", "timm's swinv2_cr"),
    ],
)
def test_another_family_is_named(key, guess):
    with pytest.raises(UsageError, match=guess) as error:
        detect({key: torch.zeros(1)})
    assert key in error.value.given
    assert "torchvision" in error.value.allowed
    assert "check that the file" in error.value.fix


def test_nothing_is_no_swin():
    with pytest.raises(UsageError, match="an empty state dict") as error:
        detect({})
    assert "model.state_dict()" in error.value.fix


def test_anything_else_is_refused_by_its_keys():
    with pytest.raises(UsageError, match=r"'linear\.weight'") as error:
        detect({"linear.weight": torch.zeros(1)})
    assert "official" in error.value.allowed
