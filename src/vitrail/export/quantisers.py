"""The runtimes' own quantisers: a float32 file and inputs to calibrate with, to an 8-bit file."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_WITH_WEIGHTS = ["MatMul", "Gemm", "Conv"]


def quantise_onnx(source: Path, target: Path, batches: Sequence[np.ndarray]) -> None:
    """Quantise linear layers and convolutions by ONNX Runtime: weights by channel.

    Args:
        source: the float32 file.
        target: the 8-bit file to write.
        batches: inputs to take the activations' ranges from.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> Any:
            batch = next(self.left, None)
            return None if batch is None else {"input": batch}

    graph = onnx.load(source, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    # Products of attention have no weights, and masked scores no finite range.
    layers = [n.name for n in graph.node if n.op_type in _WITH_WEIGHTS and n.input[1] in weights]
    with _quiet():
        quantize_static(
            source,
            target,
            Batches(),
            nodes_to_quantize=layers,
            op_types_to_quantize=_WITH_WEIGHTS,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,  # with int8 weights: one instruction (VNNI) on x86
        )


def quantise_openvino(source: Path, target: Path, batches: Sequence[np.ndarray]) -> None:
    """Quantise a model by NNCF, with its settings for transformers but for smoothing.

    Args:
        source: the float32 file.
        target: the 8-bit file to write.
        batches: inputs to take the activations' ranges from.
    """
    import openvino

    nncf = _nncf()
    graph = openvino.Core().read_model(source)
    with _quiet(), np.errstate(over="ignore"):  # masked scores overflow a mean that is not used
        quantised = nncf.quantize(
            graph,
            nncf.Dataset([image[None] for batch in batches for image in batch]),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=sum(map(len, batches)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # Not "smooth": it took swin_nano's outputs 98 % of their norm away, without, 9 %.
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=-1.0)
            ),
        )
    openvino.save_model(quantised, target, compress_to_fp16=False)


def _nncf() -> Any:
    """Import NNCF without its usage statistics, which it would send unasked."""
    before = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = "1"
    try:
        import nncf
    finally:
        if before is None:
            del os.environ["NNCF_CI"]
        else:
            os.environ["NNCF_CI"] = before
    return nncf


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep advice out of the log, and progress out of stdout, which is for results."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        logging.disable(before)
