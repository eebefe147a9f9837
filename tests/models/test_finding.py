"""The backbone in whatever a user has around it, and where its parts are by their names."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import vitrail
from tests.support import odd_input, refuses, small
from vitrail.analysis.reach import receptive_field
from vitrail.explain import capture, erf, gradcam, gradient_rollout
from vitrail.models import Backbone, backbone_of, place_of, unwrapped


def wrappers(model: Backbone) -> dict[str, nn.Module]:
    return {
        "itself": model,
        "compiled": torch.compile(model),  # type: ignore[dict-item]
        "parallel": nn.DataParallel(model),
        "averaged and compiled": torch.compile(AveragedModel(model)),  # type: ignore[dict-item]
    }


@pytest.mark.parametrize("name", ["itself", "compiled", "parallel", "averaged and compiled"])
def test_torch_s_wrappers_are_looked_through(name: str) -> None:
    model = small("2-D")
    wrapped = wrappers(model)[name]
    found = backbone_of(wrapped)
    assert found is not None and found is unwrapped(wrapped)
    assert found is model or name.startswith("averaged")  # which copies it
    x = odd_input("2-D", batch=1)
    assert vitrail.cost(wrapped, 32) == vitrail.cost(found, 32)
    assert receptive_field(wrapped, 32) == receptive_field(found, 32)
    assert str(vitrail.transform(wrapped)) == str(vitrail.transform(found))
    trace, expected = capture(wrapped, x), capture(found, x)
    assert torch.equal(trace.logits, expected.logits)
    assert [b.name for b in trace.blocks] == [b.name for b in expected.blocks]
    assert trace.model == expected.model
    assert torch.equal(gradcam(wrapped, x, 1), gradcam(found, x, 1))
    assert torch.equal(erf(wrapped, x, 0, (1, 1)), erf(found, x, 0, (1, 1)))


def test_a_backbone_inside_a_model_is_found() -> None:
    backbone = small("2-D", num_classes=0)
    assert backbone_of(nn.Linear(2, 2)) is None
    model = nn.Sequential(backbone, nn.Linear(16, 3)).eval()
    assert backbone_of(model) is backbone and unwrapped(model) is model
    x = odd_input("2-D", batch=1)
    trace = capture(model, x)
    with torch.no_grad():
        assert torch.equal(trace.logits, model(x)[0]), "the answer is the whole model's"
    assert trace.classes is None
    assert gradcam(model, x, 2).shape == (6, 8)
    assert gradient_rollout(model, x, 2).isfinite().all()
    with refuses("cls=3", "cls=2"):
        gradcam(model, x, 3)
    assert str(vitrail.transform(model)) == str(vitrail.transform(backbone))
    assert receptive_field(model, 32) == receptive_field(backbone, 32)
    with refuses("a model of class Linear", "vitrail.from_model"):
        vitrail.transform(nn.Linear(2, 2))
    with refuses("a model of class Sequential", "create_model"):
        vitrail.cost(model, 32)
    with refuses("a ModuleList with 2 Vitrail backbones", "0, 1"):
        backbone_of(nn.ModuleList([backbone, small("2-D")]))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("stages.1.blocks.12.attn.qkv.weight", ("blocks", 1, 12)),
        ("stages.1.blocks.0", ("blocks", 1, 0)),
        ("stages.1.blocks", ("blocks", 1, None)),
        ("stages.3.merge.norm.bias", ("merge", 3, None)),
        ("stages.0", ("", 0, None)),
        ("stages", ("stages", None, None)),
        ("embed.proj.weight", ("embed", None, None)),
        ("head.weight", ("head", None, None)),
        ("", ("", None, None)),
    ],
)
def test_a_name_says_where_its_part_is(
    name: str, place: tuple[str, int | None, int | None]
) -> None:
    assert place_of(name) == place


def test_which_models_take_photos() -> None:
    assert small("2-D").takes_photos and small("V2").takes_photos
    assert not small("1-D").takes_photos and not small("3-D").takes_photos
    assert not small("2-D", in_channels=1).takes_photos
