"""Who takes part in a case, and every setting of theirs that might be their best."""

import copy
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.speed import peers
from benchmarks.speed.cases import Case
from benchmarks.speed.peers import Absent
from vitrail.layers import Attend
from vitrail.models import Backbone
from vitrail.optimization import optimize

FREEZING: dict[str, Any] = {"freezing": True}


@dataclass(slots=True)
class Running:
    """A contender that is ready.

    Args:
        call: what is timed.
        answer: what must agree with the reference: outputs, or loss and gradients.
        keeps: whether torch's allocator sees its memory.
        times: how many times a call computes what the case is about.
    """

    call: Callable[[], Any]
    answer: Callable[[], list[Tensor]]
    keeps: bool = True
    times: int = 1


@dataclass(frozen=True, slots=True)
class Contender:
    """A library at one of its settings.

    Args:
        library: whose implementation.
        setting: how it is run.
        build: makes it ready; raises ``Absent`` where it cannot be.
    """

    library: str
    setting: str
    build: Callable[[], Running]

    @property
    def name(self) -> str:
        """Library and setting in one word."""
        return f"{self.library} ({self.setting})"


def contenders(case: Case, model: Backbone, x: Tensor, focal: Path | None) -> list[Contender]:
    """Return everyone who might take part in a case of whole models.

    Args:
        case: what is measured.
        model: ours, in float32, on the device.
        x: the input, in float32.
        focal: a checkout of the official Focal Transformer, if there is one.
    """
    run = partial(training if case.task == "training" else inference, case, x)
    found = list(_own(case, model, x, run))
    builds = {**peers.LIBRARIES, "official": partial(peers.official_focal, checkout=focal)}
    for library, build in builds.items():
        found += _peer(case, library, _once(partial(build, model, case), x.device), run)
    if case.task == "inference" and case.device == "cpu":
        found += _runtimes(case, model, x)
    return found


def _own(case: Case, model: Backbone, x: Tensor, run: Callable[..., Running]) -> list[Contender]:
    # For inference on a CPU torch.compile is none of our settings: wherever both were timed, what
    # `optimize` makes was 1.3 times faster and more.
    compiles = case.task == "training" or (case.every_setting and case.device != "cpu")
    settings = ["eager", "compile"] if compiles else ["eager"]
    found = [Contender("vitrail", s, partial(run, _given(model), s)) for s in settings]
    if case.device == "cpu":
        built = _once(lambda: in_cpp(model), None)
        found += [
            Contender("vitrail", f"{s}, C++ attention", partial(run, built, s)) for s in settings
        ]
    if case.task == "training" and case.device == "cpu":
        fast = _once(lambda: optimize(model, x, training=True), None)
        found += [Contender("vitrail", f"{s}, optimize", partial(run, fast, s)) for s in settings]
    if case.task == "inference":
        found.append(Contender("vitrail", "optimize", partial(optimized, case, model, x)))
    return found


def _peer(
    case: Case, library: str, build: Callable[[], nn.Module], run: Callable[..., Running]
) -> list[Contender]:
    last = "compile" if case.task == "training" or case.device == "cuda" else "compile, freezing"
    settings = ["eager", *({"compile", last} if case.every_setting else {last})]
    found = [Contender(library, s, partial(run, build, s)) for s in sorted(settings, reverse=True)]
    if library == "timm" and case.device == "cpu":
        two_ways = _once(lambda: peers.plain(build()), None)
        for setting in ("eager", last) if case.every_setting else (last,):
            found.append(
                Contender(library, f"{setting}, plain products", partial(run, two_ways, setting))
            )
    return found


def _runtimes(case: Case, model: Backbone, x: Tensor) -> Iterator[Contender]:
    graphs: dict[str, Callable[[], nn.Module]] = {
        "timm's graph": lambda: peers.timm(model, case),
        "torchvision's graph": lambda: peers.torchvision(model, case),
        "timm's graph, plain products": lambda: peers.plain(peers.timm(model, case)),
    }
    for library, build in (("OpenVINO", openvino), ("ONNX Runtime", onnxruntime)):
        # At some sizes timm's answer is another one; torchvision has no PVT.
        for setting, graph in graphs.items():
            yield Contender(library, setting, partial(build, case, x, graph))


def _given(model: nn.Module) -> Callable[[], nn.Module]:
    return lambda: model


def _once(build: Callable[[], nn.Module], device: torch.device | None) -> Callable[[], nn.Module]:
    """Build a model once for all its settings."""
    built: list[nn.Module] = []

    def get() -> nn.Module:
        if not built:
            made = build()
            built.append(made if device is None else made.to(device))
        return built[0]

    return get


def compiled(model: nn.Module, setting: str) -> Any:
    """Return a model as a setting runs it."""
    if setting == "eager":
        return model
    options = FREEZING if setting == "compile, freezing" else None
    return torch.compile(model, dynamic=False, options=options)


def inference(case: Case, x: Tensor, build: Callable[[], nn.Module], setting: str) -> Running:
    """Prepare forward passes: weights and input in the case's type, in evaluation mode."""
    model = compiled(copy.deepcopy(build()).to(case.torch_dtype).eval(), setting)
    x = x.to(case.torch_dtype)

    def call() -> Tensor:
        with torch.inference_mode():
            return model(x)

    return Running(call, lambda: [call()])


def optimized(case: Case, model: Backbone, x: Tensor) -> Running:
    """Prepare forward passes of what ``vitrail.optimize`` makes of our model."""
    fast = optimize(model, x, dtype=case.torch_dtype)
    x = x.to(case.torch_dtype)

    def call() -> Tensor:
        with torch.inference_mode():
            return fast(x)

    return Running(call, lambda: [call()])


def training(case: Case, x: Tensor, build: Callable[[], nn.Module], setting: str) -> Running:
    """Prepare training steps: forward under autocast, backward, AdamW; weights stay float32."""
    model = copy.deepcopy(build()).float().train()
    run = compiled(model, setting)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    labels = torch.arange(case.batch, device=x.device)
    kernel = next(p for p in model.parameters() if p.ndim == x.ndim)  # of the first convolution

    def backward() -> Tensor:
        with torch.autocast(case.device, case.torch_dtype, enabled=case.dtype != "fp32"):
            loss = F.cross_entropy(run(x).float(), labels)
        loss.backward()
        return loss

    def step() -> None:
        backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def answer() -> list[Tensor]:
        loss = backward().detach()
        assert kernel.grad is not None
        gradient = kernel.grad.clone()
        optimiser.zero_grad(set_to_none=True)
        return [loss, gradient]

    return Running(step, answer)


def openvino(case: Case, x: Tensor, build: Callable[[], nn.Module]) -> Running:
    """Prepare forward passes of a peer's model in OpenVINO, in the case's type."""
    os.environ.setdefault("CI", "true")  # else its converter sends statistics of use
    try:
        import openvino as ov
    except ImportError as error:
        raise Absent(f"not installed ({error})") from None
    with torch.no_grad():
        converted = ov.convert_model(build().eval(), example_input=x, input=[tuple(x.shape)])
    types = {"fp32": ov.Type.f32, "bf16": ov.Type.bf16, "fp16": ov.Type.f16}
    facts = {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": types[case.dtype],
    }  # fmt: skip
    request = ov.Core().compile_model(converted, "CPU", facts).create_infer_request()
    array = x.numpy()

    def call() -> Any:
        return request.infer([array], share_inputs=True, share_outputs=True)[0]

    return Running(call, lambda: [torch.from_numpy(call().copy())], keeps=False)


def onnxruntime(case: Case, x: Tensor, build: Callable[[], nn.Module]) -> Running:
    """Prepare forward passes of a peer's model in ONNX Runtime, which is for float32."""
    if case.dtype != "fp32":
        raise Absent(f"its kernels for the CPU do not take {case.dtype}")
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise Absent(f"not installed ({error})") from None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(build().eval(), (x,), path, dynamo=True, verbose=False)
        facts = ort.SessionOptions()
        facts.intra_op_num_threads = torch.get_num_threads()
        session = ort.InferenceSession(path, facts, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.numpy()}

    def call() -> Any:
        return session.run(None, feed)[0]

    return Running(call, lambda: [torch.from_numpy(call())], keeps=False)


def in_cpp(model: Backbone) -> nn.Module:
    """Return a copy of our model whose attention runs in C++ wherever that serves."""
    switched = copy.deepcopy(model)
    for module in switched.modules():
        if isinstance(module, Attend):
            module.backend = "cpp"
    return switched
