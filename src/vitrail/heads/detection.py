"""Detectors of torchvision on a backbone's maps: FCOS, RetinaNet, Faster and Mask R-CNN.

Their losses, heads, proposals and non-maximum suppression are torchvision's own, unchanged, on its
``FeaturePyramidNetwork``. Differences: inputs are what the task has prepared, so nothing is
normalised or resized again; anchors lie at the centres of the cells, whose strides are those of the
backbone, so that any size of input works; and numbers are computed in the head's own precision, for
coordinates of several hundred pixels do not fit into 16 bits.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.extras import missing_extra
from vitrail.heads.base import Head, HeadShape


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
