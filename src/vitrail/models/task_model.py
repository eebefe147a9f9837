"""A backbone with the head of a task, as one model with one file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.fields import check_fields
from vitrail.heads import HEADS, HeadConfig, HeadShape
from vitrail.models import hub
from vitrail.models.backbone import Backbone
from vitrail.models.hub import HubModel
from vitrail.models.preprocessing import Preprocessing
from vitrail.models.tensors import copy_all

_BACKBONE, _HEAD = "backbone.", "head."
_CLASSES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFacts:
    """What a file says of its task.

    Args:
        name: of the task.
        classes: how many there are; their names are in the preprocessing.
        options: the task's own, as JSON has them.
    """

    name: str
    classes: int
    options: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        if not 1 <= self.classes <= _CLASSES:
            raise UsageError(
                f"num_classes={self.classes} for task {self.name}",
                f"1 to {_CLASSES:,}",
                "use num_classes=2",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadFacts:
    """What a file says of its head: a name out of ``HEADS``, and its config."""

    name: str
    config: HeadConfig


class TaskModel(HubModel, nn.Module):
    """A bare backbone, and a head that makes the task's outputs of its maps.

    Args:
        backbone: with ``out_indices``, so that every parameter is used.
        task: what it does.
        head: which head.
    Raises:
        UsageError: the backbone is not bare.
    """

    def __init__(self, backbone: Backbone, task: TaskFacts, head: HeadFacts) -> None:
        super().__init__()
        if not backbone.bare:
            raise UsageError(
                f"{backbone.name or type(backbone).__name__} with a classifier, as a backbone",
                "a backbone of which only the maps are made",
                "create it with out_indices=(0, 1, 2, 3)",
            )
        self.task, self.head_facts = task, head
        self.backbone = backbone
        self.head = HEADS[head.name].head(head.config, shape_of(backbone, task))
        self._hub_mixin_config = backbone.config  # the mixin writes this one to config.json

    @property
    def config(self) -> Any:
        """The backbone's configuration."""
        return self.backbone.config

    @property
    def preprocessing(self) -> Preprocessing:
        """The input of the weights."""
        return self.backbone.preprocessing

    @preprocessing.setter
    def preprocessing(  # type: ignore[override]  # of a backbone it is an attribute
        self, value: Preprocessing
    ) -> None:
        self.backbone.preprocessing = value

    @property
    def name(self) -> str | None:
        """The backbone's name in the catalog, if it has one."""
        return self.backbone.name

    @property
    def num_classes(self) -> int:
        """Classes of the task."""
        return self.task.classes

    @property
    def num_layers(self) -> int:
        """Number of depths of ``layer_index``."""
        return self.backbone.num_layers

    def layer_index(self, name: str) -> int:
        """Return the depth of a parameter; the head is the last one."""
        return self.backbone.layer_index(name)

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters that the papers exempt from weight decay."""
        vectors = {name for name, p in self.head.named_parameters() if p.ndim <= 1}
        spared = {_BACKBONE + name for name in self.backbone.no_weight_decay()}
        return spared | {_HEAD + name for name in vectors}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the backbone's activations in the backward pass instead of storing them."""
        self.backbone.set_grad_checkpointing(enable)

    def reset_parameters(self) -> None:
        """Initialise every parameter; also after ``to_empty`` on a meta model."""
        self.backbone.reset_parameters()
        self.head.reset_parameters()

    def forward(self, x: Float[Tensor, "batch channels *samples"], *targets: Any) -> Any:
        """Return the head's outputs; a detector takes targets in training, and returns losses."""
        return self.head(self.maps(x), x, *targets)

    def maps(self, x: Float[Tensor, "batch channels *samples"]) -> list[Float[Tensor, "batch ..."]]:
        """Return what the head makes its outputs of: maps, channels first."""
        norm = self.backbone.config.feature_norms
        return self.backbone.features(x, channels_first=True, norm=norm)

    def more_metadata(self) -> dict[str, str]:
        """What a file says besides. Its model is of this class, which older readers do not know."""
        head = {"name": self.head_facts.name, "config": asdict(self.head_facts.config)}
        return {
            "backbone": type(self.backbone).__name__,
            "task": json.dumps(asdict(self.task)),
            "head": json.dumps(head),
        }

    @classmethod
    def from_state(  # type: ignore[override]  # there are no kinds of this model to choose from
        cls, state: dict[str, Tensor], meta: dict[str, str], **config_fields: Any
    ) -> "TaskModel":
        """Build the model that a file of our own format describes, with its weights.

        Raises:
            UsageError: of no task, a damaged description, or tensors that are not of its model.
        """
        if "task" not in meta:
            raise UsageError(
                f"a file of a {meta.get('model')}, which has no head of a task",
                "a file of a model of a task",
                "use vitrail.load(path), which takes both",
            )
        inner, head = parts_of(state)
        about = {key: value for key, value in meta.items() if key not in ("task", "head")}
        backbone = Backbone.from_state(inner, about | {"model": meta["backbone"]}, **config_fields)
        return with_head(backbone, meta, head).eval()


def shape_of(backbone: Backbone, task: TaskFacts) -> HeadShape:
    """Return what a head gets from a backbone, and what it gives to a task."""
    channels = backbone.config.in_channels
    return HeadShape(channels, backbone.dims, backbone.strides, task.classes)


def parts_of(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the tensors of the backbone and of the head, under names of their own."""
    inner, head = (
        {key.removeprefix(part): t for key, t in state.items() if key.startswith(part)}
        for part in (_BACKBONE, _HEAD)
    )
    return inner, head


def joined(backbone: Mapping[str, Tensor], head: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a backbone and of a head under the names of the whole model."""
    parts = ((_BACKBONE, backbone), (_HEAD, head))
    return {part + key: tensor for part, state in parts for key, tensor in state.items()}


def facts_of(meta: Mapping[str, str]) -> tuple[TaskFacts, HeadFacts]:
    """Return what a file's metadata say of its task and its head.

    Raises:
        UsageError: it is damaged, or of a later version.
    """
    try:
        task, head = json.loads(meta["task"]), json.loads(meta["head"])
        entry = HEADS[head["name"]]
        known = entry.config.of_json(head["config"])
        return TaskFacts(**task), HeadFacts(name=head["name"], config=known)
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise hub.undescribed(error, "a task and a head") from error


def with_head(
    backbone: Backbone, meta: Mapping[str, str], state: Mapping[str, Tensor]
) -> TaskModel:
    """Put the head that a file describes on its backbone, with its weights.

    Raises:
        UsageError: a damaged description, or tensors that are not the head's.
    """
    return head_on(backbone, *facts_of(meta), state)


def head_on(
    backbone: Backbone, task: TaskFacts, head: HeadFacts, state: Mapping[str, Tensor]
) -> TaskModel:
    """Put a head with its weights on a backbone, on its device and in its type.

    Raises:
        UsageError: tensors that are not the head's.
    """
    shape = shape_of(backbone, task)
    hub.check_weights(hub.empty(HEADS[head.name].head, head.config, shape=shape), dict(state))
    model = TaskModel(backbone, task, head)
    parameter = next(backbone.parameters())
    model.head.to(parameter.device, parameter.dtype)
    copy_all(model.head, state)
    return model


def with_maps(backbone: Backbone, stages: tuple[int, ...]) -> Backbone:
    """Return a bare backbone with the maps of these stages, each with one norm.

    Args:
        backbone: bare; returned itself where it has them.
        stages: numbers of stages, from 0.
    """
    config, norms = backbone.config, not backbone.stage_normed
    if config.out_indices == stages and (config.feature_norms or not norms):
        return backbone
    changed = replace(config, out_indices=stages, feature_norms=norms)
    about = {"preprocessing": backbone.preprocessing, "name": backbone.name}
    made, own = type(backbone)(changed, **about), backbone.state_dict()
    copy_all(made, {k: own.get(k, t) for k, t in made.state_dict().items()})
    return made


def new_task_model(
    backbone: Backbone, task: str, head: str, config: HeadConfig, classes: int
) -> TaskModel:
    """Put a new head on a backbone.

    Args:
        backbone: bare.
        task: name of the task.
        head: name of the head.
        config: the head's.
        classes: how many.
    """
    facts = TaskFacts(name=task, classes=classes)
    known = backbone.preprocessing.classes
    if known is not None and len(known) != classes:
        backbone.preprocessing = replace(backbone.preprocessing, classes=None)
    return TaskModel(backbone, facts, HeadFacts(name=head, config=config))
