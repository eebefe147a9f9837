"""Files of detectors on Swin: the backbone loads, and what else is in them is named."""

import pytest
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.swin_transformer import SwinTransformer

import vitrail
from vitrail.weights import load, to_format

SMALL = {"dim": 24, "depths": (1, 2, 1, 1), "num_heads": (1, 2, 3, 6)}
# Of mmdetection's Mask R-CNN on Swin-T, as published: names and shapes beside the backbone's.
MMDET = {
    **{f"neck.lateral_convs.{n}.conv.weight": (256, 96 * 2**n, 1, 1) for n in range(4)},
    **{f"neck.lateral_convs.{n}.conv.bias": (256,) for n in range(4)},
    **{f"neck.fpn_convs.{n}.conv.weight": (256, 256, 3, 3) for n in range(4)},
    **{f"neck.fpn_convs.{n}.conv.bias": (256,) for n in range(4)},
    "rpn_head.rpn_conv.weight": (256, 256, 3, 3),
    "rpn_head.rpn_conv.bias": (256,),
    "rpn_head.rpn_cls.weight": (3, 256, 1, 1),
    "rpn_head.rpn_cls.bias": (3,),
    "rpn_head.rpn_reg.weight": (12, 256, 1, 1),
    "rpn_head.rpn_reg.bias": (12,),
    "roi_head.bbox_head.fc_cls.weight": (81, 1024),
    "roi_head.bbox_head.fc_cls.bias": (81,),
    "roi_head.bbox_head.fc_reg.weight": (320, 1024),
    "roi_head.bbox_head.fc_reg.bias": (320,),
    "roi_head.bbox_head.shared_fcs.0.weight": (1024, 12544),
    "roi_head.bbox_head.shared_fcs.0.bias": (1024,),
    "roi_head.bbox_head.shared_fcs.1.weight": (1024, 1024),
    "roi_head.bbox_head.shared_fcs.1.bias": (1024,),
    **{f"roi_head.mask_head.convs.{n}.conv.weight": (256, 256, 3, 3) for n in range(4)},
    **{f"roi_head.mask_head.convs.{n}.conv.bias": (256,) for n in range(4)},
    "roi_head.mask_head.upsample.weight": (256, 256, 2, 2),
    "roi_head.mask_head.upsample.bias": (256,),
    "roi_head.mask_head.conv_logits.weight": (80, 256, 1, 1),
    "roi_head.mask_head.conv_logits.bias": (80,),
}


def beside() -> dict[str, torch.Tensor]:
    """Those weights, which take no memory."""
    return {name: torch.zeros(1).expand(shape) for name, shape in MMDET.items()}


@pytest.fixture(scope="module")
def body() -> nn.Module:
    torch.manual_seed(0)
    return empty()


def empty(**fields) -> vitrail.models.Backbone:
    about = SMALL | {"out_indices": (0, 1, 2, 3), "feature_norms": True} | fields
    return vitrail.create_model("swin_tiny", num_classes=0, **about)


@pytest.mark.parametrize("layout", ["mmdet", "official"])
def test_mmdetection(body, layout) -> None:
    """mmdetection's names, and those of Swin's own repository, whose detectors have norm0 to 3."""
    state = to_format(body, "mmdet")
    assert all(key.startswith("backbone.") for key in state)
    if layout == "official":
        bare = vitrail.create_model("swin_tiny", num_classes=0, **SMALL)
        bare.load_state_dict(body.state_dict(), strict=False)
        norms = {k: v for k, v in state.items() if k.startswith("backbone.norm")}
        official = {k: v for k, v in to_format(bare, "official").items() if k[:5] != "norm."}
        state = {"backbone." + key: value for key, value in official.items()} | norms
    model = empty()
    report = load(model, {"state_dict": state | beside(), "meta": {"epoch": 36}})
    assert len(report.loaded) == len(model.state_dict())
    assert f"{len(MMDET)} weights of other parts were left out (neck." in str(report)
    for key, value in model.state_dict().items():
        assert torch.equal(value, body.state_dict()[key]), key


def test_it_starts_a_detector(body) -> None:
    state = to_format(body, "mmdet")
    assert all(key.startswith("backbone.") for key in state)
    model = vitrail.create_model(
        "swin_tiny", task="detect", num_classes=3, weights=state | beside(), **SMALL
    )
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, body.state_dict()[key]), key


@pytest.mark.parametrize("whole", [True, False])
def test_torchvision(whole) -> None:
    """Whose detectors name the stages by numbers alone, or keep the model's own names."""
    torch.manual_seed(0)
    theirs = SwinTransformer([4, 4], 24, [1, 2, 1, 1], [1, 2, 3, 6], [7, 7]).eval()
    taken = {"1": "0", "3": "1", "5": "2", "7": "3"}
    pyramid = BackboneWithFPN(theirs.features, taken, [24, 48, 96, 192], 8)
    state = FasterRCNN(pyramid, num_classes=4).state_dict()
    if whole:
        own = "backbone.body.", "backbone.body.features."
        state = {key.replace(*own): value for key, value in state.items()}
    model = empty(feature_norms=False, padding="visible", mask_value=-100.0, patch_fit="floor")
    report = load(model, state)
    assert len(report.loaded) == len(model.state_dict())
    assert "weights of other parts were left out (backbone.fpn." in str(report)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        wanted = [theirs.features[: n + 1](x) for n in (1, 3, 5, 7)]
        for one, other in zip(model.eval()(x), wanted, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
