"""Write weights: our own files, and other formats'. A file is whole or absent."""

import os
from pathlib import Path

import torch
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.models import Backbone, hub
from vitrail.weights.rules import State

_PICKLES = (".pth", ".pt", ".bin", ".ckpt")


def save(model: Backbone, path: str | Path, *, dtype: torch.dtype | None = None) -> None:
    """Write a model to one safetensors file, from which it can be built again.

    Args:
        model: the model.
        path: the file, ending in ``.safetensors``.
        dtype: type of the numbers in the file; default as they are. Loading casts half
            precision back to float32.
    Raises:
        UsageError: another ending, or a folder that does not exist.
    """
    path = _checked(path, (".safetensors",))
    state = model.state_dict()
    if dtype is not None:
        state = {key: tensor.to(dtype) for key, tensor in state.items()}
    hub.write(path, state, hub.metadata(model))


def save_state(
    state: State, path: str | Path, *, metadata: dict[str, str] | None = None,
    wrap: str | None = None,
) -> None:  # fmt: skip
    """Write a state dict to a file: safetensors, or a pickle that loads with ``weights_only``.

    Args:
        state: names and tensors.
        path: the file; its ending says which kind it is.
        metadata: what a safetensors file says besides.
        wrap: key under which a pickle holds the state dict, where its readers look for one.
    Raises:
        UsageError: another ending, or a folder that does not exist.
    """
    path = _checked(path, (".safetensors", *_PICKLES))
    if path.suffix == ".safetensors":
        hub.write(path, state, metadata or {})
        return
    tensors: dict[str, Tensor] = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save({wrap: tensors} if wrap else tensors, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _checked(path: str | Path, suffixes: tuple[str, ...]) -> Path:
    path = Path(path)
    if path.suffix not in suffixes:
        raise UsageError(
            f"{path}, a file ending in {path.suffix or 'nothing'}",
            f"a file ending in {' or '.join(suffixes)}",
            f"write {path.with_suffix(suffixes[0])}",
        )
    if not path.parent.is_dir():
        raise UsageError(
            f"{path}, in a folder that does not exist",
            "a file in a folder that exists",
            f"make the folder first: mkdir -p {path.parent}",
        )
    return path
