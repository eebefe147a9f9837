"""The contract of every backbone: what users of the field expect of a model."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.layers import AbsolutePosition, PatchEmbed, PrefixTokens
from vitrail.layers.embed import channels_first as to_channels_first
from vitrail.models.config import BackboneConfig
from vitrail.models.hub import HubModel
from vitrail.models.inputs import check_input
from vitrail.models.levels import check_format, in_format, wanted_levels
from vitrail.models.parts import Parts
from vitrail.models.preprocessing import Preprocessing
from vitrail.models.stage import Stage
from vitrail.shapes import Size

if TYPE_CHECKING:
    from typing import Self
else:
    Self = Any  # the shape checker looks at one method at a time, where Self means nothing


class Backbone(HubModel, Parts, nn.Module):
    """A hierarchy of stages over embedded patches, with a classifier on top.

    A family whose last norm comes after the tokens are pooled says so by ``norm_pooled``, one whose
    stages each end with a norm by ``stage_normed``.

    Args:
        config: every number of the model.
        preprocessing: the input of its weights.
        name: its name in the catalog, if it has one.
    Raises:
        UsageError: from the config's own checks.
    """

    norm_pooled: ClassVar[bool] = False
    stage_normed: ClassVar[bool] = False

    def __init__(
        self,
        config: BackboneConfig,
        *,
        preprocessing: Preprocessing | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.preprocessing = preprocessing or Preprocessing(size=(224,) * config.axes)
        self.name = name
        stages = len(config.depths)
        self.bare = config.out_indices is not None
        self.out_indices = config.out_indices or tuple(range(stages))
        built = self.out_indices[-1] + 1
        self.embed = self.build_embed()
        self.position = self.build_position()
        self.position_drop = nn.Dropout(config.drop)
        self.stages = nn.ModuleList(self.build_stage(stage) for stage in range(built))
        self._check_pool(config.global_pool)
        self.num_features = self.dims[-1]
        self.norm = self.build_norm() if not self.bare else None
        self.pre_logits = self.build_pre_logits() if not self.bare else None
        self.head = self._new_head(config.num_classes) if not self.bare else None
        self.feature_norms = nn.ModuleDict()
        if config.feature_norms:
            for stage, dim in zip(self.out_indices, self.dims, strict=True):
                self.feature_norms[str(stage)] = self.build_feature_norm(dim)
        self.reset_parameters()
        self.set_grad_checkpointing(config.checkpointing)
        self._freeze()

    def build_embed(self) -> nn.Module:
        """Build what makes tokens of the input; its ``proj`` is the convolution that reads it."""
        config = self.config
        return PatchEmbed(
            config.in_channels,
            config.stage_dims[0],
            config.patch,
            norm=config.embed_norm,
            norm_eps=config.norm_eps,
            patch_fit=config.patch_fit,
        )

    def build_position(self) -> AbsolutePosition | None:
        """Build the position embedding of the first tokens, if there is one."""
        return None

    def build_stage(self, stage: int) -> Stage:
        """Build stage number ``stage``; what a family of models differs in."""
        raise NotImplementedError

    def build_norm(self) -> nn.Module | None:
        """Build the norm after the last stage, if there is one."""
        return nn.LayerNorm(self.config.stage_dims[-1], eps=self.config.norm_eps)

    def build_feature_norm(self, dim: int) -> nn.Module:
        """Build the norm of a stage's map, as detectors have it."""
        return nn.LayerNorm(dim, eps=self.config.norm_eps)

    def build_pre_logits(self) -> nn.Module | None:
        """Build what stands between the pooled tokens and the head, if anything does."""
        return None

    def reset_parameters(self) -> None:
        """Initialise every parameter as the papers do; also after ``to_empty`` on a meta model."""
        own = []
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=self.config.init_std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif module is not self and hasattr(module, "reset_parameters"):
                own.append(module)
        # Innermost first, so that a block has the final word on its norms.
        for module in reversed(own):
            module.reset_parameters()

    @property
    def dims(self) -> tuple[int, ...]:
        """Channels of each map that ``features`` returns."""
        return tuple(self.config.stage_dims[stage] for stage in self.out_indices)

    @property
    def strides(self) -> tuple[Size, ...]:
        """Input samples per token and axis, for each map that ``features`` returns."""
        return tuple(self.config.stage_strides[stage] for stage in self.out_indices)

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before those of the grid in what ``forward_features`` returns."""
        prefix = self.stages[-1].prefix
        return prefix.count if isinstance(prefix, PrefixTokens) else 0

    @property
    def num_classes(self) -> int:
        """Classes of the head; 0 for no head."""
        return self.config.num_classes

    @property
    def takes_photos(self) -> bool:
        """Whether inputs are colour images: two spatial axes and three channels."""
        return self.config.takes_photos

    @property
    def global_pool(self) -> str:
        """How tokens are pooled before the head."""
        return self.config.global_pool

    def forward(self, x: Float[Tensor, "batch channels *samples"]) -> Any:
        """Return logits ``(batch, num_classes)``; of a bare backbone, the list of its features."""
        if self.bare:
            return self.features(x, norm=self.config.feature_norms)
        return self.forward_head(self.forward_features(x))

    def forward_features(
        self, x: Float[Tensor, "batch channels *samples"]
    ) -> Float[Tensor, "batch *tokens dim"]:
        """Return the last stage's tokens, channels-last on their grid, normalised.

        Not normalised where the norm is of pooled tokens (``norm_pooled``). Where there are prefix
        tokens, it is the list of all tokens, those first.
        """
        tokens = grid = self._embed(x)
        for stage in self.stages:
            tokens, grid = self._pass(stage, grid)
        return tokens if self.norm is None or self.norm_pooled else self.norm(tokens)

    def forward_head(
        self, x: Float[Tensor, "batch *tokens dim"], pre_logits: bool = False
    ) -> Float[Tensor, "batch *rest"]:
        """Pool the tokens and classify.

        Args:
            x: what ``forward_features`` returned.
            pre_logits: return the pooled tokens instead.
        """
        if self.config.global_pool == "token":
            x = x[:, 0]
        elif self.config.global_pool == "avg":
            prefix = self.num_prefix_tokens
            grid = x[:, prefix:] if prefix else x
            x = grid.mean(dim=tuple(range(1, grid.ndim - 1)))
        if self.norm_pooled and self.norm is not None:
            x = self.norm(x)
        if self.pre_logits is not None:
            x = self.pre_logits(x)
        return x if pre_logits or self.head is None else self.head(x)

    def features(
        self,
        x: Float[Tensor, "batch channels *samples"],
        channels_first: bool = False,
        norm: bool = False,
    ) -> list[Float[Tensor, "batch *rest"]]:
        """Return one map for each of ``out_indices``: the stage's output before merging.

        Args:
            x: an input of any size.
            channels_first: return ``(batch, dim, *spatial)``.
            norm: apply the per-stage norms that detectors have.
        Raises:
            UsageError: ``norm=True``, but the model has none.
        """
        if norm and not self.feature_norms:
            raise UsageError(
                "norm=True on a model without per-stage norms",
                "norm=True where the config has feature_norms=True",
                "create the model with feature_norms=True, or leave norm out",
            )
        maps = []
        x = self._embed(x)
        for index, stage in enumerate(self.stages):
            _, x = self._pass(stage, x)
            if index in self.out_indices:
                out = self.feature_norms[str(index)](x) if norm else x
                maps.append(to_channels_first(out).contiguous() if channels_first else out)
        return maps

    def forward_intermediates(
        self,
        x: Float[Tensor, "batch channels *samples"],
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Return the final tokens and the maps of chosen levels, as timm's models do.

        Levels are stages, whose maps come before merging; those of a ViT are its blocks.

        Args:
            x: an input of any size.
            indices: the last so many levels; or their numbers, negative ones from the end; None
                for all. Maps are returned in the model's order.
            norm: apply the norm that follows a level, if one does.
            stop_early: compute no level after the last one that is wanted.
            output_fmt: layout of the maps, along any number of axes: ``"NCHW"``, ``"NHWC"`` or
                ``"NLC"``.
            intermediates_only: return the maps alone.
        Returns:
            The tokens of ``forward_features``, or of the level at which it stopped, and the list
            of maps without prefix tokens.
        Raises:
            UsageError: a level or a layout that does not exist.
        """
        wanted = wanted_levels(indices, self.num_levels)
        last = max(wanted) if stop_early else self.num_levels - 1
        check_format(output_fmt)
        maps, tokens = [], x
        for index, (tokens, grid) in enumerate(self._levels(x)):  # noqa: B007  # used below
            if index in wanted:
                follows = self._level_norm(index) if norm else None
                maps.append(in_format(grid if follows is None else follows(grid), output_fmt))
            if index == last:
                break
        if intermediates_only:
            return maps
        ends = self._level_norm(last) is self.norm
        return self.norm(tokens) if ends and self.norm is not None else tokens, maps

    @property
    def num_levels(self) -> int:
        """Levels that ``forward_intermediates`` may return."""
        return len(self.stages)

    @property
    def head_hidden_size(self) -> int:
        """Channels that the classifier receives, by timm's name; ``num_features``."""
        return self.num_features

    def get_classifier(self) -> nn.Module | None:
        """Return the head, or None."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the head by a new one.

        Args:
            num_classes: classes of the new head; 0 for none.
            global_pool: ``"avg"``, ``"token"`` or ``""``; default as it was.
        Raises:
            UsageError: the model is a bare backbone, which ends with its maps, or has no token to
                pool.
        """
        if self.bare:
            raise UsageError(
                f"num_classes={num_classes} for a backbone with out_indices={self.out_indices}",
                "a model with a head",
                "create the model without out_indices",
            )
        pool = self.config.global_pool if global_pool is None else global_pool
        self._check_pool(pool)
        self._set_config(num_classes=num_classes, global_pool=pool)
        known = self.preprocessing.classes
        if known is not None and len(known) != num_classes:
            self._set_preprocessing(classes=None)
        parameter = next(self.parameters())
        head = self._new_head(num_classes)
        if head is not None:
            nn.init.trunc_normal_(head.weight, std=self.config.init_std)
            if head.bias is not None:
                nn.init.zeros_(head.bias)
            head.to(parameter.device, parameter.dtype)
        self.head = head

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass instead of storing them."""
        for stage in self.stages:
            stage.checkpointing = enable  # type: ignore[assignment]  # a plain attribute

    def train(self, mode: bool = True) -> Self:
        """Switch to training; frozen stages stay as they are in evaluation."""
        super().train(mode)
        if mode:
            for module in self._frozen_modules():
                module.eval()
        return self

    def _embed(self, x: Tensor) -> Tensor:
        check_input(self.config, x)
        x = self.embed(x)
        if self.position is not None:
            x = self.position(x)
        return self.position_drop(x)

    def _pass(self, stage: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return a stage's tokens, and those of them that lie on the grid."""
        assert isinstance(stage, Stage)
        grid = stage.enter(x)
        tokens = stage(grid)
        return tokens, stage.grid_of(tokens, grid.shape[1:-1])

    def _levels(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each level's tokens, and those of them that lie on the grid."""
        grid = self._embed(x)
        for stage in self.stages:
            tokens, grid = self._pass(stage, grid)
            yield tokens, grid

    def _level_norm(self, index: int) -> nn.Module | None:
        """Return the norm that follows a level, other than those inside it."""
        if str(index) in self.feature_norms:
            return self.feature_norms[str(index)]
        return self.norm if index == self.num_levels - 1 and not self.norm_pooled else None

    def _check_pool(self, pool: str) -> None:
        if pool == "token" and not self.bare and not self.num_prefix_tokens:
            raise UsageError(
                f"global_pool={pool!r} for a model without prefix tokens",
                "'avg' or ''",
                "use global_pool='avg'",
            )

    def _new_head(self, num_classes: int) -> nn.Linear | None:
        return nn.Linear(self.num_features, num_classes) if num_classes > 0 else None

    def _frozen_modules(self) -> list[nn.Module]:
        frozen = self.config.frozen_stages
        if frozen == 0:
            return []
        position = [] if self.position is None else [self.position]
        return [self.embed, *position, self.position_drop, *self.stages[:frozen]]

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.requires_grad_(False)

    @staticmethod
    def drop_path_rates(config: BackboneConfig) -> list[list[float]]:
        """Return each block's rate: rising linearly over all blocks to ``config.drop_path``."""
        total = sum(config.depths)
        rates = [config.drop_path * i / max(1, total - 1) for i in range(total)]
        starts = [sum(config.depths[:stage]) for stage in range(len(config.depths))]
        return [rates[s : s + d] for s, d in zip(starts, config.depths, strict=True)]
