"""Watch one forward pass of the real model: hooks and patterns, never a second copy of it."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention.reference import probabilities
from vitrail.errors import UsageError
from vitrail.explain.trace import BlockTrace, MergeTrace, ModelFacts, Trace
from vitrail.layers import Attend
from vitrail.shapes import Size

_BLOCK = re.compile(r"(stages\.(\d+)\.blocks\.(\d+))\.")
_MERGE = re.compile(r"stages\.(\d+)\.merge")


def capture(
    model: nn.Module,
    image: Float[Tensor, "channels *samples"] | Float[Tensor, "1 channels *samples"],
    *,
    weights: str = "not told",
    transform: Sequence[str] = (),
) -> Trace:
    """Run the model on one image and keep what every block attends to.

    The model runs in evaluation mode and is left as it was found; its answer is the same to the
    last bit as without the watching.

    Args:
        model: a Vitrail backbone of any rank.
        image: one input, normalised as the model expects it.
        weights: where the weights came from, for the record.
        transform: how the image was made from the photo, for the record.
    Returns:
        The trace, on the CPU.
    Raises:
        UsageError: more than one image, a wrong rank, or a model without attention to watch.
    """
    watched = {
        name: module
        for name, module in model.named_modules()
        if isinstance(getattr(module, "attend", None), Attend) and _BLOCK.match(name)
    }
    if not watched:
        raise UsageError(
            f"a model of class {type(model).__name__}",
            "a Vitrail model with attention blocks",
            "create it with vitrail.create_model, or convert it with vitrail.from_model",
        )
    patch = _patch(model)
    parameter = next(model.parameters())
    image = _one_image(image, len(patch)).to(parameter.device)
    blocks: list[BlockTrace] = []
    merges: list[MergeTrace] = []
    with _evaluating(model), ExitStack() as hooks:
        for name, module in watched.items():
            _watch_attention(name, module, blocks, hooks)
        for name, module in model.named_modules():
            if _MERGE.fullmatch(name):
                _watch_merge(name, module, merges, hooks)
        logits = model(image)
    strides = _strides(patch, merges)
    return Trace(
        model=_facts(model, weights, patch, transform),
        spatial=tuple(image.shape[2:]),
        blocks=tuple(replace(block, stride=strides[block.stage]) for block in blocks),
        merges=tuple(merges),
        logits=logits[0].float().cpu() if isinstance(logits, Tensor) else torch.empty(0),
        classes=getattr(getattr(model, "preprocessing", None), "classes", None),
    )


def digest(model: nn.Module) -> str:
    """Return the SHA-256 of the weights: of each name, shape and float32 values, by name."""
    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        sha.update(f"{name}{tuple(value.shape)}".encode())
        sha.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module's own mode comes back afterwards."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in training.items():
            module.training = mode


def _watch_attention(name: str, module: Any, blocks: list[BlockTrace], hooks: ExitStack) -> None:
    """Add a ``BlockTrace`` to ``blocks`` when ``module`` runs."""
    spatial: list[Size] = []

    def enter(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        spatial.append(tuple(args[0].shape[1:-1]))

    def leave(
        attend: Attend, args: tuple[Tensor, ...], kwargs: dict[str, Any], output: Tensor
    ) -> None:
        blocks.append(_block(name, module, spatial.pop(), attend, args, kwargs, output))

    attend = module.attend
    for handle in (
        module.register_forward_pre_hook(enter),
        attend.register_forward_hook(leave, with_kwargs=True),
    ):
        hooks.callback(handle.remove)


def _block(
    name: str,
    module: Any,
    spatial: Size,
    attend: Any,
    args: tuple[Tensor, ...],
    kwargs: dict[str, Any],
    output: Tensor,
) -> BlockTrace:
    match = _BLOCK.match(name)
    assert match is not None, name
    q, k, v = args
    bias = kwargs.get("bias")
    attention = probabilities(
        q,
        k,
        scale=kwargs["scale"],
        bias=bias,
        region=kwargs.get("region"),
        mask_value=attend.mask_value,
    )
    error = (attention @ v.to(attention.dtype) - output).abs().max()
    return BlockTrace(
        name=match[1],
        stage=int(match[2]),
        block=int(match[3]),
        pattern=module.pattern,
        spatial=spatial,
        stride=(),
        groups=module.pattern.groups(spatial),
        attention=attention[0].cpu(),
        bias=None if bias is None else bias.detach().float().cpu(),
        error=float(error),
    )


def _watch_merge(name: str, module: Any, merges: list[MergeTrace], hooks: ExitStack) -> None:
    match = _MERGE.fullmatch(name)
    assert match is not None, name

    def leave(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        before, after = tuple(args[0].shape[1:-1]), tuple(output.shape[1:-1])
        merges.append(
            MergeTrace(stage=int(match[1]), before=before, after=after, factor=module.factor)
        )

    hooks.callback(module.register_forward_hook(leave).remove)


def _strides(patch: Size, merges: Sequence[MergeTrace]) -> list[Size]:
    """Return the input samples per token of every stage."""
    strides = [patch]
    for step in sorted(merges, key=lambda step: step.stage):
        strides.append(tuple(s * f for s, f in zip(strides[-1], step.factor, strict=True)))
    return strides


def _patch(model: Any) -> Size:
    return tuple(model.embed.patch)


def _overlap(model: Any) -> Size:
    kernel, patch = model.embed.proj.kernel_size, model.embed.patch
    return tuple((k - p) // 2 for k, p in zip(kernel, patch, strict=True))


def _one_image(image: Tensor, axes: int) -> Tensor:
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


def _facts(model: nn.Module, weights: str, patch: Size, transform: Sequence[str]) -> ModelFacts:
    return ModelFacts(
        name=getattr(model, "name", None) or type(model).__name__,
        weights=weights,
        trained=bool(getattr(getattr(model, "preprocessing", None), "trained", False)),
        sha256=digest(model),
        parameters=sum(p.numel() for p in model.parameters()),
        patch=patch,
        overlap=_overlap(model),
        transform=tuple(transform),
    )
