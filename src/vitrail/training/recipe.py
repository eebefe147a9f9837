"""How a model is trained: one frozen value, the Swin paper's by default."""

from dataclasses import asdict, dataclass, fields

from vitrail.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Every number that defines a training run; nothing about data, model or machine.

    The defaults are those of Swin on ImageNet-1k (arXiv 2103.14030, section A2.1), with two
    differences: an average of the weights (EMA) is kept and is what gets evaluated and written, and
    the batch is smaller, its learning rate scaled.
    """

    epochs: int = 300
    batch_size: int = 128
    """Images an optimiser step, over all processes and accumulated parts."""
    optimizer: str = "adamw"
    """"adamw", or "muon" for Muon on the matrices inside the blocks and AdamW on the rest."""
    lr: float | None = None
    """Highest learning rate; None scales the paper's 5e-4 for 512 images by the batch size."""
    min_lr: float = 5e-6
    warmup_lr: float = 5e-7
    warmup_epochs: float = 20.0
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    """Factor on the learning rate for each layer further from the head."""
    clip: float = 5.0
    """Largest norm of the gradient; 0 for no clipping."""
    smoothing: float = 0.1
    mixup: float = 0.8
    """Parameter of mixup's beta distribution; 0 for none."""
    cutmix: float = 1.0
    """Parameter of CutMix's beta distribution; 0 for none."""
    mix_probability: float = 1.0
    """Share of the groups of images that mixup or CutMix is applied to."""
    crop: str = "resized"
    """"resized" for random resized crops, "pad" to pad and crop (small pictures)."""
    randaugment: int = 9
    """Magnitude of RandAugment; 0 for none."""
    erase: float = 0.25
    """Probability of random erasing."""
    ema: float = 0.9998
    """Share of the old average kept at a step; 0 for no average."""
    precision: str = "bf16"
    accumulate: int = 1
    """Parts that a process cuts its share of a batch into, to save memory."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(
                    given=f"{name}={value!r}",
                    allowed=f"a number from {low:g} to {high:g}",
                    fix=f"use {name}={_default(name)!r}, the default",
                )
        for name, allowed in _CHOICES:
            if getattr(self, name) not in allowed:
                raise UsageError(
                    given=f"{name}={getattr(self, name)!r}",
                    allowed=" or ".join(map(repr, allowed)),
                    fix=f"use {name}={allowed[0]!r}",
                )

    @property
    def peak_lr(self) -> float:
        """The learning rate at the end of the warm-up."""
        return 5e-4 * self.batch_size / 512 if self.lr is None else self.lr

    def as_dict(self) -> dict[str, object]:
        """All fields, for a checkpoint's metadata."""
        return asdict(self)


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("epochs", 1, 1e6),
    ("batch_size", 1, 1e7),
    ("lr", 0, 1e3),
    ("min_lr", 0, 1e3),
    ("warmup_lr", 0, 1e3),
    ("warmup_epochs", 0, 1e6),
    ("weight_decay", 0, 1e3),
    ("layer_decay", 1e-3, 1),
    ("clip", 0, 1e9),
    ("smoothing", 0, 0.99),
    ("mixup", 0, 100),
    ("cutmix", 0, 100),
    ("mix_probability", 0, 1),
    ("randaugment", 0, 30),
    ("erase", 0, 1),
    ("ema", 0, 0.999999),
    ("accumulate", 1, 1e6),
)
_CHOICES = (
    ("optimizer", ("adamw", "muon")),
    ("precision", ("bf16", "fp32")),
    ("crop", ("resized", "pad")),
)


def _default(name: str) -> object:
    return next(field.default for field in fields(Recipe) if field.name == name)
