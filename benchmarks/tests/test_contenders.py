"""Who takes part in which case, at which settings."""

import torch

from benchmarks.speed.cases import case
from benchmarks.speed.contenders import contenders
from tests.support import small


def names(task: str, library: str, *, device: str = "cpu", priority: int = 1) -> set[str]:
    one = case(task, "swin_tiny", 64, 1, "bf16", device=device, priority=priority)
    found = contenders(one, small("2-D"), torch.zeros(one.shape), None)
    return {contender.setting for contender in found if contender.library == library}


def test_training_is_compiled_on_both_sides() -> None:
    assert {"eager, optimize", "compile, optimize"} < names("training", "vitrail")
    assert {"compile", "compile, plain products"} < names("training", "timm")


def test_inference_on_a_cpu_is_what_optimize_makes() -> None:
    assert names("inference", "vitrail") == {"eager", "eager, C++ attention", "optimize"}
    assert "compile, freezing" in names("inference", "torchvision")
    assert names("inference", "vitrail", device="cuda") == {"eager", "compile", "optimize"}


def test_where_timm_answers_otherwise_a_runtime_has_another_graph() -> None:
    graphs = {"timm's graph", "torchvision's graph", "timm's graph, plain products"}
    assert names("inference", "OpenVINO", priority=3) == graphs
    assert names("inference", "OpenVINO") == graphs
    assert names("inference", "OpenVINO", device="cuda") == set()
