"""Models for other runtimes: each file is run beside the model before it takes its place.

One exported graph serves a range of sizes. Windows, shifts and padding are arithmetic in the graph,
so that a map smaller than a window, or one that no window divides, needs no graph of its own. What
was exported is compared on both sides of such switches, and on photos.
"""

from vitrail.export.agreement import ExportReport
from vitrail.export.aot import export_aot
from vitrail.export.int8 import Int8Report, export_int8
from vitrail.export.onnx import export_onnx
from vitrail.export.openvino import export_openvino
from vitrail.export.program import export_program
from vitrail.export.pt2 import export_pt2
from vitrail.export.running import ENDINGS, open_export
from vitrail.export.sizes import size_range

__all__ = [
    "ENDINGS",
    "ExportReport",
    "Int8Report",
    "export_aot",
    "export_int8",
    "export_onnx",
    "export_openvino",
    "export_program",
    "export_pt2",
    "open_export",
    "size_range",
]
