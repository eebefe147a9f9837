"""Models as ONNX files."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from vitrail.errors import UsageError
from vitrail.export.agreement import (
    ExportReport,
    Order,
    Runner,
    compare,
    description,
    ordered,
    output_names,
)
from vitrail.export.photos import Photos
from vitrail.export.program import AXES, export_program
from vitrail.export.safety import check_onnx, damaged
from vitrail.export.sizes import Exported
from vitrail.files import whole_or_absent
from vitrail.shapes import Size
from vitrail.weights.save import checked_target

ENDING = ".onnx"
LARGEST = 2**31 - 2**24  # bytes of weights; a protobuf file ends at 2 GiB


def export_onnx(
    model: Exported,
    path: str | Path,
    size: int | Size | None = None,
    *,
    dynamic: bool = True,
    photos: Photos = None,
) -> ExportReport:
    """Write an ONNX file, and compare it with the model before it takes its place.

    Needs the extra ``export``. Preprocessing, classes and sizes are in the file's metadata. Axes of
    any length are called batch, and depth, height and width, or length in 1-D.

    Args:
        model: a backbone, or a model of segmentation; it is not changed.
        path: the file to write, ending in ``.onnx``.
        size: lengths of the input, in samples; default those of the weights' preprocessing.
        dynamic: serve batches and sizes of the whole ``size_range``, not one input of ``size``.
        photos: files of photos to compare on; default those that scikit-image brings along.
    Raises:
        UsageError: a path or a size that cannot be, weights that are not float32 or beyond the
            format's 2 GiB, or a graph that disagrees with the model under ONNX Runtime.
    """
    target = checked_target(path, (ENDING,))
    order = ordered(model, target, size, dynamic, photos)
    with whole_or_absent(target) as temporary:
        write_onnx(order, temporary)
        return compare(order, open_onnx(temporary))


def write_onnx(order: Order, path: Path) -> None:
    """Write an ONNX file that is not yet checked.

    Raises:
        UsageError: weights that are not float32, or beyond the format's 2 GiB.
    """
    kinds = {p.dtype for p in order.model.parameters()}
    if kinds != {torch.float32}:
        raise UsageError(
            f"weights of {', '.join(sorted(map(str, kinds)))} for ONNX or OpenVINO",
            "torch.float32, in which the runtimes are compared with the model",
            "export copy.deepcopy(model).float(); OpenVINO computes in bfloat16 where it is faster",
        )
    weights = sum(p.numel() * p.element_size() for p in order.model.parameters())
    if weights > LARGEST:
        raise UsageError(
            f"{weights / 2**30:.1f} GiB of weights", "at most 2 GiB in an ONNX file",
            f"write {order.path.with_suffix('.pt2').name} instead",
        )  # fmt: skip
    # Plain products: the exporter takes torch's fused attention apart in a way that views reject.
    program = export_program(order.model, order.size, dynamic=order.dynamic, backend="reference")
    graph = _graph(order, program)
    for part in (graph.model, *graph.model.graph):
        part.metadata_props.clear()  # of the exporter's, for debugging it: a sixth of a small file
    for key, value in description(order).items():
        graph.model.metadata_props[f"vitrail.{key}"] = json.dumps(value)
    graph.save(str(path), external_data=False)


def open_onnx(path: Path) -> Runner:
    """Return what runs an ONNX file on this processor.

    Raises:
        UsageError: the file is damaged, or names other files to read weights from.
    """
    import onnxruntime

    data = path.read_bytes()
    check_onnx(path, data)
    try:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a class for each of its failures
        raise damaged(path, error) from error

    def run(x: Tensor) -> list[Tensor]:
        return [torch.from_numpy(out) for out in session.run(None, {"input": x.cpu().numpy()})]

    return run


def _graph(order: Order, program: ExportedProgram) -> Any:
    names = dict(enumerate(AXES[len(order.size)], 2))
    with warnings.catch_warnings():
        # About torch's own use of what it deprecates, and about names it gives to sizes.
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            program,
            (),
            dynamo=True,
            verbose=False,
            input_names=["input"],
            output_names=output_names(order.model),
            dynamic_shapes=({0: "batch", **names},) if order.dynamic else None,
        )
