"""torchvision's detectors around maps that exist already; imported where one is built."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7
from torchvision.ops.poolers import initLevelMapper

from vitrail.heads.base import HeadShape
from vitrail.heads.detector_configs import (
    DetectorConfig,
    FasterRCNNConfig,
    FCOSConfig,
    MaskRCNNConfig,
    RetinaNetConfig,
)
from vitrail.shapes import Size

_RATIOS = (0.5, 1.0, 2.0)  # height by width of an anchor
_OCTAVES = tuple(2 ** (n / 3) for n in range(3))


class Given(list[Tensor]):
    """The inputs of a batch, as torchvision takes them, with the maps that were made of them."""

    def __init__(self, x: Float[Tensor, "batch channels *samples"], maps: list[Tensor]) -> None:
        super().__init__(x.unbind(0))
        self.maps = maps


class AsGiven(nn.Module):
    """Stands where torchvision normalises and resizes: inputs and boxes stay as they are."""

    def forward(self, images: Given, targets: Any = None) -> tuple[ImageList, Any]:
        """Return the inputs with their lengths, and the targets."""
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        return ImageList(images, sizes), targets  # type: ignore[arg-type]  # read by Pyramid alone

    def postprocess(self, found: Any, shapes: Any, sizes: Any) -> Any:
        """Return what was found; masks stay within their boxes."""
        return found


class Pyramid(nn.Module):
    """torchvision's feature pyramid in the place of its backbone.

    Args:
        dims: channels of each map.
        dim: channels of the pyramid.
        extra: makes the coarser levels.
    """

    def __init__(self, dims: Sequence[int], dim: int, extra: Any) -> None:
        super().__init__()
        self.out_channels = dim
        self.fpn = FeaturePyramidNetwork(list(dims), dim, extra)

    def forward(self, given: Given) -> dict[str, Tensor]:
        """Return the levels by name, finest first."""
        return self.fpn(OrderedDict((str(n), level) for n, level in enumerate(given.maps)))


class Anchors(AnchorGenerator):
    """Anchors at the centres of cells of known strides.

    torchvision divides the input's length by the map's, which is the stride only where it divides
    the length; and it puts anchors at the corners of cells, where a ResNet's look from.

    Args:
        strides: input samples per cell and axis, of each level.
        sizes: lengths of the anchors of each level, in input samples.
        ratios: height by width of an anchor.
    """

    def __init__(
        self,
        strides: Sequence[Size],
        sizes: Sequence[tuple[float, ...]],
        ratios: tuple[float, ...],
    ) -> None:
        super().__init__(tuple(sizes), (ratios,) * len(sizes))
        self.strides = tuple(strides)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Return the anchors of each input, level by level: left, top, right, bottom."""
        levels = []
        for level, stride, sizes, ratios in zip(
            feature_maps, self.strides, self.sizes, self.aspect_ratios, strict=True
        ):
            new = partial(torch.tensor, dtype=level.dtype, device=level.device)
            root = new(ratios).sqrt()[:, None]
            tall, wide = (root * new(sizes)).flatten(), (new(sizes) / root).flatten()
            corners = torch.stack([-wide, -tall, wide, tall], 1) / 2
            y, x = (
                (torch.arange(n, dtype=level.dtype, device=level.device) + 0.5) * step
                for n, step in zip(level.shape[-2:], stride, strict=True)
            )
            y, x = (grid.flatten() for grid in torch.meshgrid(y, x, indexing="ij"))
            centres = torch.stack([x, y, x, y], 1)
            levels.append((centres[:, None] + corners).flatten(0, 1))
        return [torch.cat(levels)] * len(image_list.image_sizes)


def detect(
    detector: nn.Module,
    maps: list[Tensor],
    x: Float[Tensor, "batch channels *samples"],
    targets: Sequence[dict[str, Any]] | None,
) -> Any:
    """Run a detector: its losses with targets, or else what it finds.

    Labels count from 0; an R-CNN's own have the background as 0.
    """
    shift = int(isinstance(detector, FasterRCNN))
    given = Given(x, maps)
    if targets is not None:
        own = [{**target, "labels": target["labels"] + shift} for target in targets]
        return detector(given, own)
    found = detector(given)
    return [{**each, "labels": each["labels"] - shift} for each in found]


def products(detector: Any, maps: list[Tensor], x: Tensor) -> list[Tensor]:
    """What a detector computes of shapes alone: all but the choice of boxes, which needs numbers.

    Of an R-CNN's second stage, as many regions as there are at most.
    """
    levels = detector.backbone(Given(x, maps))
    if not isinstance(detector, FasterRCNN):
        return list(detector.head(list(levels.values())).values())
    return _products_of_regions(detector, levels, x)


def _products_of_regions(detector: Any, levels: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    found = [level for part in detector.rpn.head(list(levels.values())) for level in part]
    heads, dim = detector.roi_heads, detector.backbone.out_channels
    sampler = heads.fg_bg_sampler
    learnt = sampler.batch_size_per_image, sampler.positive_fraction
    regions = learnt[0] if detector.training else detector.rpn.post_nms_top_n()
    found += heads.box_predictor(heads.box_head(x.new_empty(regions * len(x), dim, 7, 7)))
    if heads.has_mask():
        shown = int(learnt[0] * learnt[1]) if detector.training else heads.detections_per_img
        inside = heads.mask_head(x.new_empty(shown * len(x), dim, 14, 14))
        found.append(heads.mask_predictor(inside))
    return found


def build(config: DetectorConfig, shape: HeadShape) -> nn.Module:
    """Build a detector.

    Args:
        config: its numbers, whose class says which detector.
        shape: what it gets and gives.
    """
    made = _BUILDERS[type(config)](config, shape)
    made.transform = AsGiven()
    return made


def _fcos(config: FCOSConfig, shape: HeadShape) -> nn.Module:
    dim, strides = config.pyramid_dim, _extended(shape.strides, 2)
    return FCOS(
        Pyramid(shape.dims, dim, LastLevelP6P7(dim, dim)),
        shape.outputs,
        anchor_generator=Anchors(strides, [(float(max(stride)),) for stride in strides], (1.0,)),
        head=FCOSHead(dim, 1, shape.outputs, config.convs),
        **_selection(config, ""),
    )


def _retinanet(config: RetinaNetConfig, shape: HeadShape) -> nn.Module:
    dim, strides = config.pyramid_dim, _extended(shape.strides, 2)
    sizes = [tuple(4 * max(stride) * step for step in _OCTAVES) for stride in strides]
    anchors = len(_RATIOS) * len(_OCTAVES)
    return RetinaNet(
        Pyramid(shape.dims, dim, LastLevelP6P7(dim, dim)),
        shape.outputs,
        anchor_generator=Anchors(strides, sizes, _RATIOS),
        head=RetinaNetHead(dim, anchors, shape.outputs),
        **_selection(config, ""),
    )


def _faster_rcnn(config: FasterRCNNConfig, shape: HeadShape) -> nn.Module:
    return FasterRCNN(**_two_stages(config, shape))


def _mask_rcnn(config: MaskRCNNConfig, shape: HeadShape) -> nn.Module:
    dim = config.mask_dim
    return MaskRCNN(
        **_two_stages(config, shape),
        mask_roi_pool=_pool(shape, 14),
        mask_head=MaskRCNNHeads(config.pyramid_dim, (dim,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(dim, dim, shape.outputs + 1),
    )


def _two_stages(config: FasterRCNNConfig, shape: HeadShape) -> dict[str, Any]:
    """Arguments of an R-CNN; its classes are the task's and the background."""
    dim, strides = config.pyramid_dim, _extended(shape.strides, 1)
    return {
        "backbone": Pyramid(shape.dims, dim, LastLevelMaxPool()),
        "rpn_anchor_generator": Anchors(strides, [(8.0 * max(s),) for s in strides], _RATIOS),
        "rpn_pre_nms_top_n_test": config.proposals,
        "rpn_post_nms_top_n_test": config.proposals,
        "box_roi_pool": _pool(shape, 7),
        "box_head": TwoMLPHead(dim * 7**2, config.dim),
        "box_predictor": FastRCNNPredictor(config.dim, shape.outputs + 1),
        **_selection(config, "box_"),
    }


def _pool(shape: HeadShape, size: int) -> MultiScaleRoIAlign:
    """Cut regions out of the level that suits their size; scales are not guessed from lengths."""
    pool = MultiScaleRoIAlign([str(n) for n in range(len(shape.dims))], size, 2)
    finest, coarsest = (max(shape.strides[n]).bit_length() - 1 for n in (0, -1))
    pool.scales = [1 / max(stride) for stride in shape.strides]  # type: ignore[assignment]
    pool.map_levels = initLevelMapper(finest, coarsest)  # type: ignore[assignment]
    return pool


def _selection(config: DetectorConfig, prefix: str) -> dict[str, Any]:
    own = {
        "score_thresh": config.score,
        "nms_thresh": config.overlap,
        "detections_per_img": config.boxes,
    }
    return {prefix + name: value for name, value in own.items()}


def _extended(strides: tuple[Size, ...], levels: int) -> list[Size]:
    """Strides of the maps and of so many levels above, each half as fine."""
    found = list(strides)
    for _ in range(levels):
        found.append(tuple(2 * step for step in found[-1]))
    return found


_BUILDERS: dict[type, Callable[..., nn.Module]] = {
    FCOSConfig: _fcos,
    RetinaNetConfig: _retinanet,
    FasterRCNNConfig: _faster_rcnn,
    MaskRCNNConfig: _mask_rcnn,
}
