"""Heads: from the maps of a backbone's stages to the outputs of a task, in any rank."""

from typing import NamedTuple

from vitrail.errors import UsageError, shown
from vitrail.heads.base import Head, HeadConfig, HeadShape
from vitrail.heads.detection import Detector
from vitrail.heads.detector_configs import (
    DetectorConfig,
    FasterRCNNConfig,
    FCOSConfig,
    MaskRCNNConfig,
    RetinaNetConfig,
)
from vitrail.heads.segformer import SegFormerConfig, SegFormerHead
from vitrail.heads.semantic_fpn import SemanticFPN, SemanticFPNConfig
from vitrail.heads.unet import UNet, UNetConfig
from vitrail.heads.upernet import UPerNet, UPerNetConfig

__all__ = [
    "HEADS",
    "Detector",
    "DetectorConfig",
    "Entry",
    "FCOSConfig",
    "FasterRCNNConfig",
    "Head",
    "HeadConfig",
    "HeadShape",
    "MaskRCNNConfig",
    "RetinaNetConfig",
    "SegFormerConfig",
    "SegFormerHead",
    "SemanticFPN",
    "SemanticFPNConfig",
    "UNet",
    "UNetConfig",
    "UPerNet",
    "UPerNetConfig",
    "head_for",
]


class Entry(NamedTuple):
    """What a head's name stands for."""

    config: HeadConfig
    head: type[Head]
    tasks: tuple[str, ...]


HEADS: dict[str, Entry] = {
    "semantic_fpn": Entry(SemanticFPNConfig(), SemanticFPN, ("segment",)),
    "unet": Entry(UNetConfig(), UNet, ("segment",)),
    "upernet": Entry(UPerNetConfig(), UPerNet, ("segment",)),
    "segformer": Entry(SegFormerConfig(), SegFormerHead, ("segment",)),
    "fcos": Entry(FCOSConfig(), Detector, ("detect",)),
    "retinanet": Entry(RetinaNetConfig(), Detector, ("detect",)),
    "faster_rcnn": Entry(FasterRCNNConfig(), Detector, ("detect",)),
    "mask_rcnn": Entry(MaskRCNNConfig(), Detector, ("detect",)),
}


def head_for(task: str, head: str | HeadConfig | None = None) -> tuple[str, HeadConfig]:
    """Return the name and the config of a head that serves a task.

    Args:
        task: the task's name.
        head: the head's name, or its config; None for the first head of the task.
    Raises:
        UsageError: no head serves the task, or not this one.
    """
    if task == "classify" and isinstance(head, str) and head in HEADS:
        raise UsageError(
            f"head={head!r} for task='classify', whose head is the model's own",
            f"a head together with its task: {' or '.join(HEADS[head].tasks)}",
            f"add task={HEADS[head].tasks[0]!r}",
        )
    known = {name: entry for name, entry in HEADS.items() if task in entry.tasks}
    if not known:
        tasks = sorted({"classify", *(name for entry in HEADS.values() for name in entry.tasks)})
        has = "which has no head to choose" if task == "classify" else "which is not known"
        raise UsageError(f"task={task!r}, {has}", f"one of {', '.join(tasks)}",
                         f"use task={tasks[-1]!r}")  # fmt: skip
    if isinstance(head, HeadConfig):
        named = next((name for name, e in known.items() if type(e.config) is type(head)), None)
        if named is not None:
            return named, head
    elif head is None or head in known:
        name = head or next(iter(known))
        return name, known[name].config
    raise UsageError(
        f"head={shown(head)} for task={task!r}",
        f"one of {', '.join(known)}",
        f"use head={next(iter(known))!r}",
    )
