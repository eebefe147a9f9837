"""Every number of the detectors: FCOS, RetinaNet, Faster and Mask R-CNN."""

from dataclasses import dataclass

from vitrail.errors import UsageError
from vitrail.heads.base import HeadConfig

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
