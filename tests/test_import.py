"""`import vitrail` is light: no extra, no compiler, and no torch until a model is made."""

import subprocess
import sys
from graphlib import TopologicalSorter

import grimp

EXTRAS = [
    *("torchvision", "accelerate", "tensorboard", "torchmetrics"),
    *("onnx", "onnxscript", "onnxruntime"),
    *("timm", "transformers", "skimage", "scipy", "matplotlib", "pandas"),
    *("starlette", "uvicorn", "anywidget"),
    *("torch._dynamo", "torch._inductor"),
]


def imported_by(statement: str) -> set[str]:
    """Return the modules a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_importing_vitrail_brings_no_extra_that_torch_does_not_bring() -> None:
    ours = imported_by("import torch, vitrail; vitrail.create_model; vitrail.UsageError")
    assert not (ours & set(EXTRAS)) - imported_by("import torch")


def test_creating_a_model_brings_no_extra_that_torch_does_not_bring() -> None:
    ours = imported_by("import vitrail; vitrail.create_model('swin_nano')")
    assert not (ours & set(EXTRAS)) - imported_by("import torch")


def test_help_does_not_import_torch() -> None:
    run = "import contextlib, io; from vitrail.cli.main import run"
    ours = imported_by(f"{run}\nwith contextlib.redirect_stdout(io.StringIO()): run(['--help'])")
    assert "vitrail.cli.main" in ours
    assert not {"torch", "numpy", "PIL"} & ours


def test_no_module_imports_itself_through_others() -> None:
    graph = grimp.build_graph("vitrail", cache_dir=None, exclude_type_checking_imports=True)
    assert len(graph.modules) > 200
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # names the circle, if there is one
