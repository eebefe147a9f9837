"""Record one forward pass of the real model: hooks and patterns, never a second copy of it."""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention.reference import probabilities
from vitrail.errors import UsageError
from vitrail.explain.features import principal_colours
from vitrail.explain.merging import merge_shares
from vitrail.explain.modes import evaluating
from vitrail.explain.pooling import by_token, check_drawable, merge_of, spread_cells
from vitrail.explain.subject import subject
from vitrail.explain.trace import CHUNK, BlockTrace, MergeTrace, ModelFacts, Trace, spread
from vitrail.layers import Attend, ConvMerging, DepthwiseMlp, MBConv
from vitrail.models import AttentionLayer, Backbone, TaskModel
from vitrail.models.stage import Stage
from vitrail.patterns import PooledQueries
from vitrail.shapes import Size

# The grid of each stage that has prefix tokens: behind them the blocks see a list without lengths.
_Grids = dict[int, Size]


def capture(
    model: nn.Module,
    image: Float[Tensor, "channels *samples"] | Float[Tensor, "1 channels *samples"],
    *,
    weights: str = "unknown",
    transform: Sequence[str] = (),
) -> Trace:
    """Run the model on one image and keep what every block attends to.

    The model runs in evaluation mode and is left as it was found; its output is the same to the
    last bit as without the hooks. Queries and keys are kept, weights are not: they are computed
    when they are read, so that the memory for a large picture grows with its tokens.

    That the kept numbers give what each block computed is checked for every block, group by group,
    where it has at most 4 million weights over all heads; of a larger block, for groups and queries
    of so many weights in all, spread evenly, the first and the last of each among them.

    Args:
        model: a Vitrail backbone of any rank, or a module with one inside; the output is that
            module's.
        image: one input, normalised as the model expects it.
        weights: where the weights came from, for the record.
        transform: how the image was made from the photo, for the record.
    Returns:
        The trace, on the CPU.
    Raises:
        UsageError: more than one image, a wrong rank, or a model without attention.
    """
    model, backbone = subject(model)
    check_drawable(backbone)
    config = backbone.config
    strides = config.stage_strides
    parameter = next(model.parameters())
    image = one_image(image, config.axes).to(parameter.device)
    grids: _Grids = {}
    blocks: list[BlockTrace] = []
    merges: list[MergeTrace] = []
    with evaluating(model), ExitStack() as hooks:
        for layer in backbone.attention_layers():
            _watch_attention(layer, strides, grids, blocks, hooks)
            _watch_features(layer.around, backbone, blocks, merges, hooks)
        for number, stage in enumerate(backbone.stages):
            assert isinstance(stage, Stage)
            if stage.merge is not None:
                _watch_merge(number, stage.merge, strides, merges, hooks)
            if stage.prefix is not None:
                _watch_prefix(number, stage.prefix, grids, hooks)
        logits = model(image)
    answers = isinstance(logits, Tensor) and (config.num_classes or model is not backbone)
    dense = isinstance(model, TaskModel) and isinstance(logits, Tensor) and logits.ndim > 2
    return Trace(
        model=_facts(model, backbone, weights, transform),
        spatial=tuple(image.shape[2:]),
        blocks=tuple(blocks),
        merges=tuple(merges),
        # Pooled features of a model without a head are no logits.
        logits=logits[0].float().cpu() if answers and not dense else torch.empty(0),
        classes=backbone.preprocessing.classes if model is backbone or dense else None,
        dense=logits[0].float().cpu() if dense else None,
    )


def digest(model: nn.Module) -> str:
    """Return the SHA-256 of the weights: of each name, shape and float32 values, by name."""
    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        sha.update(f"{name}{tuple(value.shape)}".encode())
        sha.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def _watch_attention(
    layer: AttentionLayer,
    strides: Sequence[Size],
    grids: _Grids,
    blocks: list[BlockTrace],
    hooks: ExitStack,
) -> None:
    """Add a ``BlockTrace`` to ``blocks`` when the layer runs."""
    stage, module = layer.stage, layer.module
    spatial: list[Size] = []

    def enter(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        spatial.append(grids[stage] if module.pattern.prefix else tuple(args[0].shape[1:-1]))

    def leave(
        attend: Attend, args: tuple[Tensor, ...], kwargs: dict[str, Any], output: Tensor
    ) -> None:
        grid = spatial.pop()
        block = BlockTrace(
            name=layer.around,
            stage=stage,
            block=layer.block,
            pattern=module.pattern,
            spatial=grid,
            stride=strides[stage],
            groups=module.pattern.groups_with_boxes(grid),
            **_inputs(attend, args, kwargs),
            error=_error(attend, args, kwargs, output),
            output=_magnitude(output),
        )
        pooled = isinstance(module.pattern, PooledQueries)
        blocks.append(by_token(block, strides, blocks) if pooled else block)

    attend = module.attend
    for handle in (
        module.register_forward_pre_hook(enter),
        attend.register_forward_hook(leave, with_kwargs=True),
    ):
        hooks.callback(handle.remove)


def _inputs(attend: Attend, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return what the weights of one call are computed from, for a single image, on the CPU."""
    bias, region = kwargs.get("bias"), kwargs.get("region")
    return {
        "q": _own(args[0][0]),
        "k": _own(args[1][0]),
        "scale": float(kwargs["scale"]),
        "bias": None if bias is None else _own((bias[0] if bias.ndim == 5 else bias).float()),
        "region": None if region is None else (_own(region[0][0]), _own(region[1][0])),
        "mask_value": attend.mask_value,
    }


def _own(tensor: Tensor) -> Tensor:
    """Return a tensor on the CPU that keeps nothing else alive: a view of more than itself
    (queries out of queries, keys and values) is copied, anything else is not.
    """
    tensor = tensor.detach().cpu()
    smaller = tensor.numel() * tensor.element_size() < tensor.untyped_storage().nbytes()
    return tensor.clone(memory_format=torch.contiguous_format) if smaller else tensor


def _magnitude(output: Tensor) -> float:
    """Return the greatest magnitude, without a copy of a tensor that may have 100 MB."""
    least, most = output.aminmax()
    return max(float(most), -float(least))


def _error(
    attend: Attend, args: tuple[Tensor, ...], kwargs: dict[str, Any], output: Tensor
) -> float:
    """Return how far ``attention @ v`` is from what ``attend`` computed, see ``capture``."""
    q, k, v = args
    _, groups, heads, queries, _ = q.shape
    row = heads * k.shape[-2]
    some = spread(groups, max(2, CHUNK // (row * queries))).to(q.device)
    picked = spread(queries, max(2, CHUNK // (row * len(some)))).to(q.device)
    bias, region = kwargs.get("bias"), kwargs.get("region")
    if bias is not None:
        bias = bias[0] if bias.ndim == 5 else bias
        own = bias.ndim == 4 and bias.shape[0] > 1
        bias = (bias[some] if own else bias)[..., picked, :]
    if region is not None:
        region = (region[0][:, some][..., picked], region[1][:, some])
    attention = probabilities(
        q[:, some][..., picked, :],
        k[:, some],
        scale=kwargs["scale"],
        bias=bias,
        region=region,
        mask_value=attend.mask_value,
    )
    expected = attention @ v[:, some].to(attention.dtype)
    return float((expected - output[:, some][..., picked, :]).abs().max())


def _watch_features(
    name: str,
    backbone: Backbone,
    blocks: list[BlockTrace],
    merges: list[MergeTrace],
    hooks: ExitStack,
) -> None:
    """Complete the last ``BlockTrace`` when the module around its attention has run."""

    def leave(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        block = blocks[-1]
        assert block.name == name, f"{name} ran around {block.name}"
        if block.pooled is not None:
            merges.append(merge_of(block, tuple(output.shape[1:-1])))
            features = spread_cells(output[0], block.pooled, block.spatial)
        else:
            grid = output[0].reshape(-1, output.shape[-1])[block.pattern.prefix :]
            features = grid.reshape(*block.spatial, -1)
        blocks[-1] = replace(block, dim=output.shape[-1], rgb=principal_colours(features))

    hooks.callback(backbone.get_submodule(name).register_forward_hook(leave).remove)


def _watch_merge(
    stage: int,
    module: nn.Module,
    strides: Sequence[Size],
    merges: list[MergeTrace],
    hooks: ExitStack,
) -> None:
    factor = tuple(s // b for s, b in zip(strides[stage], strides[stage - 1], strict=True))

    def leave(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        before, after = tuple(args[0].shape[1:-1]), tuple(output.shape[1:-1])
        share = merge_shares(module, args[0])
        merges.append(
            MergeTrace(
                stage=stage,
                before=before,
                after=after,
                factor=factor,
                overlap=module.proj.padding
                if isinstance(module, ConvMerging)
                else (0,) * len(after),
                share=None if share is None else share.cpu(),
            )
        )

    hooks.callback(module.register_forward_hook(leave).remove)


def _watch_prefix(stage: int, module: nn.Module, grids: _Grids, hooks: ExitStack) -> None:
    def enter(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        grids[stage] = tuple(args[0].shape[1:-1])

    hooks.callback(module.register_forward_pre_hook(enter).remove)


def one_image(image: Tensor, axes: int) -> Tensor:
    """Add the batch axis where it lacks."""
    if image.ndim == axes + 1:
        image = image[None]
    if image.ndim != axes + 2 or image.shape[0] != 1:
        raise UsageError(
            f"an input of shape {tuple(image.shape)}",
            f"one image: (channels, {axes} lengths), or a batch of one",
            "capture one image at a time, e.g. capture(model, images[0])",
        )
    return image


def _facts(
    model: nn.Module, backbone: Backbone, weights: str, transform: Sequence[str]
) -> ModelFacts:
    embed: Any = backbone.embed
    with_head = isinstance(model, TaskModel)
    whole = model if with_head else backbone
    return ModelFacts(
        name=backbone.name or type(backbone).__name__,
        weights=weights,
        trained=backbone.preprocessing.trained,
        sha256=digest(whole),
        parameters=sum(p.numel() for p in whole.parameters()),
        patch=backbone.config.patch,
        overlap=tuple(embed.proj.padding),
        pool="" if with_head else backbone.config.global_pool,
        transform=tuple(transform),
        mixers=_mixers(backbone),
    )


def _mixers(model: Backbone) -> tuple[str, ...]:
    """Return what moves information between a stage's tokens beside attention, in words."""
    parts = [part for stage in model.stages for part in stage.modules()]
    squeezed = any(isinstance(part, MBConv) for part in parts)
    convolved = squeezed or any(isinstance(part, DepthwiseMlp) for part in parts)
    words = ((convolved, "convolutions"), (squeezed, "squeeze-and-excitation"))
    return tuple(word for there, word in words if there)
