"""Detectors of torchvision on a backbone's maps: FCOS, RetinaNet, Faster and Mask R-CNN.

Their losses, heads, proposals and non-maximum suppression are torchvision's own, unchanged, on its
``FeaturePyramidNetwork``. Differences: inputs are what the task has prepared, so nothing is
normalised or resized again; anchors lie at the centres of the cells, whose strides are those of the
backbone, so that any size of input works; and numbers are computed in the head's own precision, for
coordinates of several hundred pixels do not fit into 16 bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.extras import missing_extra
from vitrail.heads.base import Head, HeadConfig, HeadShape

_MOST_CONVS = 32
_GROUPS = 32  # of the GroupNorms in torchvision's FCOS


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorConfig(HeadConfig):
    """What all detectors have.

    Args:
        pyramid_dim: channels of the pyramid.
        first: number of the first stage whose map is used, from 0.
        score: least score of a box that is returned.
        overlap: largest intersection over union of two boxes of a class that both stay.
        boxes: most boxes that are returned for an input.
    """

    pyramid_dim: int = 256
    first: int = 1
    score: float = 0.05
    overlap: float = 0.5
    boxes: int = 100

    def __post_init__(self) -> None:
        HeadConfig.__post_init__(self)
        whole = [f for f in ("pyramid_dim", "boxes", *self._counts()) if getattr(self, f) < 1]
        if whole:
            name = whole[0]
            default = type(self).__dataclass_fields__[name].default
            raise UsageError(f"{name}={getattr(self, name)}", "1 or more", f"use {name}={default}")
        if self.first < 0:
            raise UsageError(f"first={self.first}", "0 or more", "use first=1")
        for name in ("score", "overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name}={getattr(self, name)}", "from 0 to 1", f"use {name}=0.5")

    def _counts(self) -> tuple[str, ...]:
        """Fields of a kind's own that are 1 at least."""
        return ()

    def stages(self, count: int) -> tuple[int, ...]:
        """Return the stages whose maps the head takes, of so many.

        Raises:
            UsageError: there are none from the first one on.
        """
        if self.first >= count:
            raise UsageError(
                f"first={self.first} for a backbone of {count} stages",
                f"from 0 to {count - 1}",
                f"use first={max(0, count - 3)}",
            )
        return tuple(range(self.first, count))


@dataclass(frozen=True, kw_only=True, slots=True)
class FCOSConfig(DetectorConfig):
    """Every number of an FCOS (Tian et al. 2019, arXiv 1904.01355).

    Args:
        convs: convolutions before each of its outputs.
    """

    overlap: float = 0.6
    convs: int = 4

    def __post_init__(self) -> None:
        DetectorConfig.__post_init__(self)
        if self.convs > _MOST_CONVS:
            raise UsageError(f"convs={self.convs}", f"1 to {_MOST_CONVS}", "use convs=4")
        if self.pyramid_dim % _GROUPS or self.pyramid_dim == _GROUPS:
            raise UsageError(
                f"pyramid_dim={self.pyramid_dim}",
                f"a multiple of {_GROUPS}, the groups of its norms, of two channels each or more",
                f"use pyramid_dim={max(2 * _GROUPS, self.pyramid_dim // _GROUPS * _GROUPS)}",
            )

    def _counts(self) -> tuple[str, ...]:
        return ("convs",)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetinaNetConfig(DetectorConfig):
    """Every number of a RetinaNet (Lin et al. 2017, arXiv 1708.02002)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FasterRCNNConfig(DetectorConfig):
    """Every number of a Faster R-CNN (Ren et al. 2015, arXiv 1506.01497).

    Args:
        dim: channels of the two layers that each region passes.
        proposals: most regions of an input that are looked at.
    """

    first: int = 0
    dim: int = 1024
    proposals: int = 1000

    def _counts(self) -> tuple[str, ...]:
        return ("dim", "proposals")


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskRCNNConfig(FasterRCNNConfig):
    """Every number of a Mask R-CNN (He et al. 2017, arXiv 1703.06870).

    Args:
        mask_dim: channels of the four convolutions before a mask.
    """

    mask_dim: int = 256

    def _counts(self) -> tuple[str, ...]:
        return (*FasterRCNNConfig._counts(self), "mask_dim")


class Detector(Head):
    """Boxes, scores and labels of objects; in training, the losses.

    Args:
        config: its numbers.
        shape: what it gets; of its outputs the number of classes, none of them the background.
    Raises:
        UsageError: torchvision is not installed.
    """

    def __init__(self, config: Any, shape: HeadShape) -> None:
        nn.Module.__init__(self)
        if shape.axes != 2:
            raise UsageError(
                f"a detector on a backbone of {shape.axes} axes",
                "a backbone of images, with 2 axes",
                "use one that `vitrail list` shows with HxW, such as swin_tiny",
            )
        self.config, self.shape = config, shape
        self.detector = _parts().build(config, shape)

    def reset_parameters(self) -> None:
        """Initialise as torchvision does, also after ``to_empty`` on a meta model."""
        own = next(self.parameters())
        with torch.device(own.device):
            fresh = _parts().build(self.config, self.shape)
        self.detector.load_state_dict(fresh.state_dict())

    def forward(  # type: ignore[override]  # boxes are no output for every sample
        self,
        maps: list[Float[Tensor, "batch ..."]],
        x: Float[Tensor, "batch channels *samples"],
        targets: Sequence[dict[str, Any]] | None = None,
    ) -> Any:
        """Return what is detected, or in training the losses by name.

        Args:
            maps: channels-first, finest map first.
            x: the input that they are of.
            targets: of each input, for training: ``boxes`` (objects, 4) with left, top, right and
                bottom in samples, ``labels`` (objects) from 0 on, and for Mask R-CNN ``masks``
                (objects, height, width).
        Returns:
            For each input ``boxes``, ``scores`` from the highest on, and ``labels``; of a Mask
            R-CNN ``masks`` too, (objects, 1, 28, 28): probabilities within each box. On the meta
            device, which has no numbers to choose boxes by, what these are chosen from.
        """
        kind = next(self.parameters()).dtype
        levels = [level.to(kind) for level in maps]
        if x.is_meta:
            return _parts().products(self.detector, levels, x.to(kind))
        if self.training and targets is None:
            raise UsageError(
                "a detector in training mode without targets",
                "model(x, targets), which returns its losses; or the mode of evaluation",
                "call model.eval() first",
            )
        with torch.autocast(x.device.type, enabled=False):
            return _parts().detect(self.detector, levels, x, targets if self.training else None)


def _parts() -> Any:
    """The module that needs torchvision."""
    try:
        from vitrail.heads import torchvision_parts
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "torchvision":
            raise
        raise missing_extra("a detector, without torchvision", "detect") from None
    return torchvision_parts
