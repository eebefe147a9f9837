"""The maps that a page offers for an output, each with what it shows and what it does not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.explain.gradcam import gradcam
from vitrail.explain.gradient_rollout import gradient_rollout
from vitrail.explain.rollout import rollout_all
from vitrail.explain.targets import Target
from vitrail.explain.trace import ModelFacts, Trace


@dataclass(frozen=True, slots=True)
class Method:
    """A way to make one map of one output.

    Args:
        id: short name, as in ``map/{id}/{class}``.
        title: what a page calls it.
        text: what the map shows, and what it must not be taken for.
        per_class: every class has a map of its own.
        kind: made of where attention went (``"routing"``), or of what the output depends on
            (``"gradient"``).
        grid: the stage whose tokens the map lies on; -1 is the last.
        compute: see ``map``.
        attention_only: made of attention weights alone: approximate for a model that mixes tokens
            otherwise too (``ModelFacts.caveat``).
    """

    id: str
    title: str
    text: str
    per_class: bool
    kind: Literal["routing", "gradient"]
    grid: int
    compute: Callable[[nn.Module, Tensor, Trace, Target], Tensor]
    attention_only: bool = True

    def named(self, facts: ModelFacts) -> tuple[str, str]:
        """Return title and text for a model, which say so where the map is approximate."""
        if facts.caveat is None or not self.attention_only:
            return self.title, self.text
        return f"{self.title} (approximate)", f"{self.text} {facts.caveat}"

    def map(
        self, model: nn.Module, image: Float[Tensor, "..."], trace: Trace, target: Target
    ) -> Float[Tensor, "*grid"]:
        """Return the map of a class, or of another number of the output.

        Args:
            model: a Vitrail model of any rank; it is left as it was found.
            image: one input, normalised as the model expects it.
            trace: of the same model and image.
            target: number of the class, or a function of the output (``class_at``); a method
                without ``per_class`` ignores it.
        Returns:
            Values of 0 and above on the tokens of the stage ``grid``.
        Raises:
            UsageError: ``per_class`` and no such class, or a model that does not classify.
        """
        return self.compute(model, image, trace, target)


_ALL = (
    Method(
        "rollout",
        "Rollout",
        "From which places attention routed numbers into the answer, mixed block by block. "
        "Attention is routing, not importance: what was fetched may have been ignored, and the map "
        "is the same for every class.",
        False,
        "routing",
        0,
        lambda model, image, trace, target: rollout_all(trace),
    ),
    Method(
        "gradient-rollout",
        "Gradient-weighted rollout",
        "The same routing, counted only where more attention would have raised this class' score. "
        "A gradient describes small changes, and evidence against the class does not show.",
        True,
        "gradient",
        0,
        lambda model, image, trace, target: gradient_rollout(model, image, target, trace),
    ),
    Method(
        "gradcam",
        "Grad-CAM",
        "Where the last stage's features point towards this class. The grid is as coarse as that "
        "stage; a token has seen far beyond its own place; evidence against the class does not "
        "show.",
        True,
        "gradient",
        -1,
        lambda model, image, trace, target: gradcam(model, image, target),
        attention_only=False,
    ),
)

METHODS: dict[str, Method] = {method.id: method for method in _ALL}
