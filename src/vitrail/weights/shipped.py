"""The weights that come with the package: ``"bundled"``, or one of them as ``"bundled:NAME"``.

Each is a safetensors file with a model card of the same stem beside it. What a list of them shows
is read from the files themselves.
"""

import json
import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from safetensors import safe_open

from vitrail.errors import UsageError

HOME = Path(str(resources.files("vitrail.weights") / "bundled"))
DEFAULT = "cifar10"  # which "bundled" stands for
CARD = "card"
"""Key of a file's metadata: JSON with the fields ``data``, ``figure`` and ``licence``."""
_WORD = "bundled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    """One of them.

    Args:
        weights: how it is called: ``"bundled:NAME"``.
        task: what the model does.
        model: the name of its backbone.
        classes: their names.
        parameters: how many numbers the file has.
        data: what it learnt from.
        figure: what it reaches on data it has not learnt from.
        licence: of the weights.
    """

    weights: str
    task: str
    model: str
    classes: tuple[str, ...]
    parameters: int
    data: str
    figure: str
    licence: str


def is_shipped(source: object) -> bool:
    """Whether a source of weights says that they come with the package."""
    return isinstance(source, str) and source.partition(":")[0] == _WORD


def shipped_path(source: str = _WORD) -> Path:
    """Return the file of weights that come with the package.

    Args:
        source: ``"bundled"`` or ``"bundled:NAME"``.
    Raises:
        UsageError: there are none of this name, or this installation has none.
    """
    name = source.partition(":")[2] or DEFAULT
    there = _names()
    if name in there:
        return HOME / f"{name}.safetensors"
    if name == DEFAULT:
        raise UsageError(
            f"weights {source!r}, but {HOME / name}.safetensors is missing",
            "an installation with its weights",
            "reinstall vitrail, or give a file of weights",
        )
    raise UsageError(
        f"weights {source!r}",
        "bundled, or " + ", ".join(f"{_WORD}:{name}" for name in there),
        "choose one of those; `vitrail list --bundled` shows them",
    )


def shipped_model(source: str) -> str:
    """Return the name of the backbone that weights of the package are of; see ``shipped_path``."""
    with safe_open(shipped_path(source), framework="pt") as file:
        return file.metadata()["name"]


def shipped() -> list[Shipped]:
    """Return what comes with the package, by name."""
    return [_described(name) for name in _names()]


def _names() -> list[str]:
    return sorted(path.stem for path in HOME.glob("*.safetensors"))


def _described(name: str) -> Shipped:
    with safe_open(HOME / f"{name}.safetensors", framework="pt") as file:
        meta = file.metadata()
        sizes = [math.prod(file.get_slice(key).get_shape()) for key in file.keys()]  # noqa: SIM118
    task = json.loads(meta["task"])["name"] if "task" in meta else "classify"
    return Shipped(
        weights=f"{_WORD}:{name}",
        task=task,
        model=meta["name"],
        classes=tuple(json.loads(meta["preprocessing"])["classes"]),
        parameters=sum(sizes),
        **json.loads(meta[CARD]),
    )
