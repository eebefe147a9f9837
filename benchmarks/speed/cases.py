"""What is measured: each case by name, and the list of all of them, the goals' first."""

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal, cast, get_args

import torch

from vitrail.errors import UsageError
from vitrail.models import CATALOG, canonical_name, entry_of
from vitrail.shapes import Size

Task = Literal["inference", "training", "attention", "linear"]
TASKS: tuple[str, ...] = get_args(Task)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Inputs of about equal samples in all: what one costs per sample is what the others should.
LINEAR = ((224, 84), (512, 16), (1024, 4), (2048, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One task on one input.

    Args:
        task: a forward pass, a training step, the attention of each stage alone, or forward passes
            of inputs from small to large with equal samples in all.
        model: a name of the catalog.
        size: input samples along each axis.
        batch: inputs at once.
        dtype: ``"fp32"``, ``"bf16"`` or ``"fp16"``; in training, of autocast.
        device: ``"cpu"`` or ``"cuda"``.
        priority: the goals are 1; from 3 on settings that seldom win are not tried.
    """

    task: Task
    model: str
    size: Size
    batch: int
    dtype: str
    device: str = "cpu"
    priority: int = 1

    @property
    def name(self) -> str:
        """Return what its file is called."""
        size = "x".join(map(str, self.size if len(set(self.size)) > 1 else self.size[:1]))
        where = "" if self.device == "cpu" else f"-{self.device}"
        return f"{self.model}-{self.task}-{size}-b{self.batch}-{self.dtype}{where}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the input."""
        return (self.batch, 3, *self.size)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type of numbers, as torch has it."""
        return DTYPES[self.dtype]

    @property
    def every_setting(self) -> bool:
        """Whether settings that seldom win are tried as well."""
        return self.priority <= 2

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Case":
        """Make it again from ``as_dict``, also from what JSON made of that."""
        return cls(**{**facts, "size": tuple(facts["size"])})


def case(
    task: str, model: str, size: int | Size, batch: int, dtype: str, *,
    device: str = "cpu", priority: int = 1,
) -> Case:  # fmt: skip
    """Return a case after checking what it is made of.

    Raises:
        UsageError: an unknown task, model, type or device.
    """
    for what, value, known in (
        ("task", task, TASKS), ("dtype", dtype, DTYPES), ("device", device, ("cpu", "cuda"))
    ):  # fmt: skip
        if value not in known:
            raise UsageError(f"{what} {value!r}", ", ".join(known), f"use {next(iter(known))!r}")
    model = canonical_name(model)
    entry = CATALOG[model]
    config = entry.config
    if isinstance(size, int):
        # Of a video the size is that of a frame.
        frames = entry.preprocessing.size[:1] if config.axes == 3 else ()
        size = (*frames, *(size,) * (config.axes - len(frames)))
    return Case(
        task=cast(Task, task), model=model, size=size, batch=batch, dtype=dtype, device=device,
        priority=priority,
    )  # fmt: skip


def on_cpu() -> list[Case]:
    """Return every case for a CPU, most wanted first."""
    rows: list[tuple[int, str, str, int, int, str]] = [
        (1, "inference", "swin_tiny", 224, 8, "bf16"),
        (1, "inference", "swin_tiny", 224, 8, "fp32"),
        (1, "training", "swin_tiny", 224, 8, "bf16"),
        (1, "inference", "pvt_v2_b2", 224, 8, "fp32"),
        (1, "inference", "focal_tiny", 224, 8, "fp32"),
        (1, "inference", "pvt_v2_b2", 224, 8, "bf16"),
        (1, "inference", "focal_tiny", 224, 8, "bf16"),
        (2, "linear", "swin_tiny", 2048, 1, "bf16"),
        (2, "attention", "swin_tiny", 224, 8, "bf16"),
        (2, "attention", "swin_tiny", 224, 8, "fp32"),
        (2, "inference", "swin_tiny", 224, 1, "bf16"),
        (2, "inference", "swin_tiny", 224, 1, "fp32"),
        (2, "training", "swin_tiny", 224, 8, "fp32"),
    ]
    bodies = (("swin_base", 224), ("swin_v2_tiny", 256), ("pvt_v2_b2", 224), ("focal_tiny", 224))
    for batch in (8, 1):
        rows += [(3, "inference", m, s, batch, t) for t in ("bf16", "fp32") for m, s in bodies]
    rows += [(3, "inference", "focal_fast_tiny", 224, batch, "fp32") for batch in (8, 1)]
    rows += [(3, "inference", "video_swin_tiny", 224, 1, t) for t in ("bf16", "fp32")]
    rows += [(3, "training", m, s, 8, "bf16") for m, s in bodies]
    rows += [(3, "attention", m, s, 8, "bf16") for m, s in
             (("swin_base", 224), ("swin_large", 224), ("swin_base_384", 384),
              ("swin_large_384", 384))]  # fmt: skip
    wide = ("swin_tiny", "swin_v2_tiny", "pvt_v2_b2", "focal_tiny", "swin_base")
    rows += [(4, "inference", m, s, 1, "bf16") for s in (512, 1024, 2048) for m in wide]
    rows += [(4, "inference", "swin_tiny", s, 1, "fp32") for s in (512, 1024, 2048)]
    return _distinct(rows, "cpu")


def on_cuda() -> list[Case]:
    """Return every case for a GPU, most wanted first."""
    rows: list[tuple[int, str, str, int, int, str]] = [
        (1, "attention", "swin_tiny", 224, 64, "bf16"),
    ]
    for size, batch in ((224, 64), (1024, 4)):
        for task in ("inference", "training"):
            rows += [(1, task, m, size, batch, "bf16") for m in ("swin_tiny", "swin_base")]
    rows += [(1, "inference", m, 224, 64, "bf16") for m in ("focal_tiny", "pvt_v2_b2")]
    rows += [(2, "linear", "swin_tiny", 2048, 1, "bf16")]
    rows += [(2, "attention", m, s, 64, "bf16") for m, s in
             (("swin_base", 224), ("swin_large", 224), ("swin_base_384", 384),
              ("swin_large_384", 384))]  # fmt: skip
    bodies = (("swin_tiny", 224), ("swin_base", 224), ("swin_v2_tiny", 256), ("pvt_v2_b2", 224),
              ("focal_tiny", 224))  # fmt: skip
    for batch in (1, 64, 256):
        rows += [(3, "inference", m, s, batch, t) for t in ("bf16", "fp32") for m, s in bodies]
    rows += [(3, "training", m, s, 64, "bf16") for m, s in bodies]
    rows += [(3, "inference", "focal_fast_tiny", 224, batch, "fp32") for batch in (8, 1)]
    rows += [(3, "inference", "video_swin_tiny", 224, 8, "bf16")]
    rows += [(4, "inference", m, s, 1, "bf16") for s in (512, 1024, 2048) for m, _ in bodies]
    return _distinct(rows, "cuda")


def quick(device: str = "cpu") -> list[Case]:
    """Return cases of seconds, which show that the harness works and nothing about speed."""
    return [
        case("inference", "pvt_v2_b0", 64, 1, "fp32", device=device, priority=9),
        case("attention", "swin_tiny", 224, 1, "fp32", device=device, priority=9),
    ]


def _distinct(rows: list[tuple[int, str, str, int, int, str]], device: str) -> list[Case]:
    found: dict[str, Case] = {}
    for priority, task, model, size, batch, dtype in rows:
        one = case(task, model, size, batch, dtype, device=device, priority=priority)
        found.setdefault(one.name, one)
    return sorted(found.values(), key=lambda one: one.priority)


def choose(
    listed: list[Case],
    *,
    models: list[str],
    tasks: list[str],
    sizes: list[int],
    batches: list[int],
    dtypes: list[str],
    device: str,
) -> list[Case]:
    """Return the cases of a list that all filters let through; an empty filter lets all through.

    Nothing that is named is left out: where no listed case has a named model together with the
    other values, one is made of them.

    Raises:
        UsageError: a value that no listed case has, and no model is named to make one of.
    """
    filters: dict[str, list[Any]] = {
        "task": tasks,
        "size": sizes,
        "batch": batches,
        "dtype": dtypes,
    }
    if not models:
        return _of_the_list(listed, filters)
    found: dict[str, Case] = {}
    given: list[list[Any]] = [models, *(values or [None] for values in filters.values())]
    for model, *values in product(*given):
        named = {"model": model, **dict(zip(filters, values, strict=True))}
        hits = [one for one in listed if _has(one, named)]
        if not hits:
            task, size, batch, dtype = values
            size = size or entry_of(model).preprocessing.size[-1]
            task, batch, dtype = task or "inference", batch or 1, dtype or "fp32"
            hits = [case(task, model, size, batch, dtype, device=device)]
        found.update((one.name, one) for one in hits)
    return sorted(found.values(), key=lambda one: one.priority)


def _of_the_list(listed: list[Case], filters: dict[str, list[Any]]) -> list[Case]:
    found = listed
    for name, values in filters.items():
        found = [one for one in found if not values or _value(one, name) in values]
    for name, values in filters.items():
        for value in values:
            if not any(_has(one, {name: value}) for one in found):
                raise UsageError(
                    f"filters that no case passes: --{name} {value}",
                    "those of `python -m benchmarks.speed --list`", "name a model too",
                )  # fmt: skip
    return found


def _has(one: Case, named: dict[str, Any]) -> bool:
    """Return whether a case has these values; None stands for any."""
    return all(value is None or _value(one, name) == value for name, value in named.items())


def _value(one: Case, name: str) -> Any:
    return one.size[-1] if name == "size" else getattr(one, name)
