"""Write weights: our own files, and other formats'. A file is whole or absent."""

import os
from pathlib import Path

import torch
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.files import files_of, owner_of, whole_or_absent
from vitrail.models import Backbone, TaskModel, hub
from vitrail.weights.rules import State

_PICKLES = (".pth", ".pt", ".bin", ".ckpt")
ENDINGS = (".safetensors", *_PICKLES)  # of files of weights


def save(
    model: Backbone | TaskModel, path: str | Path, *, dtype: torch.dtype | None = None
) -> None:
    """Write a model to one safetensors file, from which it can be built again.

    Args:
        model: the model.
        path: the file, ending in ``.safetensors``.
        dtype: type of the numbers in the file; default as they are. Loading casts half
            precision back to float32.
    Raises:
        UsageError: another ending, or a folder that does not exist.
    """
    path = checked_target(path, (".safetensors",))
    state = model.state_dict()
    if dtype is not None:
        # Counts stay whole numbers.
        state = {k: t.to(dtype) if t.is_floating_point() else t for k, t in state.items()}
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
    path = checked_target(path, ENDINGS)
    if path.suffix == ".safetensors":
        hub.write(path, state, metadata or {})
        return
    tensors: dict[str, Tensor] = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    # Given a path, torch.save would write the temporary file's name into the file.
    with whole_or_absent(path) as temporary, temporary.open("wb") as file:
        torch.save({wrap: tensors} if wrap else tensors, file)


def checked_target(path: str | Path, endings: tuple[str, ...]) -> Path:
    """Return a file's path, after making sure that it can be written.

    Args:
        path: the file to write later; nothing is left behind, and one that exists is not touched.
            What will stand beside it (``files_of``) may exist only where the file itself does.
        endings: how its name may end.
    Raises:
        UsageError: another ending, or a place that cannot be written.
    """
    path = Path(path)
    if not path.name.endswith(endings):
        named = path if path.stem.strip(".") else path / "model"
        raise UsageError(
            f"{path}, a file ending in {path.suffix or 'nothing'}",
            f"a file ending in {' or '.join(endings)}",
            f"write {named.with_suffix(endings[0])}",
        )
    if not os.path.isdir(path.parent):
        raise UsageError(
            f"{path}, in a folder that does not exist",
            "a file in a folder that exists",
            f"make the folder first: mkdir -p {path.parent}",
        )
    if os.path.isdir(path):  # unlike Path.is_dir, no error for a name that is too long
        raise UsageError(
            f"{path}, which is a folder",
            "the name of a file",
            f"write {path / ('model' + endings[0])}",
        )
    if owner := owner_of(path):
        raise UsageError(
            f"{path}, which belongs to {owner.name} beside it",
            "a name of its own",
            f"write {path.with_stem(path.stem + '-weights')}, or move {owner.name} away",
        )
    for second in files_of(path)[1:]:
        if os.path.isdir(second) or (os.path.exists(second) and not os.path.exists(path)):
            raise UsageError(
                f"{path}, beside {second.name}, which may not be its own",
                f"a name whose {second.suffix} is free: it is written too",
                f"write {path.with_stem(path.stem + '-export')}, or move {second.name} away",
            )
    # Rights, a read-only disk, a name too long: only an attempt shows all of them.
    trial = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        trial.open("wb").close()
        trial.unlink()
    except OSError as error:
        raise UsageError(
            f"{path}, which cannot be written ({error.strerror})",
            "a file where you may write",
            "choose another folder or name",
        ) from None
    return path
