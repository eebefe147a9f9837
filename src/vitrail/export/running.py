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


def open_export(path: str | Path, *, trust_code: bool = False) -> Runner:
    """Return a function that runs an exported file: an input to a list of outputs, as tensors.

    Opening executes nothing that a file brings along, with one exception: a package of AOTInductor
    is machine code. A ``.pt2`` program is checked before torch reads it, since torch would unpickle
    objects, evaluate expressions and call functions that it names.

    Args:
        path: a file of ``vitrail export``.
        trust_code: you trust where the file comes from: open ``.aoti.pt2`` packages, and ``.pt2``
            programs unchecked.
    Raises:
        UsageError: no such file, another ending, a damaged file, or code that is not trusted.
    """
    path = Path(path)
    opener = next((o for ending, o in ENDINGS.items() if path.name.endswith(ending)), None)
    if opener is None or not path.is_file():
        raise UsageError(
            f"{path}, which is no exported file" if opener is None else f"{path}: no such file",
            f"a file ending in {', '.join(ENDINGS)}",
            f"write one first: vitrail export MODEL -o {path.stem}.onnx",
        )
    if opener is open_pt2:
        return open_pt2(path, trust_code=trust_code)
    if opener is open_aot and not trust_code:
        raise UsageError(
            f"{path}, a package of machine code, which is executed when it is opened",
            f"{', '.join(list(ENDINGS)[1:])}, or a package that you trust",
            "if you or people you trust wrote it: open_export(path, trust_code=True)",
        )
    return opener(path)
