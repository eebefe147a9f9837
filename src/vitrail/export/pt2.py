"""torch.export programs as files."""

import io
import json
import logging
from pathlib import Path

import torch

from vitrail.errors import UsageError
from vitrail.export.agreement import ExportReport, Runner, compare, description, ordered, outputs
from vitrail.export.photos import Photos
from vitrail.export.program import export_program
from vitrail.export.safety import check_program, damaged
from vitrail.export.sizes import Exported
from vitrail.files import whole_or_absent
from vitrail.shapes import Size
from vitrail.weights.save import checked_target

ENDING = ".pt2"
COMPILED = ".aoti.pt2"  # of what torch's compiler made of a program


def export_pt2(
    model: Exported,
    path: str | Path,
    size: int | Size | None = None,
    *,
    dynamic: bool = True,
    photos: Photos = None,
) -> ExportReport:
    """Write a torch.export program, and compare it with the model before it takes its place.

    Args:
        model: a backbone, or a model of segmentation; it is not changed.
        path: the file to write, ending in ``.pt2``.
        size: lengths of the input, in samples; default those of the weights' preprocessing.
        dynamic: serve batches and sizes of the whole ``size_range``, not one input of ``size``.
        photos: files of photos to compare on; default those that scikit-image brings along.
    Raises:
        UsageError: a path or a size that cannot be, or a program that disagrees with the model.
    """
    target = checked_target(path, (ENDING,))
    if target.name.endswith(COMPILED):
        raise UsageError(
            f"{target}, whose name says that it is compiled",
            f"a file ending in {ENDING}, but not in {COMPILED}",
            f"write {target.name.removesuffix(COMPILED)}{ENDING}, or use export_aot",
        )
    order = ordered(model, target, size, dynamic, photos)
    program = export_program(model, size, dynamic=dynamic)
    with whole_or_absent(target) as temporary:
        about = json.dumps(description(order))
        torch.export.save(program, temporary, extra_files={"vitrail.json": about})
        return compare(order, open_pt2(temporary))


def open_pt2(path: Path, *, trust_code: bool = False) -> Runner:
    """Return what runs a torch.export program.

    Args:
        path: the file.
        trust_code: let torch execute whatever the file holds.
    Raises:
        UsageError: the file is damaged, or would execute code and is not trusted.
    """
    data = path.read_bytes()
    if not trust_code:
        check_program(path, data)
    log = logging.getLogger("torch.export")
    before = log.disabled
    log.disabled = True  # of failures, whole tracebacks
    try:
        module = torch.export.load(io.BytesIO(data)).module()
    except Exception as error:  # whatever torch meets in a damaged file
        raise damaged(path, error) from error
    finally:
        log.disabled = before
    return lambda x: outputs(module(x))
