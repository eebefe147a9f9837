"""Check tensors before they become a model's weights, and copy all of them or none."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vitrail.errors import UsageError

_DEQUANTISE = "save the state_dict() of the model in floating point, before it is quantised"


def check_dense(key: str, tensor: Tensor) -> None:
    """Refuse a tensor that cannot be a weight here.

    Raises:
        UsageError: integers, booleans, complex or quantised numbers, a sparse or nested tensor.
    """
    _check_layout(key, tensor)
    if key.endswith("num_batches_tracked") and tensor.dtype is torch.int64:
        return  # of a batch norm: a count
    if tensor.is_quantized or not tensor.is_floating_point():
        kind = "complex numbers" if tensor.is_complex() else "integers"
        kind = "booleans" if tensor.dtype is torch.bool else kind
        raise UsageError(
            f"{key}, a tensor of {'quantised numbers' if tensor.is_quantized else kind} "
            f"({tensor.dtype})",
            "floating-point numbers",
            _DEQUANTISE,
        )


def _check_layout(key: str, tensor: Tensor) -> None:
    if tensor.is_nested or tensor.layout is not torch.strided:
        raise UsageError(
            f"{key}, a {'nested' if tensor.is_nested else 'sparse'} tensor ({tensor.layout})",
            "dense tensors",
            "make it dense before it is saved: tensor.to_dense()",
        )


def check_numbers(state: Mapping[str, Tensor]) -> None:
    """Refuse tensors that nothing can be read from: nested, sparse, or on the meta device.

    Raises:
        UsageError: there is one.
    """
    for key, tensor in state.items():
        _check_layout(key, tensor)
    empty = [key for key, tensor in state.items() if tensor.is_meta]
    if empty:
        raise UsageError(
            f"{len(empty)} tensors without numbers, on the meta device ({empty[0]}, ...)",
            "tensors with numbers",
            "take the state dict of the model that has them, or its file",
        )


def count_not_finite(tensor: Tensor) -> int:
    """Return how many numbers of a tensor are NaN or infinite."""
    wide = tensor if tensor.dtype.itemsize >= 2 else tensor.float()
    return 0 if wide.isfinite().all() else int((~wide.isfinite()).sum())


def copy_all(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy tensors to the parameters of their names: all of them or, after an error, none.

    Parameters without memory (on the meta device) get a tensor of their own.

    Args:
        module: the module.
        state: names and tensors; each becomes of its parameter's type.
    Raises:
        UsageError: a name that the module does not have, or a tensor that cannot be copied.
    """
    parameters = module.state_dict(keep_vars=True)
    own = {p.untyped_storage().data_ptr() for p in parameters.values() if not p.is_meta}
    ready = {key: _ready(key, tensor, parameters.get(key), own) for key, tensor in state.items()}
    placed = {key: tensor for key, tensor in ready.items() if parameters[key].is_meta}
    if placed:
        module.load_state_dict(placed, strict=False, assign=True)
    with torch.no_grad():
        for key, tensor in ready.items():
            if key not in placed:
                parameters[key].copy_(tensor)


def _ready(key: str, tensor: Tensor, parameter: Tensor | None, own: set[int]) -> Tensor:
    """Return a tensor whose copy to the parameter cannot fail any more."""
    check_dense(key, tensor)
    if parameter is None or tensor.shape != parameter.shape:
        wanted = "no such weight" if parameter is None else f"{tuple(parameter.shape)}"
        raise UsageError(
            f"{key} of shape {tuple(tensor.shape)}, where the model has {wanted}",
            "tensors of the model's own shapes",
            "give the weights of a model with the same structure",
        )
    device = tensor.device if parameter.is_meta else parameter.device
    try:
        made = tensor.detach().to(device, parameter.dtype)
        # Not the memory of the source, nor of a parameter that is about to be written.
        shared = parameter.is_meta and made.data_ptr() == tensor.data_ptr()
        return made.clone() if shared or made.untyped_storage().data_ptr() in own else made
    except (RuntimeError, TypeError) as error:
        raise UsageError(
            f"{key}, which cannot be copied ({str(error).splitlines()[0]})",
            "plain tensors of floating-point numbers",
            "save the model's state_dict() with plain tensors",
        ) from error
