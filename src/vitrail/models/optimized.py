"""What ``vitrail.optimize`` did to a copy of a model, and where such a copy will not do."""

from dataclasses import dataclass

import torch
from torch import nn

from vitrail.errors import UsageError


@dataclass(frozen=True, slots=True)
class Optimization:
    """What ``optimize`` did, and how it was found to agree with the model.

    Args:
        path: ``"fused"``, ``"compiled"`` or ``"eager"``.
        dtype: of the weights, and of the inputs it takes.
        difference: largest difference of an output from the model's on the example, relative to
            the largest output; for training, of a gradient too, each in units of its largest
            number. A model of a narrow type gives outputs in
            float32 for this, so that its own roundings do not count as the truth.
        allowed: the largest difference that would have been accepted.
        reasons: one line for each path: why it was chosen, or is not used.
    """

    path: str
    dtype: torch.dtype
    difference: float
    allowed: float
    reasons: tuple[str, ...]

    def explain(self) -> str:
        """Say in a few lines what was chosen and why."""
        found = f"checked: differs by {self.difference:.1e} where {self.allowed:.1e} is allowed"
        return "\n".join([f"path: {self.path}, {self.dtype}", *self.reasons, found])


def check_original(model: nn.Module) -> None:
    """Refuse a module with a copy that ``vitrail.optimize`` made, where its layers are read.

    Raises:
        UsageError: it is one, or holds one.
    """
    for module in model.modules():
        if isinstance(getattr(module, "optimization", None), Optimization):
            raise UsageError(
                f"a {type(module).__name__} that optimize made, whose layers may be this machine's "
                "own",
                "the model that it was made from",
                "keep that one beside the copy, and pass it here",
            )
