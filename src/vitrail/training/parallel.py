"""Modes, and what DDP and FSDP2 need beyond what accelerate does."""

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from vitrail.data.dataset import Skipped
from vitrail.models import backbones_in


def shard(model: nn.Module) -> nn.Module:
    """Cut a model's parameters over all processes with FSDP2, block by block.

    ``fully_shard`` is called here rather than by accelerate, which leaves it out on CPUs.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    kind = next(model.parameters()).device.type
    mesh = init_device_mesh(kind, (torch.distributed.get_world_size(),))
    for backbone in backbones_in(model):
        for block in backbone.blocks():
            fully_shard(block.module, mesh=mesh)
    # Resharded after the forward pass too, or an evaluation would leave whole parameters behind.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    return model


def train_mode(model: nn.Module) -> None:
    """Switch to training; a BatchNorm whose parameters are frozen keeps its statistics too."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            own = list(module.parameters())
            if own and not any(parameter.requires_grad for parameter in own):
                module.eval()


def gather_reasons(skipped: Skipped, processes: int) -> dict[str, str]:
    """Images that any process could not read, with the reasons; a collective operation."""
    found = [skipped.reasons] if processes == 1 else gather_object([skipped.reasons])
    return {name: reason for reasons in found for name, reason in reasons.items()}


def whole(tensor: Tensor) -> Tensor:
    """A tensor's full value on the CPU; a collective operation of all processes."""
    tensor = tensor.detach()
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.cpu()


def cut_like(value: Tensor, pattern: Tensor) -> Tensor:
    """A full value, placed and cut over the processes as ``pattern`` is."""
    value = value.to(pattern.device, pattern.dtype)
    if isinstance(pattern, DTensor):
        return distribute_tensor(value, pattern.device_mesh, pattern.placements)
    return value


@torch.no_grad()
def fill(target: Tensor, value: Tensor) -> None:
    """Copy a full value into a tensor that may be cut over the processes."""
    target.copy_(cut_like(value, target))
