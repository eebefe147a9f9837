"""Run an exported file, whatever its format."""

from collections.abc import Callable
from pathlib import Path

from vitrail.errors import UsageError
from vitrail.export.agreement import Runner
from vitrail.export.aot import open_aot
from vitrail.export.onnx import open_onnx
from vitrail.export.openvino import open_openvino
from vitrail.export.pt2 import open_pt2

# The longer ending first: a compiled package ends in both.
ENDINGS: dict[str, Callable[[Path], Runner]] = {
    ".aoti.pt2": open_aot,
    ".pt2": open_pt2,
    ".onnx": open_onnx,
    ".xml": open_openvino,
}


def open_export(path: str | Path) -> Runner:
    """Return a function that runs an exported file: an input to a list of outputs, as tensors.

    Args:
        path: a file of ``vitrail export``.
    Raises:
        UsageError: no such file, or another ending.
    """
    path = Path(path)
    opener = next((o for ending, o in ENDINGS.items() if path.name.endswith(ending)), None)
    if opener is None or not path.is_file():
        raise UsageError(
            f"{path}, which is no exported file" if opener is None else f"{path}: no such file",
            f"a file ending in {', '.join(ENDINGS)}",
            f"write one first: vitrail export MODEL -o {path.stem}.onnx",
        )
    return opener(path)
