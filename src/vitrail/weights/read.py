"""Read a checkpoint file by what is in it, never by what it is called, and never run its code."""

import argparse
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitrail.errors import UsageError, shown
from vitrail.models import hub
from vitrail.models.tensors import check_numbers
from vitrail.weights.beside import Beside, read_meta
from vitrail.weights.rules import State

# Where training scripts put the weights, in order of preference.
WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "module", "net", "network",
            "params", "weights", "backbone", "state_dict_ema", "model_ema", "ema", "teacher",
            "student")  # fmt: skip
_NESTED = 4  # wrappers around a state dict, at most

# The settings that training scripts store beside their weights, as containers that do nothing.
_STAND_INS: list[Any] = [
    argparse.Namespace,
    (OrderedDict, "yacs.config.CfgNode"),
    (OrderedDict, "easydict.EasyDict"),
]


@dataclass
class Content:
    """What a checkpoint file holds.

    Args:
        state: names and tensors.
        metadata: what a safetensors file says besides; None for a pickle.
        notes: what a user may want to know, such as which of several weights were taken.
        beside: what the files beside it say.
    """

    state: State
    metadata: dict[str, str] | None = None
    notes: list[str] = field(default_factory=list)
    beside: Beside = field(default_factory=Beside)


def read_file(path: str | Path) -> Content:
    """Read a file of weights, safetensors or torch pickle, on the CPU.

    Args:
        path: the file.
    Returns:
        Its tensors by name, without wrappers such as ``{"model": ...}``.
    Raises:
        UsageError: no such file, one that is no checkpoint, cut short, or a pickle with anything
            but tensors and plain values.
    """
    path = Path(path)
    if not path.exists():
        near = _neighbours(path)
        raise UsageError(
            f"{path}, which does not exist",
            "a file of weights",
            f"did you mean {near[0]}?" if near else "check the spelling of the path",
        )
    with path.open("rb") as file:
        head = file.read(16)
    if _is_safetensors(head):
        return _read_safetensors(path)
    # A torch file is a zip, or before 2020 bare pickles that start with their protocol.
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return _read_pickle(path)
    raise _no_checkpoint(path, head)


def tensors_of(loaded: Any, where: str = "the file") -> Content:
    """Find the state dict in what a pickle held.

    Args:
        loaded: a state dict, or a mapping that holds one under a usual name.
        where: what it came from, for the error.
    Raises:
        UsageError: there is none.
    """
    notes: list[str] = []
    content = loaded
    beside = read_meta(loaded.get("meta")) if isinstance(loaded, Mapping) else Beside()
    for _ in range(_NESTED):
        if not isinstance(content, Mapping):
            break
        state = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
        wrapped = [key for key in WRAPPERS if _holds_tensors(content.get(key), _NESTED, set())]
        if len(state) > 1 or (state and not wrapped):
            check_numbers(state)
            return Content({k: v.detach() for k, v in state.items()}, notes=notes, beside=beside)
        if not wrapped:
            break
        if wrapped[1:]:
            notes.append(f"weights taken from {wrapped[0]!r}, not from {', '.join(wrapped[1:])}")
        content = content[wrapped[0]]
    keys = list(loaded)[:5] if isinstance(loaded, Mapping) else [type(loaded).__name__]
    raise UsageError(
        f"{where}, which holds no tensors by name ({', '.join(map(shown, keys))})",
        "a state dict, or a mapping with one under " + ", ".join(WRAPPERS[:4]),
        "save the model's state_dict() and give that file",
    )


_DATA = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".csv", ".txt", ".json", ".npz", ".gz")
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pkl")


def _is_safetensors(head: bytes) -> bool:
    # Eight bytes of length, then a JSON object.
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def _read_safetensors(path: Path) -> Content:
    state, metadata = hub.read(path)
    if not state:
        raise _no_checkpoint(path, b"")
    return Content(state, metadata)


def _read_pickle(path: Path) -> Content:
    try:
        _check_zip(path)
        # An open file: given a name, torch would go by its ending.
        with (
            path.open("rb") as file,
            warnings.catch_warnings(),
            torch.serialization.safe_globals(_STAND_INS),
        ):
            warnings.simplefilter("ignore")  # of unusual protocols, which fail or do not
            loaded = torch.load(file, map_location="cpu", weights_only=True)
        content = tensors_of(loaded, str(path))
        _check_memory(content.state, path)
    except UsageError:
        raise
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from error
    except Exception as error:  # whatever a damaged or hostile file makes of the reader
        message = (str(error) or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"{path}, a file that torch cannot read ({message[:200]})",
            "a whole file of weights",
            "it may be cut short: fetch or copy it again",
        ) from error
    return content


def _check_zip(path: Path) -> None:
    """Refuse an archive that unpacks to far more than its size, before anything is unpacked.

    torch stores its files as they are; weights that were packed again become hardly smaller.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        whole = sum(entry.file_size for entry in archive.infolist())
        files = [name for name in archive.namelist() if not name.endswith("/")]
    # torch stores a pickle called data.pkl; a damaged file may have lost it, and has no pictures.
    if files and files[0].lower().endswith(_DATA):
        raise UsageError(
            f"{path}, a zip of data ({files[0]}) and no weights",
            "a safetensors file, or a state dict saved by torch.save",
            f"give the file of weights; to learn from these data: vitrail train {path}",
        )
    _check_growth(whole, path, "unpack to")


def _check_memory(state: State, path: Path) -> None:
    """Refuse tensors that repeat few stored numbers endlessly: a copy of them has no bound."""
    whole = sum(t.numel() * t.element_size() for t in state.values() if t.layout is torch.strided)
    _check_growth(whole, path, "are tensors of")


def _check_growth(whole: int, path: Path, what: str) -> None:
    size = path.stat().st_size
    if whole > 20 * size + (1 << 20):
        raise UsageError(
            f"{path}, whose {size:,} bytes {what} {whole:,}",
            "a file about as large as its weights",
            "it is damaged or hostile: fetch it from a source you trust",
        )


def _refused(path: Path, error: Exception) -> UsageError:
    """Explain why a pickle was not loaded: it would run code, or it is none."""
    message = str(error)
    wanted = re.search(r"GLOBAL ([\w.]+)|class (?:<class ')?([\w.]+)", message)
    if wanted is not None:
        return UsageError(
            f"{path}, a pickle that would run {(wanted[1] or wanted[2])[:200]}",
            "a pickle of tensors and plain values: others can run any code when they are loaded",
            "if you trust its source, load it there with weights_only=False and save its "
            "state_dict() alone",
        )
    return UsageError(
        f"{path}, a file that is no checkpoint, or a damaged one",
        "a safetensors file, or a state dict saved by torch.save",
        "it may be cut short: fetch or copy it again",
    )


def _no_checkpoint(path: Path, head: bytes) -> UsageError:
    guesses = {b"\xff\xd8": "a JPEG photo", b"\x89P": "a PNG image", b"<!": "a web page",
               b"<h": "a web page", b"ve": "a Git LFS pointer", b"\x1f\x8b": "a gzip archive",
               b"{\n": "JSON", b'{"': "JSON", b"\x89H": "an HDF5 file"}  # fmt: skip
    what = guesses.get(head[:2], "no checkpoint" if head else "an empty file")
    fixes = {"a Git LFS pointer": "fetch the file itself: git lfs pull",
             "a web page": "the download failed: fetch the file itself"}  # fmt: skip
    return UsageError(
        f"{path}, which is {what}",
        "a safetensors file, or a state dict saved by torch.save",
        fixes.get(what, "give the file of weights"),
    )


def _holds_tensors(value: Any, depth: int, seen: set[int]) -> bool:
    """Return whether a mapping holds tensors, itself or in wrappers; one may hold itself."""
    if depth == 0 or not isinstance(value, Mapping) or id(value) in seen:
        return False
    seen.add(id(value))
    return any(isinstance(v, Tensor) for v in value.values()) or any(
        _holds_tensors(value.get(key), depth - 1, seen) for key in WRAPPERS
    )


def _neighbours(path: Path) -> list[Path]:
    import difflib

    if not path.parent.is_dir():
        return []
    names = [p.name for p in path.parent.iterdir() if p.suffix in SUFFIXES]
    return [path.with_name(name) for name in difflib.get_close_matches(path.name, names)]
