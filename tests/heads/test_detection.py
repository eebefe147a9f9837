"""torchvision's detectors on our maps: any size, nothing normalised twice, exact places."""

import sys
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection.anchor_utils import AnchorGenerator

import vitrail
from tests.heads.pyramids import maps_of, shape
from tests.support import refuses, unchecked
from vitrail.export import export_onnx
from vitrail.heads import (
    HEADS,
    Detector,
    FasterRCNNConfig,
    FCOSConfig,
    HeadConfig,
    MaskRCNNConfig,
    RetinaNetConfig,
)
from vitrail.heads.torchvision_parts import Anchors, AsGiven, Given
from vitrail.weights import save

TINY: dict[str, HeadConfig] = {
    "fcos": FCOSConfig(pyramid_dim=64, convs=1),
    "retinanet": RetinaNetConfig(pyramid_dim=8),
    "faster_rcnn": FasterRCNNConfig(pyramid_dim=8, dim=8, proposals=20),
    "mask_rcnn": MaskRCNNConfig(pyramid_dim=8, dim=8, mask_dim=4, proposals=20),
}
BODY = {"dim": 8, "depths": (1, 1, 1), "num_heads": (1, 2, 2), "window": (2, 2)}
STRIDES = [(4, 4), (8, 8), (16, 16)]


def detector(name: str) -> vitrail.models.TaskModel:
    torch.manual_seed(0)
    return vitrail.create_model("swin_nano", task="detect", head=TINY[name], num_classes=2, **BODY)


def targets(height: int, width: int) -> list[dict[str, Tensor]]:
    """One object that fills its image, and an image without any."""
    box = torch.tensor([[0.0, 0.0, width, height]])
    full = torch.ones(1, height, width, dtype=torch.uint8)
    label = torch.tensor([1])
    return [
        {"boxes": box, "labels": label, "masks": full},
        {"boxes": box[:0], "labels": label[:0], "masks": full[:0]},
    ]


def test_every_detector_is_tried_here() -> None:
    assert TINY.keys() == {name for name, entry in HEADS.items() if entry.tasks == ("detect",)}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("size", [(64, 96), (37, 61), (5, 3)])
def test_any_size_and_every_parameter_learns(name, size) -> None:
    model = detector(name)
    x = torch.randn(2, 3, *size)
    losses = model(x, targets(*size))
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()  # type: ignore[union-attr]
    unused = [what for what, p in model.named_parameters() if p.grad is None]
    assert unused == [], "data-parallel training would wait for these"
    found = model.eval()(x)
    assert len(found) == 2
    for one in found:
        assert one["boxes"].min() >= 0 if len(one["boxes"]) else True
        assert (one["boxes"] <= torch.tensor([size[1], size[0]] * 2)).all()
        assert set(one["labels"].tolist()) <= {0, 1}
        assert (one["scores"].diff() <= 0).all()
        assert ("masks" in one) == (name == "mask_rcnn")


@pytest.mark.parametrize("name", TINY)
def test_the_file_builds_it_again(name, tmp_path) -> None:
    model = detector(name).eval()
    save(model, tmp_path / "m.safetensors")
    again = vitrail.load(tmp_path / "m.safetensors")
    assert again.head_facts == model.head_facts
    x = torch.randn(1, 3, 40, 56)
    for key, value in model(x)[0].items():
        assert torch.equal(again(x)[0][key], value)


def test_a_head_by_name() -> None:
    with torch.device("meta"):
        for name, entry in HEADS.items():
            if entry.tasks == ("detect",):
                model = vitrail.create_model("swin_tiny", task="detect", head=name, num_classes=1)
                assert isinstance(model.head, Detector)
                assert model.backbone.out_indices == entry.config.stages(4)
        first = vitrail.create_model("swin_tiny", task="detect", num_classes=3)
    assert first.head_facts.name == "fcos"


def test_a_new_start_on_the_meta_device() -> None:
    with torch.device("meta"):
        head = Detector(TINY["mask_rcnn"], shape((4, 4), STRIDES[:2]))
    head.to_empty(device="cpu")
    for parameter in head.parameters():
        nn.init.constant_(parameter, float("nan"))
    head.reset_parameters()
    assert all(tensor.isfinite().all() for tensor in head.state_dict().values())


def test_anchors_lie_in_the_middle_of_cells_whatever_the_length() -> None:
    """By torchvision's rule, the length divided by the number of cells, 37 / 10 would be 3."""
    anchors = Anchors([(4, 4), (8, 8)], [(4.0,), (8.0, 16.0)], (1.0,))
    x = torch.zeros(1, 3, 37, 20)
    maps = maps_of((37, 20), STRIDES[:2], (2, 2), batch=1)
    images, _ = AsGiven()(Given(x, maps))
    (found,) = anchors(images, maps)
    fine, coarse = found[: 10 * 5], found[10 * 5 :]
    assert fine[0].tolist() == [0, 0, 4, 4]
    assert fine[-1].tolist() == [16, 36, 20, 40]
    assert coarse[:2].tolist() == [[0, 0, 8, 8], [-4, -4, 12, 12]]
    assert len(coarse) == 2 * 5 * 3
    wide = Anchors([(4, 4)], [(8.0,)], (0.25,))(images, maps[:1])[0][0]
    assert (wide[2:] - wide[:2]).tolist() == [16, 4], "a quarter as high as wide"


def test_inputs_are_neither_normalised_nor_resized_again() -> None:
    x = torch.randn(2, 3, 33, 20)
    images, same = AsGiven()(Given(x, []), "targets")
    assert same == "targets"
    assert images.image_sizes == [(33, 20)] * 2
    assert torch.equal(torch.stack(list(images.tensors)), x)
    for name in TINY:
        assert isinstance(detector(name).head.detector.transform, AsGiven)


def test_coordinates_keep_their_precision_under_autocast() -> None:
    model = detector("fcos").eval()
    x = torch.randn(1, 3, 40, 400)
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = model(x)
    assert found["boxes"].dtype == torch.float32
    rounded = found["boxes"].bfloat16().float()
    assert not torch.equal(found["boxes"], rounded)


@pytest.mark.parametrize(
    ("change", "given", "fix"),
    [
        ({"pyramid_dim": 48}, "pyramid_dim=48", "use pyramid_dim=64"),
        ({"pyramid_dim": 32}, "pyramid_dim=32", "use pyramid_dim=64"),
        ({"pyramid_dim": 0}, "pyramid_dim=0", "use pyramid_dim=256"),
        ({"convs": 0}, "convs=0", "use convs=4"),
        ({"convs": 1000}, "convs=1000", "use convs=4"),
        ({"first": -1}, "first=-1", "use first=1"),
        ({"score": 1.5}, "score=1.5", "use score=0.5"),
        ({"overlap": -0.1}, "overlap=-0.1", "use overlap=0.5"),
    ],
)
def test_numbers_that_cannot_be(change, given, fix) -> None:
    with refuses(given, fix):
        replace(FCOSConfig(), **change)


def test_backbones_that_do_not_serve() -> None:
    with refuses("first=3 for a backbone of 3 stages", "use first=0"):
        vitrail.create_model(
            "swin_nano", task="detect", head=FCOSConfig(first=3), num_classes=1, **BODY
        )
    with refuses("a detector on a backbone of 3 axes", "swin_tiny"), torch.device("meta"):
        vitrail.create_model("video_swin_tiny", task="detect", num_classes=1)
    with refuses("num_classes=0 for task='detect'", "use num_classes=2"):
        vitrail.create_model("swin_nano", task="detect", num_classes=0, **BODY)
    with refuses("in training mode without targets", "call model.eval() first"):
        detector("fcos")(torch.zeros(1, 3, 32, 32))


def test_without_torchvision(monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "vitrail.heads.torchvision_parts", raising=False)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.ops", None)
    monkeypatch.setitem(sys.modules, "torchvision.models.detection", None)
    monkeypatch.delattr("vitrail.heads.torchvision_parts", raising=False)
    with refuses("a detector, without torchvision", "detect"):
        Detector(TINY["fcos"], shape((4, 4), STRIDES[:2]))


def test_its_cost_is_counted_without_numbers() -> None:
    """All that is computed of shapes, beside torch's own count of a run with numbers."""
    model = detector("fcos").eval()
    own = vitrail.cost(model, (40, 56), batch=2)
    assert own.head.parameters > sum(p.numel() for p in model.head.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.head(maps_of((40, 56), [(4, 4), (8, 8)], (16, 32)), torch.zeros(2, 3, 40, 56))
    assert own.head.flops.total == counter.get_total_flops()
    assert own.training_peak is not None
    for name in TINY:
        found = vitrail.cost(detector(name), (40, 56), training=False)
        more = vitrail.cost(detector(name), (80, 56), training=False)
        assert more.head.flops.total > found.head.flops.total > 0


class Levels(nn.Module):
    """Any backbone as torchvision's own detectors take one."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.inner, self.out_channels = backbone, 16
        self.even = nn.ModuleList(nn.Conv2d(n, 16, 1) for n in (8, 16, 32))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = (one.movedim(-1, 1) for one in self.inner(x))
        both = zip(self.even, maps, strict=True)
        return {str(n): conv(one) for n, (conv, one) in enumerate(both)}


def test_a_fast_backbone_finds_the_same_boxes() -> None:
    """In our adapter, and in a detector that a user has built of torchvision's parts."""
    x = torch.randn(1, 3, 64, 96)
    for name in ("fcos", "mask_rcnn"):
        model = detector(name).eval()
        fast = vitrail.optimize(model, x)
        for key, value in model(x)[0].items():
            torch.testing.assert_close(fast(x)[0][key], value, atol=1e-3, rtol=1e-4)
    torch.manual_seed(0)
    bare = vitrail.create_model("swin_nano", num_classes=0, out_indices=(0, 1, 2), **BODY)
    anchors = AnchorGenerator(((8,), (16,), (32,)), ((1.0,),) * 3)
    theirs = torchvision.models.detection.RetinaNet(
        Levels(bare), 2, 64, 96, anchor_generator=anchors, score_thresh=0.005
    )
    fast = vitrail.optimize(theirs.eval(), x)
    (wanted,), (found,) = theirs(x), fast(x)
    assert len(wanted["boxes"])
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, atol=1e-3, rtol=1e-4)


def test_a_detector_is_not_compiled_as_a_whole() -> None:
    with refuses("a detector, the number of whose boxes", "leave path out"):
        vitrail.optimize(detector("fcos"), path="compiled")


def test_export_refuses_it_by_name(tmp_path) -> None:
    with unchecked(), refuses("a model for task detect to export", "export model.backbone"):
        export_onnx(detector("fcos"), tmp_path / "m.onnx")
    assert not any(tmp_path.iterdir())
