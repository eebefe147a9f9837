"""The head in a file of a model of a task: a new model of the same task starts with it."""

import logging

from vitrail.models import BackboneConfig, TaskModel
from vitrail.models.tensors import copy_all
from vitrail.weights.head_formats import OpenedHead
from vitrail.weights.load import open_weights
from vitrail.weights.sources import Source

_log = logging.getLogger("vitrail.weights")


def open_head(source: Source, like: BackboneConfig | None = None) -> OpenedHead | None:
    """Return the head that a source of weights holds; None where it is of no task.

    Args:
        source: see ``read_source``.
        like: a configuration that the backbone's weights are meant for.
    Raises:
        UsageError: unreadable, in no known format, or of a later version.
    """
    return open_weights(source, like=like).head


def take_head(model: TaskModel, opened: OpenedHead) -> None:
    """Copy a head's weights into a model of the same task with the same head.

    Those of another shape, as for another number of classes, stay as they are and are logged. With
    as many classes come their names and the options of the task.
    """
    own = model.head.state_dict()
    same = {k: v for k, v in opened.state.items() if k in own and v.shape == own[k].shape}
    copy_all(model.head, {k: v.to(own[k].dtype) for k, v in same.items()})
    if fresh := sorted(own.keys() - same.keys()):
        _log.warning("not in the file, or of another shape there: head.%s", ", head.".join(fresh))
    if model.task.classes == opened.task.classes:
        model.task = opened.task
        model._set_preprocessing(classes=opened.classes)
