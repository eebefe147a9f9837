"""Run a model so that gradients of its inside can be taken, and leave it as it was found."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.explain.capture import one_image
from vitrail.explain.subject import subject
from vitrail.models import Backbone

# Inputs of more numbers than this (about 600 x 600 pixels) are recomputed block by block in the
# backward pass: slower by a forward pass, but only one block's insides are in memory at a time.
LARGE = 2**20


@contextmanager
def differentiable(model: nn.Module, image: Float[Tensor, "..."]) -> Iterator[None]:
    """Evaluation mode with gradients from the input on; all comes back as it was afterwards.

    Weights are frozen meanwhile: their gradients, which are not used, would keep every layer's
    input in memory. Of a large image, hooks within a block see each pass twice: forwards, and
    the same again while gradients are computed.
    """
    training = {module: module.training for module in model.modules()}
    stages: list[Any] = [module for module in model.modules() if hasattr(module, "checkpointing")]
    recomputing = [stage.checkpointing for stage in stages]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in learning:
        parameter.requires_grad_(False)
    for stage in stages:
        stage.checkpointing = image.numel() > LARGE
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter in learning:
            parameter.requires_grad_()
        for module, mode in training.items():
            module.training = mode
        for stage, before in zip(stages, recomputing, strict=True):
            stage.checkpointing = before


def probe(model: nn.Module, image: Float[Tensor, "..."]) -> Float[Tensor, "1 channels *samples"]:
    """Return the image as a batch from which gradients flow, also where weights are frozen."""
    model, backbone = subject(model)
    weight = next(model.parameters())
    image = one_image(image, backbone.config.axes).detach()
    return image.to(weight.device, weight.dtype).clone().requires_grad_()


def stage_number(model: Backbone, stage: int) -> int:
    """Return the number of a stage from 0 up, of one that may count from the end."""
    count = len(model.stages)
    if not -count <= stage < count:
        raise UsageError(f"stage={stage}", f"{-count} to {count - 1}", f"use stage={count - 1}")
    return stage % count
