"""What every head is: a frozen config, and a module from maps to outputs."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.fields import check_fields
from vitrail.heads.align import Align, to_samples
from vitrail.heads.convolutions import reset_convolutions
from vitrail.shapes import Size


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """Every number that defines a head, but for what its backbone and its task decide."""

    def __post_init__(self) -> None:
        check_fields(self)

    def stages(self, count: int) -> tuple[int, ...]:
        """Return the stages whose maps the head takes, of so many."""
        return tuple(range(count))

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> "HeadConfig":
        """Return the config that was written as JSON, which has lists only.

        Raises:
            TypeError: a field that there is not.
            UsageError: a value that a field cannot have.
        """
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True, slots=True)
class HeadShape:
    """What a head gets and what it gives.

    Args:
        in_channels: of the input.
        dims: channels of each map, finest map first.
        strides: input samples per token and axis, of each map.
        outputs: channels of the output: classes.
    """

    in_channels: int
    dims: tuple[int, ...]
    strides: tuple[Size, ...]
    outputs: int

    @property
    def axes(self) -> int:
        """Spatial axes: 1, 2 or 3."""
        return len(self.strides[0])


class Head(nn.Module):
    """From a backbone's maps to one output for every input sample.

    A subclass ends with a convolution ``classify``. It says what it computes on the grid of the
    finest map, ``logits``, or goes on to the input's own resolution in a ``forward`` of its own.

    Args:
        config: its numbers.
        shape: what it gets and gives.
    """

    classify: nn.Module
    align: Align = "strides"
    normed: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Names of convolutions of its own, each with the norm that takes all of its output."""

    def __init__(self, config: Any, shape: HeadShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape

    def reset_parameters(self) -> None:
        """Initialise, also after ``to_empty`` on a meta model.

        What follows a rectifier keeps its variance; logits start near zero.
        """
        reset_convolutions(self)
        weight = self.classify.weight
        assert isinstance(weight, Tensor)
        nn.init.normal_(weight, std=0.01)

    def forward(
        self,
        maps: list[Float[Tensor, "batch ..."]],
        x: Float[Tensor, "batch channels *samples"],
    ) -> Float[Tensor, "batch outputs *samples"]:
        """Return the outputs at the resolution of the input.

        Args:
            maps: channels-first, finest map first.
            x: the input that they are of.
        """
        logits, lengths = self.logits(maps), tuple(x.shape[2:])
        return to_samples(logits, self.shape.strides[0], lengths, self.align)

    def logits(
        self, maps: list[Float[Tensor, "batch ..."]]
    ) -> Float[Tensor, "batch outputs *finest"]:
        """Return the outputs on the grid of the finest map."""
        raise NotImplementedError
