"""What every head is: a frozen config, and a module from maps to outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.fields import check_fields
from vitrail.shapes import Size


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """Every number that defines a head, but for what its backbone and its task decide."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):  # JSON knows lists only
                object.__setattr__(self, field.name, tuple(value))
        check_fields(self)


class Head(nn.Module):
    """From a backbone's maps to one output for every input sample or region.

    Args:
        config: its numbers.
        dims: channels of each map, finest map first.
        strides: input samples per token and axis, of each map.
        outputs: channels of the output: classes.
    """

    def __init__(
        self, config: Any, *, dims: Sequence[int], strides: Sequence[Size], outputs: int
    ) -> None:
        super().__init__()
        self.config = config
        self.dims, self.strides, self.outputs = tuple(dims), tuple(strides), outputs

    def reset_parameters(self) -> None:
        """Initialise every parameter; also after ``to_empty`` on a meta model."""
        raise NotImplementedError

    def forward(
        self, maps: list[Float[Tensor, "batch ..."]], lengths: Size
    ) -> Float[Tensor, "batch outputs *samples"]:
        """Return the outputs.

        Args:
            maps: channels-first, finest map first.
            lengths: of the input along each axis, in samples.
        """
        raise NotImplementedError
