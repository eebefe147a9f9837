"""Models in OpenVINO's format: an .xml file with the graph, and a .bin file with the weights."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitrail.export.agreement import ExportReport, Order, Runner, compare, description, ordered
from vitrail.export.onnx import write_onnx
from vitrail.export.photos import Photos
from vitrail.export.safety import damaged
from vitrail.export.sizes import Exported
from vitrail.files import whole_or_absent
from vitrail.shapes import Size
from vitrail.weights.save import checked_target

ENDING = ".xml"


def export_openvino(
    model: Exported,
    path: str | Path,
    size: int | Size | None = None,
    *,
    dynamic: bool = True,
    photos: Photos = None,
) -> ExportReport:
    """Write a model for OpenVINO, and compare it with the model before it takes its place.

    Needs the extra ``openvino``. Weights stay float32. OpenVINO computes in bfloat16 by default
    where the processor can; the comparison sets float32 (``INFERENCE_PRECISION_HINT``).

    Args:
        model: a backbone, or a model of segmentation; it is not changed.
        path: the file to write, ending in ``.xml``; a ``.bin`` of the same name goes beside it.
        size: lengths of the input, in samples; default those of the weights' preprocessing.
        dynamic: serve batches and sizes of the whole ``size_range``, not one input of ``size``.
        photos: files of photos to compare on; default those that scikit-image brings along.
    Raises:
        UsageError: a path or a size that cannot be, or a graph that disagrees with the model.
    """
    import openvino

    target = checked_target(path, (ENDING,))
    order = ordered(model, target, size, dynamic, photos)
    graph = openvino_graph(order)
    with whole_or_absent(target) as temporary:
        openvino.save_model(graph, temporary, compress_to_fp16=False)
        return compare(order, open_openvino(temporary))


def openvino_graph(order: Order) -> Any:
    """Return a model as OpenVINO's graph, with what it says of itself.

    By way of ONNX: OpenVINO's own reader of torch programs knows no lengths that change. That it
    reads the file itself, and not its converter, also means that no usage statistics are sent.
    """
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        between = Path(folder) / "model.onnx"
        write_onnx(order, between)
        graph = openvino.Core().read_model(between)
    for key, value in description(order).items():
        graph.set_rt_info(json.dumps(value), ["vitrail", key])
    return graph


def open_openvino(path: Path, *, precision: str = "f32") -> Runner:
    """Return what runs an OpenVINO model on this processor.

    Args:
        path: the ``.xml`` file.
        precision: of what is not quantised: "f32", or "bf16" where the processor can.
    Raises:
        UsageError: the file, or the one beside it, is damaged.
    """
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": precision}
    with path.open("rb") as file:
        head = file.read(5)
    if head != b"<?xml":  # OpenVINO would look for another format in it
        raise damaged(path, "no XML document")
    try:
        compiled = openvino.Core().compile_model(path, "CPU", hints)
    except (RuntimeError, UnicodeDecodeError) as error:  # the second from its message
        raise damaged(path, error) from error

    def run(x: Tensor) -> list[Tensor]:
        found = compiled(x.cpu().numpy())
        # The arrays are the runtime's own, and the next call writes into them.
        return [torch.from_numpy(found[i].copy()) for i in range(len(compiled.outputs))]

    return run
