"""Models compiled ahead of time by torch's compiler (AOTInductor), which run without Python's."""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import torch

from vitrail.errors import UsageError
from vitrail.export.agreement import ExportReport, Runner, compare, description, ordered, outputs
from vitrail.export.photos import Photos
from vitrail.export.program import export_program
from vitrail.export.pt2 import COMPILED
from vitrail.export.safety import damaged
from vitrail.export.sizes import Exported
from vitrail.files import whole_or_absent
from vitrail.shapes import Size
from vitrail.weights.save import checked_target


def export_aot(
    model: Exported,
    path: str | Path,
    size: int | Size | None = None,
    *,
    dynamic: bool = True,
    photos: Photos = None,
) -> ExportReport:
    """Compile a model into a package for this kind of machine, and compare it with the model.

    The package holds machine code for the device that the model is on, and for this processor's
    instructions. ``torch._inductor.aoti_load_package(path)`` opens it, as does C++
    (``torch::inductor::AOTIModelPackageLoader``). Both need contiguous inputs and do not check it:
    a photo that torchvision transformed is channels-last in memory, and gets a wrong output.
    ``open_export`` sees to it. Opening a package executes its machine code, so open only
    what you or people you trust have written.

    Args:
        model: a backbone, or a model of segmentation; it is not changed.
        path: the file to write, ending in ``.aoti.pt2``.
        size: lengths of the input, in samples; default those of the weights' preprocessing.
        dynamic: serve batches and sizes of the whole ``size_range``, not one input of ``size``.
        photos: files of photos to compare on; default those that scikit-image brings along.
    Raises:
        UsageError: a path or a size that cannot be, no compiler on this machine, or a package that
            disagrees with the model.
    """
    target = checked_target(path, (COMPILED,))
    _check_compiler()
    order = ordered(model, target, size, dynamic, photos)
    program = export_program(model, size, dynamic=dynamic)
    about = {f"vitrail.{key}": json.dumps(value) for key, value in description(order).items()}
    with whole_or_absent(target) as temporary:
        torch._inductor.aoti_compile_and_package(
            program,
            package_path=str(temporary),
            inductor_configs={"aot_inductor.metadata": about},
        )
        return compare(order, open_aot(temporary))


def open_aot(path: Path) -> Runner:
    """Return what runs a compiled package, whose machine code is executed.

    Raises:
        UsageError: the file is damaged, or was compiled for another machine.
    """
    try:
        compiled = torch._inductor.aoti_load_package(str(path))
    except Exception as error:  # whatever torch meets in a damaged file
        raise damaged(path, error) from error
    # The machine code takes the strides of a contiguous input for granted, and does not look.
    return lambda x: outputs(compiled(x.contiguous()))


def _check_compiler() -> None:
    # Torch's compiler takes $CXX, with options, and nothing else where it is set.
    named = os.environ.get("CXX", {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++"))
    try:
        program = shutil.which(shlex.split(named)[0])
    except (ValueError, IndexError):  # a quotation that does not end; blanks
        program = None
    if program is None:
        raise UsageError(
            f"a model to compile, and no C++ compiler ({named!r} is none on the PATH)",
            "g++, or another one named by the variable CXX",
            "install one (apt install g++), set CXX to one or unset it, or write a .pt2 or .onnx "
            "file, which need none",
        )
