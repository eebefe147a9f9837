"""Small models of segmentation with drawn weights."""

from dataclasses import replace
from typing import Any

from tests.heads.test_heads import TINY
from tests.support import CONFIGS, drawn
from vitrail.models import HeadFacts, Swin, TaskFacts, TaskModel
from vitrail.models.preprocessing import Preprocessing

NAMES = ("ground", "tree", "house")
SIZE = (16, 24)


def segmenter(
    head: str = "semantic_fpn",
    kind: str = "2-D",
    *,
    task: str = "segment",
    seed: int = 0,
    **changes: Any,
) -> TaskModel:
    """A model whose stages pad, and whose maps end beyond the input at most sizes."""
    fields = {"depths": (1, 1), "out_indices": (0, 1), "feature_norms": True, "num_classes": 0}
    config = replace(CONFIGS[kind], **fields, **changes)
    size = SIZE if kind == "2-D" else (24,) * config.axes
    backbone = Swin(config, preprocessing=Preprocessing(size=size, classes=NAMES))
    facts = TaskFacts(name=task, classes=len(NAMES), options={})
    return drawn(TaskModel(backbone, facts, HeadFacts(name=head, config=TINY[head])), seed).eval()
