"""What was checked while a trace was made, and what leaks: numbers with the words to read them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vitrail.explain import Trace
from vitrail.patterns import Focal, Pattern

_NOBODY = 1e-6  # share of attention below which nothing leaks: rounding of float32


class Unobserved(NamedTuple):
    """The same input through the model without hooks.

    Args:
        difference: greatest difference between the two outputs.
        ms: how long that took, in milliseconds.
    """

    difference: float
    ms: float


class Adapted(NamedTuple):
    """Where a model was made from another library's.

    Args:
        source: its class, with the library's name.
        difference: greatest difference between its outputs and ours on the same input.
        largest: greatest magnitude of its outputs.
        warned: what the conversion said of a difference, or nothing.
    """

    source: str
    difference: float
    largest: float
    warned: str = ""


class Compared(NamedTuple):
    """What was run beside the trace.

    Args:
        unobserved: the same input without hooks.
        adapted: the model that this one was made from, if there is one.
        at_trained_size: logits of the same picture at the size of the weights, where the trace has
            another.
    """

    unobserved: Unobserved
    adapted: Adapted | None
    at_trained_size: Tensor | None = None


def describe_checks(
    trace: Trace,
    missing: float,
    stats: Sequence[Float[np.ndarray, "_ 5"]],
    unobserved: Unobserved | None,
    adapted: Adapted | None,
) -> list[dict[str, Any]]:
    """Return a manifest's checks.

    Args:
        trace: what was captured.
        missing: by how much a stored row of weights misses the sum of one, at most.
        stats: five numbers a head, of each block, as ``explain.attention_stats`` has them.
        unobserved: the run without hooks, once it was made.
        adapted: the comparison with another library's model, if there was one.
    """
    relative = max((block.error / max(block.output, 1e-30) for block in trace.blocks), default=0.0)
    half = any(block.q.element_size() < 4 for block in trace.blocks)
    checks = [
        _limited(
            "sums",
            "Attention sums to one",
            missing,
            1e-5,
            "Every stored row of weights was added up before it was coded. This is the largest "
            "distance from one.",
        ),
        _limited(
            "output",
            "The captured weights give the block's own output",
            relative,
            2e-2 if half else 1e-4,
            "The weights times the values, against what the block itself computed: the largest "
            "difference, over the largest output. Of large blocks, for an even sample.",
        ),
    ]
    if unobserved is not None:
        checks.append(
            _limited(
                "watching",
                "The hooks change nothing",
                unobserved.difference,
                0.0,
                "The largest difference between the logits with and without the hooks that record.",
            )
        )
    if adapted is not None:
        checks.append(
            _limited(
                "adapted",
                "The converted model is the original",
                adapted.difference,
                1e-3 * max(1.0, adapted.largest),
                f"The largest difference between the outputs of the {adapted.source} that was "
                "given and of its conversion, on this very input."
                + (f" A difference is known: {adapted.warned}." if adapted.warned else ""),
            )
        )
    checks += [_padding(trace, stats), _wrap(trace, stats), _provenance(trace)]
    return checks


def _padding(trace: Trace, stats: Sequence[Float[np.ndarray, "_ 5"]]) -> dict[str, Any]:
    where, most = _most(trace, stats, 3)
    text = "The largest mean share that a head gives to places that hold no token. "
    if most > _NOBODY:
        text += (
            f"In {where}, the grid is padded to whole windows, and this model lets tokens see the "
            "padding: part of their attention goes to nothing. Inputs that the windows divide "
            "have no padding."
        )
    else:
        padded = any((block.groups.k_index < 0).any() for block in trace.blocks)
        text += "There is padding, but no token sees it." if padded else "There is no padding."
    return _limited("padding", "No attention goes to padding", most, _NOBODY, text)


def _wrap(trace: Trace, stats: Sequence[Float[np.ndarray, "_ 5"]]) -> dict[str, Any]:
    where, most = _most(trace, stats, 4)
    text = (
        "A shifted grid is rolled, so that windows at its edges hold tokens from opposite sides of "
        "the picture. The largest mean share that a head gives across. "
    )
    if most > _NOBODY:
        rolled = any(_rolled(block.pattern) for block in trace.blocks)
        why = "surroundings wrap around the picture" if rolled else "the mask is not complete"
        text += f"In {where}, {why}."
    else:
        text += "The mask holds them apart."
    return _limited("wrap", "No attention wraps around the edge", most, _NOBODY, text)


def _rolled(pattern: Pattern) -> bool:
    return isinstance(pattern, Focal) and pattern.halo == "rolled"


def _provenance(trace: Trace) -> dict[str, Any]:
    facts = trace.model
    trained = "trained" if facts.trained else "not trained: its outputs mean nothing"
    return {
        "id": "provenance",
        "title": "Which weights these are",
        "value": facts.sha256,
        "limit": None,
        "passed": None,
        "text": f"SHA-256 of the weights of {facts.name} ({facts.weights}), which are {trained}.",
    }


def _most(
    trace: Trace, stats: Sequence[Float[np.ndarray, "_ 5"]], column: int
) -> tuple[str, float]:
    """Return the largest number of a column of all blocks, and the block's place in words."""
    shares = [float(numbers[:, column].max()) for numbers in stats]
    most = max(range(len(shares)), key=shares.__getitem__)
    block = trace.blocks[most]
    return f"block {block.block + 1} of stage {block.stage + 1}", shares[most]


def _limited(id: str, title: str, value: float, limit: float, text: str) -> dict[str, Any]:
    return {
        "id": id,
        "title": title,
        "value": value,
        "limit": limit,
        "passed": value <= limit,
        "text": text,
    }
