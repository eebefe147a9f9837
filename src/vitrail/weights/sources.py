"""Where weights come from: a file, a state dict, the package itself, or the hub."""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from vitrail.errors import UsageError
from vitrail.models import CATALOG
from vitrail.models.download import download
from vitrail.weights import beside
from vitrail.weights.read import SUFFIXES, Content, read_file, tensors_of
from vitrail.weights.shipped import is_shipped, shipped_path

Source = str | Path | Mapping[str, Any]

# What repositories and folders call their weights, the safe format first; an index names parts.
_NAMES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
          "pytorch_model.bin.index.json")  # fmt: skip
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def read_source(source: Source) -> Content:
    """Read weights from wherever they are.

    Args:
        source: the path of a file, or of a folder as ``save_pretrained`` writes it; a state dict;
            ``"bundled"`` or ``"bundled:NAME"``, weights that come with the package; or a hub
            repository ``owner/name``, optionally ``owner/name@revision``.
    Returns:
        Tensors by name, and what the file and those beside it say.
    Raises:
        UsageError: nothing there, nothing readable there, or the hub cannot be reached.
    """
    if isinstance(source, Mapping):
        return tensors_of(source, "the mapping")
    if isinstance(source, Path):
        return _read_path(source)
    if is_shipped(source):
        return read_file(shipped_path(source))
    path = Path(source).expanduser()
    if os.path.exists(path) or path.suffix in SUFFIXES or source.startswith(("/", ".", "~")):
        return _read_path(path)
    if _HUB_ID.fullmatch(source):
        return _read_parts(*fetch(source))
    if source in CATALOG:
        raise UsageError(
            f"weights {source!r}, which is the name of a model",
            "a file, a folder, a state dict, 'bundled', or a hub repository owner/name",
            f"name both: create_model({source!r}, weights=...), or --model {source} --weights ...",
        )
    raise UsageError(
        f"weights {source!r}",
        "a file, a folder, a state dict, 'bundled', or a hub repository owner/name",
        "give the path of a file, or weights='bundled' with swin_nano",
    )


def files_read(source: Source) -> list[Path]:
    """Return the files of this machine that a source is read from; none of a hub repository."""
    if isinstance(source, Mapping):
        return []
    if is_shipped(source):
        return [shipped_path(str(source))]
    path = Path(source).expanduser()
    return sorted(path.iterdir()) if path.is_dir() else [path]


def _read_path(path: Path) -> Content:
    if not path.is_dir():
        return read_file(path)
    there = {name: path / name for name in (*_NAMES, *beside.FILES) if (path / name).is_file()}
    name = next((name for name in _NAMES if name in there), None)
    if name is None:
        inside = sorted(p.name for p in path.iterdir() if p.suffix in SUFFIXES)
        raise UsageError(
            f"{path}, a folder",
            f"a file of weights, or a folder with one called {' or '.join(_NAMES[::2])}",
            f"give {path / inside[0]}" if inside else "name the checkpoint file",
        )
    if name.endswith(".json"):
        parts = [path / part for part in _parts_of(there[name])]
    else:
        parts = [there[name]]
    return _read_parts(parts, {name: there[name] for name in beside.FILES if name in there})


def _read_parts(parts: list[Path], others: Mapping[str, Path]) -> Content:
    """Read weights in one or several files, and what stands beside them."""
    content = read_file(parts[0])
    for part in parts[1:]:
        content.state |= read_file(part).state
    if others:
        content.beside = beside.read_beside(others)
    return content


def _parts_of(index: Path) -> list[str]:
    """Return the files that an index names: beside it, and nowhere else."""
    try:
        named = json.loads(index.read_bytes())["weight_map"].values()
        parts = sorted(set(named))
        wrong = [part for part in parts if not re.fullmatch(r"[\w-][\w.-]{0,200}", part)]
        if not parts or wrong:
            raise ValueError(f"file {wrong[0]!r}" if wrong else "no files")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{index}, an index that cannot be used ({str(error)[:200]})",
            "an index of files that lie beside it",
            "fetch or copy it again",
        ) from error
    return parts


def fetch(repository: str) -> tuple[list[Path], dict[str, Path]]:
    """Return the local copies of a hub repository's weights, and of what stands beside them.

    Args:
        repository: ``owner/name`` or ``owner/name@revision``.
    Raises:
        UsageError: no such repository or file, no access, or no network and no copy.
    """
    name, _, revision = repository.partition("@")

    def copy_of(file: str) -> Path | None:
        return download(name, file, revision or None)

    for file in _NAMES:
        found = copy_of(file)
        if found is None:
            continue
        parts = [found]
        if file.endswith(".json"):
            parts = [path for part in _parts_of(found) if (path := copy_of(part)) is not None]
        others: dict[str, Path] = {}
        # Weights can be read without the files beside them, as where the hub is out of reach.
        with suppress(UsageError):
            for other in beside.FILES:
                if path := copy_of(other):
                    others[other] = path
        return parts, others
    raise UsageError(
        f"hub repository {name}, which has none of {', '.join(_NAMES)}",
        "a repository with weights of one model",
        "download the file you want and give its path",
    )
