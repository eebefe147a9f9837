"""The head in a file of a model of a task: a new model of the same task starts with it."""

import logging
from typing import NamedTuple

from vitrail.models import HeadFacts, TaskFacts, TaskModel
from vitrail.models.task_model import facts_of, parts_of
from vitrail.models.tensors import copy_all
from vitrail.weights.rules import State
from vitrail.weights.sources import Source, read_source

_log = logging.getLogger("vitrail.weights")


class OpenedHead(NamedTuple):
    """A file's task, its head, and the head's weights."""

    task: TaskFacts
    head: HeadFacts
    state: State


def open_head(source: Source) -> OpenedHead | None:
    """Return the head that a source of weights holds; None where it is of no task.

    Raises:
        UsageError: unreadable, or of a later version.
    """
    content = read_source(source)
    meta = content.metadata or {}
    if meta.get("format") != "vitrail" or "task" not in meta:
        return None
    return OpenedHead(*facts_of(meta), parts_of(content.state)[1])


def take_head(model: TaskModel, opened: OpenedHead) -> None:
    """Copy a head's weights into a model of the same task with the same head.

    Those of another shape, as for another number of classes, stay as they are and are logged.
    """
    own = model.head.state_dict()
    same = {k: v for k, v in opened.state.items() if k in own and v.shape == own[k].shape}
    copy_all(model.head, {k: v.to(own[k].dtype) for k, v in same.items()})
    if fresh := sorted(own.keys() - same.keys()):
        _log.warning("not in the file, or of another shape there: head.%s", ", head.".join(fresh))
