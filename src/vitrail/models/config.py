"""Every number that defines a hierarchical backbone, checked once."""

import numbers
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from vitrail.errors import UsageError, shown
from vitrail.fields import check_fields
from vitrail.layers.embed import PatchFit
from vitrail.layers.position import BiasLookup
from vitrail.patterns import Padding, ShiftRule
from vitrail.shapes import Size, as_size

Sizes = Size | tuple[Size, ...]
_STAGES = 16  # each doubles the stride or more: 16 are more than any input has room for


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneConfig:
    """What every hierarchical backbone is defined by; nothing about data or training.

    Args:
        in_channels: channels of the input.
        num_classes: classes of the head; 0 for no head.
        depths: blocks in each stage.
        num_heads: attention heads in each stage.
        patch: input samples per token and axis; its length is the number of axes.
        qkv_bias: queries, keys and values have a bias.
        drop: probability of dropping a value after projections.
        attn_drop: probability of dropping an attention weight.
        drop_path: probability of dropping the last block's branches; grows linearly from 0.
        norm_eps: added to the variance by every norm.
        init_std: standard deviation of the linear weights at the start.
        embed_norm: normalise the embedded patches.
        patch_fit: what happens to an input that the patch does not divide (ADR 7).
        global_pool: ``"avg"``; ``"token"`` for the first prefix token, where there is one; or
            ``""`` to apply the head to every token.
        out_indices: stages whose maps ``features`` returns. When given, the model is a bare
            backbone: later stages, the last norm and the head are not built.
        feature_norms: give each of ``out_indices`` a norm of its own, as detectors have.
        frozen_stages: stages that do not train, counted from the first; the embedding with them.
        checkpointing: recompute each block's activations in the backward pass.
    """

    in_channels: int = 3
    num_classes: int = 1000
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    patch: Size = (4, 4)
    qkv_bias: bool = True
    drop: float = 0.0
    attn_drop: float = 0.0
    drop_path: float = 0.0
    norm_eps: float = 1e-5
    init_std: float = 0.02
    embed_norm: bool = True
    patch_fit: PatchFit = "pad"
    global_pool: Literal["avg", "token", ""] = "avg"
    out_indices: tuple[int, ...] | None = None
    feature_norms: bool = False
    frozen_stages: int = 0
    checkpointing: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, as_tuples(getattr(self, field.name)))
        check_fields(self)
        # A whole number means the same along every axis; the patch alone says how many there are
        # unless it is a number itself, which stands for an image.
        axes = 2 if isinstance(self.patch, int) else len(self.patch)
        if not 1 <= axes <= 3:
            raise UsageError(
                f"patch={shown(self.patch)}",
                "a patch of one, two or three axes",
                "use patch=(4, 4) for images",
            )
        object.__setattr__(self, "patch", as_size(self.patch, axes, "patch"))
        self._check_stages()
        self._check_ranges()

    @property
    def axes(self) -> int:
        """Number of spatial axes."""
        return len(self.patch)

    @property
    def takes_photos(self) -> bool:
        """Whether inputs are colour images: two spatial axes and three channels."""
        return self.axes == 2 and self.in_channels == 3

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of each stage."""
        raise NotImplementedError

    @property
    def stage_strides(self) -> tuple[Size, ...]:
        """Input samples per token and axis, in each stage."""
        raise NotImplementedError

    def _check_stages(self) -> None:
        depths = self.depths
        if not isinstance(depths, tuple) or not 1 <= len(depths) <= _STAGES or min(depths) < 1:
            raise UsageError(
                f"depths={shown(depths)}",
                f"one or more blocks in each of 1 to {_STAGES} stages",
                "use depths=(2, 2)",
            )
        stages = len(depths)
        self._check_each_stage("num_heads")
        for stage, (heads, dim) in enumerate(zip(self.num_heads, self.stage_dims, strict=True)):
            if heads < 1 or dim % heads != 0:
                options = [h for h in range(1, min(dim, 64) + 1) if dim % h == 0]
                raise UsageError(
                    f"num_heads[{stage}]={heads} for a stage of dim {dim}",
                    "a number of heads that divides the stage's dim",
                    f"use one of {options}",
                )
        outs = self.out_indices
        if isinstance(outs, int) or (
            outs is not None and (not outs or sorted({*outs} & {*range(stages)}) != [*outs])
        ):
            raise UsageError(
                f"out_indices={shown(outs)} for {stages} stages",
                f"rising numbers of stages, from 0 to {stages - 1}",
                f"use out_indices={tuple(range(stages))}",
            )
        if not 0 <= self.frozen_stages <= stages:
            raise UsageError(
                f"frozen_stages={self.frozen_stages}",
                f"0 to {stages}",
                "use frozen_stages=0 to train everything",
            )

    def _check_each_stage(self, name: str) -> None:
        """Refuse a field that has not one entry for each stage."""
        if not isinstance(self.depths, tuple | list):
            self._check_stages()  # which refuses it
        value, stages = getattr(self, name), len(self.depths)
        if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != stages:
            raise UsageError(
                f"{name}={shown(value)} for {stages} stages",
                f"one {'number of heads' if name == 'num_heads' else 'entry'} for each stage",
                f"give {stages} numbers",
            )

    def _check_ranges(self) -> None:
        if self.in_channels < 1:
            raise UsageError(f"in_channels={self.in_channels}", "at least 1", "use in_channels=3")
        if self.num_classes < 0:
            raise UsageError(
                f"num_classes={self.num_classes}",
                "a whole number from 0",
                "use num_classes=0 for no head",
            )
        if self.init_std <= 0:
            raise UsageError(f"init_std={self.init_std}", "more than 0", "use init_std=0.02")
        if self.norm_eps < 0:
            raise UsageError(f"norm_eps={self.norm_eps}", "at least 0", "use norm_eps=1e-5")
        for name in ("drop", "attn_drop", "drop_path"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(
                    f"{name}={getattr(self, name)}", "a probability below 1", f"use {name}=0.1"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class MergingConfig(BackboneConfig):
    """A backbone whose tokens are merged by the same factor between all stages.

    Args:
        merge: neighbours that become one token between stages, per axis.
    """

    merge: Size = (2, 2)

    def __post_init__(self) -> None:
        # Zero-argument super() does not survive slots=True, which makes a new class.
        BackboneConfig.__post_init__(self)
        object.__setattr__(self, "merge", as_size(self.merge, self.axes, "merge"))

    @property
    def stage_strides(self) -> tuple[Size, ...]:
        """Input samples per token and axis, in each stage."""
        return tuple(
            tuple(p * f**stage for p, f in zip(self.patch, self.merge, strict=True))
            for stage in range(len(self.depths))
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DoublingConfig(MergingConfig):
    """A backbone whose channels double with each merge: Swin's body.

    Args:
        dim: channels of the first stage; each merge doubles them.
        mlp_ratio: hidden channels of the perceptron over channels.
    """

    dim: int = 96
    mlp_ratio: float = 4.0
    drop_path: float = 0.2

    def __post_init__(self) -> None:
        MergingConfig.__post_init__(self)
        check_width(self.dim, self.mlp_ratio)

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.dim * 2**stage for stage in range(len(self.depths)))


@dataclass(frozen=True, kw_only=True, slots=True)
class SwinConfig(DoublingConfig):
    """Every number that defines a Swin backbone.

    Args:
        window: tokens per axis, or one such tuple for each stage.
        patch_overlap: samples that a patch reaches into its neighbours, on each side per axis; the
            published Swins have none, which None says too.
        absolute_position: grid of a learned absolute position table, or None for no table.
        padding: ``"masked"``, or ``"visible"`` as in every peer (ADR 2).
        shift_rule: what a short axis does to window and shift (ADR 3): one rule, or one for each
            stage.
        mask_value: added to scores across regions; None for minus infinity (ADR 5).
        bias_lookup: rows of the relative bias in a shrunken window (ADR 8).
    """

    window: Sizes = (7, 7)
    patch_overlap: Size | None = None
    absolute_position: Size | None = None
    padding: Padding = "masked"
    shift_rule: ShiftRule | tuple[ShiftRule, ...] = "axis"
    mask_value: float | None = None
    bias_lookup: BiasLookup = "offset"

    def __post_init__(self) -> None:
        DoublingConfig.__post_init__(self)
        axes = self.axes
        if self.patch_overlap is not None:
            overlap = as_size(self.patch_overlap, axes, "patch_overlap", minimum=0)
            object.__setattr__(self, "patch_overlap", overlap)
        if self.absolute_position is not None:
            grid = as_size(self.absolute_position, axes, "absolute_position")
            object.__setattr__(self, "absolute_position", grid)
        object.__setattr__(self, "window", self._checked_sizes("window"))
        if len(self.shift_rules) != len(self.depths):
            raise UsageError(
                f"shift_rule={self.shift_rule} for {len(self.depths)} stages",
                "one rule, or one for each stage",
                "use shift_rule='axis'",
            )

    @property
    def windows(self) -> tuple[Size, ...]:
        """Window of each stage, in tokens."""
        return self._per_stage(self.window)

    @property
    def shift_rules(self) -> tuple[ShiftRule, ...]:
        """Shift rule of each stage."""
        rule = self.shift_rule
        return rule if isinstance(rule, tuple) else (rule,) * len(self.depths)

    def _per_stage(self, sizes: Sizes) -> tuple[Size, ...]:
        return sizes if isinstance(sizes[0], tuple) else (sizes,) * len(self.depths)  # type: ignore[return-value]

    def _checked_sizes(self, name: str) -> Sizes:
        value = getattr(self, name)
        if isinstance(value, tuple) and value and isinstance(value[0], tuple):
            if len(value) != len(self.depths):
                raise UsageError(
                    f"{name}={shown(value)} for {len(self.depths)} stages",
                    "one size, or one for each stage",
                    f"use {name}={shown(value[0])}",
                )
            return tuple(as_size(size, self.axes, name) for size in value)
        return as_size(value, self.axes, name)


def check_width(dim: int, mlp_ratio: float) -> None:
    """Refuse a width that no layer can have."""
    if dim < 1:
        raise UsageError(f"dim={dim}", "at least 1", "use dim=96")
    if mlp_ratio <= 0:
        raise UsageError(f"mlp_ratio={mlp_ratio}", "more than 0", "use mlp_ratio=4.0")


def as_tuples(value: Any) -> Any:
    """Turn lists into tuples and numpy's numbers into Python's, all the way down."""
    if isinstance(value, numbers.Real) and not isinstance(value, int | float):
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(as_tuples(item) for item in value)
    return value
