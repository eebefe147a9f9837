"""The contract of every task: what the loop, the evaluation and the commands need of one."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from vitrail.data.augment import Augmentation
from vitrail.data.batch import Batch, Sample, Samples, WholeBatches, collate
from vitrail.data.dataset import Skipped, Subset
from vitrail.data.images import SUFFIXES
from vitrail.data.outline import Outline
from vitrail.data.sources import Source
from vitrail.errors import UsageError
from vitrail.models import Preprocessing
from vitrail.shapes import Size

if TYPE_CHECKING:
    from typing import Self
else:
    Self = Any  # the shape checker looks at one method at a time, where Self means nothing

Forward = Callable[..., Any]
"""The model as a function; it computes in the precision of the run."""


@dataclass(frozen=True, slots=True)
class Column:
    """A number of a task's logs.

    Args:
        name: in tables and JSON.
        label: for people.
        share: whether it is a part of one, shown in per cent.
        shown: whether a run's display has it; tables have all.
    """

    name: str
    label: str
    share: bool = False
    shown: bool = True

    def text(self, value: float) -> str:
        """The number for people."""
        return f"{self.label} {value:.2%}" if self.share else f"{self.label} {value:.4f}"

    def aligned(self, value: float) -> str:
        """The number for people, in a line that is written over and over."""
        return f"{self.label} {value:6.2%}" if self.share else f"{self.label} {value:.4f}"


LOSS = Column("loss", "loss")


@runtime_checkable
class Recipe(Augmentation, Protocol):
    """What of a training recipe (``vitrail.training.recipe.Recipe``) a task may use."""

    @property
    def seed(self) -> int:
        """Seed of everything random."""
        ...

    @property
    def smoothing(self) -> float:
        """Label smoothing."""
        ...


class Score(ABC):
    """Measures a model batch by batch; several processes each measure their share.

    ``skipped`` is the number of samples that could not be read; the evaluation sets it.
    """

    skipped: int = 0

    @abstractmethod
    def add(self, model: Forward, batch: Batch) -> None:
        """Measure one batch; its stand-ins (``batch.real`` is False) count nowhere.

        Args:
            model: which keeps no gradients.
            batch: on the model's device.

        Raises:
            UsageError: outputs are not finite.
        """

    @abstractmethod
    def state(self) -> Any:
        """All that was measured so far: what ``merge`` needs of it, fit for pickling."""

    @abstractmethod
    def merge(self, states: Sequence[Any]) -> None:
        """Hold what all of ``states`` have measured together, in the place of its own."""

    @abstractmethod
    def result(self) -> dict[str, float]:
        """One number for each of the task's ``val_columns``, by its name."""

    def details(self) -> dict[str, Any]:
        """Results of parts of what was measured, such as of each class; fit for JSON."""
        return {}


class Line(NamedTuple):
    """A line about a prediction, for people.

    Args:
        text: of the line.
        share: a part of one, shown in per cent and as a bar; None for none.
    """

    text: str
    share: float | None = None


class Prediction(ABC):
    """What a model answers for one input.

    The class methods say what `vitrail predict` writes and prints of it. They take what ``as_dict``
    returned, since predictions of an interrupted run, or of another process, come as that.
    """

    ranked: ClassVar[bool] = False
    """Whether it has answers in an order, the best of which ``best`` keeps."""
    columns: ClassVar[tuple[str, ...]] = ("answer",)
    """Of a table of predictions, beside the input's name."""
    endings: ClassVar[tuple[str, ...]] = ()
    """Of the file that the command writes for one input: endings of the first of ``files``."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Its numbers and names, fit for JSON; ``notes`` are sentences about the input."""

    @abstractmethod
    def draw(self) -> Image.Image:
        """A picture of it."""

    @abstractmethod
    def save(self, path: str | Path) -> Path:
        """Write it to a file, which is whole or absent; its ending says which kind of file.

        Raises:
            UsageError: another ending, or a place that cannot be written.
        """

    def best(self, count: int) -> "Prediction":
        """The same with at most ``count`` answers, where they are ``ranked``."""
        return self

    @classmethod
    def files(cls, name: str) -> dict[str, str]:
        """Files that a folder of results has of each input.

        Args:
            name: of the input.
        Returns:
            How the name of each file ends after the input's own, by what it holds (``mask``);
            ``save`` takes all of them.
        """
        return {}

    @classmethod
    def rows(cls, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """Rows of a table, with a value for each of ``columns``; a missing one is empty."""
        return [{"answer": json.dumps(answer, ensure_ascii=False)}]

    @classmethod
    def together(cls, answers: list[dict[str, Any]], classes: tuple[str, ...]) -> dict[str, str]:
        """Files that a folder of results has once, with the answers for all inputs.

        Args:
            answers: in the order of the inputs, each with the input's name as ``photo``; of one
                that cannot be opened ``error``.
            classes: names of the model's classes.
        Returns:
            The content of each file, by its name.
        """
        return {}

    @classmethod
    def lines(cls, answer: dict[str, Any]) -> list[Line]:
        """What is printed for people, without ``notes``."""
        return [Line(f"{key}: {value}") for key, value in answer.items() if key != "notes"]


@dataclass(frozen=True)
class Task(ABC):
    """What a model learns and how it is judged; built from the data and the task's options.

    Args:
        classes: names of the classes.
        options: an instance of the class ``Options``.
    """

    name: ClassVar[str]
    layout: ClassVar[str] = "its own data"
    """How its data are laid out, for messages."""
    best: ClassVar[str]
    """The score that ``best.safetensors`` follows; higher is better."""
    train_columns: ClassVar[tuple[Column, ...]]
    """What ``loss`` returns beside the loss."""
    val_columns: ClassVar[tuple[Column, ...]]
    """What a score results in."""
    Options: ClassVar[type[Any]]
    """A frozen dataclass of the task's own options, each with a default."""
    unused: ClassVar[tuple[str, ...]] = ()
    """Fields of the recipe that mean nothing to it."""
    answers: ClassVar[type[Prediction]] = Prediction
    """What ``predict`` returns."""
    suffixes: ClassVar[frozenset[str]] = SUFFIXES
    """Endings of the files that ``read`` opens; a folder of inputs is searched for them."""
    any_size: ClassVar[bool] = False
    """Whether inputs are predicted at their own size, and not at that of the model."""

    classes: tuple[str, ...]
    options: Any

    @classmethod
    def recognises(cls, data: Outline) -> str | None:
        """Why data look like this task's, in words; None where they do not.

        Args:
            data: what they look like from outside.
        """
        return None

    @classmethod
    @abstractmethod
    def open(cls, data: Sequence[str], *, train: bool, root: Path, download: bool) -> Source:
        """Open data.

        Args:
            data: folders, files or names, as the command line has them.
            train: which part of a named data set.
            root: where named data sets lie.
            download: whether a missing named data set may be downloaded.
        Raises:
            UsageError: there are no such data, or they are not of this task.
        """

    @classmethod
    @abstractmethod
    def split(cls, source: Any, share: float, seed: int) -> tuple[Subset[Any], Subset[Any]]:
        """Cut a source into a training and a validation part.

        Args:
            source: what ``open`` returned.
            share: of the validation part, in [0, 1); with 0 it is empty.
            seed: decides which samples those are.
        Raises:
            UsageError: there are too few samples to give any to both parts.
        """

    @classmethod
    @abstractmethod
    def build(cls, part: Subset[Any], options: Any) -> Self:
        """The task of training data."""

    @classmethod
    @abstractmethod
    def of(cls, model: Any) -> Self:
        """The task of a model, as its own facts tell.

        Raises:
            UsageError: the model does not do this task.
        """

    def model_fields(self) -> dict[str, Any]:
        """Fields of the config that a model to be trained needs, such as its input's channels."""
        return {}

    def by(self, model: Any) -> "Task":
        """The task as a model does it, whose head may give more than another."""
        return self

    @classmethod
    def extents(cls, source: Any, index: int) -> Float[np.ndarray, "objects axes"]:
        """Lengths of the objects that one sample's labels show, along each axis, in samples.

        Args:
            source: what ``open`` returned.
            index: which sample.
        Raises:
            ImageError: its labels cannot be read.
            UsageError: the task's labels show no objects.
        """
        raise UsageError(
            given=f"data of task {cls.name}, whose labels show no objects",
            allowed="images with label maps, or with boxes",
            fix="leave the data out for advice on --size and --memory alone",
        )

    def input_facts(self, facts: Preprocessing) -> Preprocessing:
        """What a model's file is to say of its input, with what the training data say of it.

        Args:
            facts: those of the model that training starts from.
        Raises:
            UsageError: they do not fit the data.
        """
        return facts

    def check(self, source: Any) -> None:  # noqa: B027  # by default any data will do
        """Refuse data to measure on whose classes are not the task's.

        Args:
            source: what ``open`` returned.
        Raises:
            UsageError: they are others, or in another order where their order is what labels say.
        """

    @abstractmethod
    def input_size(self, model: Any, size: Size | None) -> Size:
        """The lengths of the inputs that a model is trained at.

        Args:
            model: the model.
            size: lengths to use; None for the model's own.
        Raises:
            UsageError: the model takes other inputs than the task's, or gives other outputs.
        """

    @abstractmethod
    def samples(
        self, part: Subset[Any], facts: Preprocessing, recipe: Recipe | None
    ) -> Samples | WholeBatches:
        """The samples of a part of the data, as the model's inputs.

        Args:
            part: which.
            facts: the input of the model's weights.
            recipe: of the training, whose augmentation they have; None for none, to measure.
        """

    @abstractmethod
    def loss(self, forward: Forward, batch: Batch, recipe: Recipe) -> tuple[Tensor, dict[str, Any]]:
        """The loss of a batch, and a tensor for each of ``train_columns``, by its name.

        Args:
            forward: the model; called exactly once, as data-parallel training needs.
            batch: of training samples, mixed.
            recipe: of the training.
        """

    @abstractmethod
    def score(self) -> Score:
        """A score that has measured nothing yet."""

    @abstractmethod
    def read(self, input: Any) -> Any:
        """Open what a user gives to be predicted: a path, ``Encoded``, or an object.

        Raises:
            ImageError: it is of another kind, or cannot be read.
        """

    @abstractmethod
    def predict(self, model: nn.Module, opened: Any, size: Size | None = None) -> Prediction:
        """What a model answers.

        Args:
            model: of this task, in any mode and on any device.
            opened: what ``read`` returned.
            size: lengths of the input to use instead of the model's own.
        Raises:
            UsageError: its outputs are not finite, or a size that cannot be.
        """

    def keep(
        self, part: Subset[Any], facts: Preprocessing, budget: int, skipped: Skipped
    ) -> tuple[Subset[Any], int]:
        """Read a part into memory where that saves time and it fits ``budget`` bytes.

        Returns:
            The part to go on with, and how many bytes it takes; 0 where it is read as needed.
        """
        return part, 0

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Make a batch of samples."""
        return collate(samples)

    def mixing(self, recipe: Recipe) -> Callable[[Batch, int, int], Batch]:
        """What augments whole batches of training samples, if anything does.

        Returns:
            A function of a batch, the step's key, and the place of the batch in that of all
            processes. It may not depend on anything else.
        """
        return lambda batch, seed, first: batch
