"""What a checkpoint format calls the parts of a task's head, beside those of its backbone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vitrail.errors import UsageError
from vitrail.heads import HeadConfig
from vitrail.models import HeadFacts, TaskFacts
from vitrail.weights.rules import AnyRule, Rule, State
from vitrail.weights.template import Template


@dataclass(frozen=True)
class HeadFormat:
    """A format for models of a task: a backbone's format, and a list of rules for a head.

    Args:
        name: of the format.
        kind: of the backbone.
        head: name of the head.
        anchor: a key that every file has, without a prefix.
        rules: builds the list of rules for a number of stages.
        infer: returns the head's configuration, from its weights in our names and fields that are
            known.
        backbone: name of the backbone's format.
        prefix: of the backbone's keys, as they are written.
        outside: of those that stand beside the backbone's prefix in its own format; default the
            same.
        moved: beginnings of keys that the backbone's rules read and the head owns -> the head's.
        options: of the task, as such models are used.
        fields: what the format's models do and no shape shows, as fields of the configuration.
    """

    name: str
    kind: str
    head: str
    anchor: str
    rules: Callable[[int], list[AnyRule]]
    infer: Callable[[State, Mapping[str, Any]], HeadConfig]
    backbone: str
    prefix: str
    outside: str | None = None
    moved: Callable[[int], Mapping[str, str]] = lambda _: {}
    options: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)

    def placed(self, key: str, beside: tuple[str, ...]) -> str:
        """Return a key of the backbone as the whole has it; ``beside`` begins those outside."""
        out = self.outside is not None and key.startswith(beside)
        return f"{self.outside if out else self.prefix}{key}"

    def owned(self, head: State, stages: int) -> tuple[State, State]:
        """Return what of a head's weights the backbone's rules write, in our names, and the rest.

        Args:
            head: the head's weights in our names.
            stages: number of stages.
        """
        rest, moved = dict(head), {}
        for theirs, own in self.moved(stages).items():
            for key in [key for key in rest if key.startswith(own)]:
                moved[theirs + key.removeprefix(own)] = rest.pop(key)
        return moved, rest


class OpenedHead(NamedTuple):
    """A file's task, its head, and the head's weights.

    Args:
        task: what it does.
        head: its name and configuration.
        state: its weights, in our names.
        classes: the names of the classes, if the file or one beside it has them.
        format: name of the file's format, where it is another library's.
        left: keys of the file that are of no part.
    """

    task: TaskFacts
    head: HeadFacts
    state: State
    classes: tuple[str, ...] | None = None
    format: str | None = None
    left: tuple[str, ...] = ()


def linear_as_convolution(theirs: str, ours: str, axes: int = 2) -> Rule:
    """Their matrix is our convolution over single cells."""
    ones = (1,) * axes
    return Rule(
        (Template(theirs),),
        (Template(ours),),
        read=lambda tensors: [tensors[0].reshape(*tensors[0].shape, *ones)],
        write=lambda tensors: [tensors[0].flatten(1)],
    )


def shape(state: State, key: str) -> tuple[int, ...]:
    """Return the shape of a weight that a head has.

    Raises:
        UsageError: it is not there, or a number alone.
    """
    found = tuple(state[key].shape) if key in state else ()
    if not found:
        raise UsageError(
            f"the weights of a head without {key}",
            "the weights of a whole head",
            "give the file of the whole model",
        )
    return found
