"""`vitrail explore --against ...`: a second trace beside the first, in one report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrail.cli._models import load_model
from vitrail.cli._shared import parse_size
from vitrail.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from vitrail.explorer import Report

AgainstOption = Annotated[
    str | None,
    typer.Option("--against", help="Compare with another model, on the same photo and page."),
]
AgainstWeightsOption = Annotated[
    str | None,
    typer.Option("--against-weights", help="With --against: its weights, as for --weights."),
]
AgainstSizeOption = Annotated[
    str | None, typer.Option("--against-size", help="Compare with another size of the input.")
]
AgainstPhotoOption = Annotated[
    Path | None, typer.Option("--against-photo", help="Compare with another photo.")
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Against:
    """What the second side is; what is None is as in the first.

    Args:
        model: a model's name.
        weights: its weights.
        size: of its input.
        photo: a picture file.
    """

    model: str | None
    weights: str | None
    size: str | None
    photo: Path | None

    def __bool__(self) -> bool:
        return any(field is not None for field in (self.model, self.size, self.photo, self.weights))

    def check(self, serve: bool) -> None:
        """Refuse what cannot be compared.

        Raises:
            UsageError: weights without a model, or a comparison on the server.
        """
        if self and serve:
            raise UsageError(
                f"{self._given} together with --serve",
                "a comparison in a report; the server's page chooses its two sides itself",
                f"leave --serve out, or leave {self._given.partition(' ')[0]} out and choose "
                "“Compared with” on the page",
            )
        if self.weights is not None and self.model is None:
            raise UsageError(
                f"--against-weights {self.weights} without a model",
                "weights of the model that --against names",
                "add --against MODEL, e.g. --against swin_nano",
            )

    @property
    def _given(self) -> str:
        """Return the first of the options that was given, as it was."""
        options = {
            "--against": self.model,
            "--against-weights": self.weights,
            "--against-size": self.size,
            "--against-photo": self.photo,
        }
        return next(f"{name} {value}" for name, value in options.items() if value is not None)

    def explore(
        self,
        model: "nn.Module",
        source: str | None,
        photo: Path,
        size: tuple[int, ...] | None,
        begin: Callable[[str], object],
    ) -> "Report":
        """Run the second side, given what the first one was."""
        from vitrail.explorer import explore

        if self.model is not None:
            model, source = load_model(self.model, self.weights)
            size = None  # each model at the size that suits it, unless one is named
        size = parse_size(self.size, name="--against-size") or size
        return explore(model, self.photo or photo, size=size, source=source, begin=begin)
