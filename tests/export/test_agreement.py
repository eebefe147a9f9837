"""One exported graph serves a range of sizes, and agrees with the model on all of them."""

import itertools
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

import vitrail
from tests.support import KINDS, ODD_SIZES, drawn, refuses, small
from vitrail import export
from vitrail.export import (
    ExportReport,
    agreement,
    export_onnx,
    export_program,
    export_pt2,
    size_range,
)
from vitrail.export.agreement import Order
from vitrail.export.onnx import write_onnx
from vitrail.layers import Attend, WindowAttention
from vitrail.models import Backbone, MechanismSwin, MechanismSwinConfig, ViT, ViTConfig
from vitrail.shapes import Size

pytestmark = pytest.mark.compile

# Where this copy is: a file must hold nothing of the machine it was written on.
HERE = str(Path(export.__file__).parents[1]).encode()
WRITERS = {".onnx": export_onnx, ".pt2": export_pt2}


def shallow(kind: str, **changes: Any) -> Backbone:
    """Return a model with a shift, a merge, and windows that pad in both stages."""
    return small(kind, depths=(2, 1), **changes)


class Opened(NamedTuple):
    """A file as a user opens it, without Vitrail: what runs it, and what it says of itself."""

    run: Callable[[Tensor], list[Tensor]]
    said: dict[str, Any]


def opened(path: Path) -> Opened:
    if path.suffix == ".pt2":
        files = {"vitrail.json": ""}
        module = torch.export.load(path, extra_files=files).module()

        def run_program(x: Tensor) -> list[Tensor]:
            out = module(x)
            return [out] if isinstance(out, Tensor) else list(out)

        return Opened(run_program, json.loads(files["vitrail.json"]))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map.items()

    def run_session(x: Tensor) -> list[Tensor]:
        return [torch.from_numpy(out) for out in session.run(None, {"input": x.numpy()})]

    return Opened(run_session, {k.removeprefix("vitrail."): json.loads(v) for k, v in said})


def sizes_around_switches(model: Backbone) -> list[Size]:
    """Return sizes at which padding begins and ends and windows begin to shift, axis by axis."""
    smallest, _ = size_range(model)
    config = model.config
    choices = []
    for low, patch, window in zip(smallest, config.patch, config.windows[0], strict=True):
        fits = patch * window
        edges = (
            low,
            low + 1,
            fits - 1,
            fits,
            fits + 1,
            2 * fits - patch + 1,
            2 * fits,
            3 * fits + 1,
        )
        choices.append(sorted({n for n in edges if n >= low}))
    together = list(zip(*(itertools.islice(itertools.cycle(c), 8) for c in choices), strict=True))
    # The first axis short while the others are long, and the other way round.
    apart = [(c[0], *(o[-1] for o in choices[1:])) for c in (choices[0], choices[0][-1:])]
    turned = [(choices[0][-1], *(o[0] for o in choices[1:]))]
    return [*together, *apart, *turned]


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_graph_agrees_on_both_sides_of_every_switch(
    kind: str, suffix: str, tmp_path: Path
) -> None:
    model, path = shallow(kind), tmp_path / f"model{suffix}"
    report = WRITERS[suffix](model, path, ODD_SIZES[kind])
    run, said = opened(path)
    assert_agreement(model, run)
    assert_truth(model, report)
    assert said["smallest"] == list(report.smallest)
    assert said["largest"] == list(report.largest)
    assert said["mean"] == list(model.preprocessing.mean)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def assert_agreement(model: Backbone, run: Callable[[Tensor], list[Tensor]]) -> None:
    sizes = sizes_around_switches(model)
    assert len({s[0] for s in sizes}) >= 6
    for batch, size in zip(itertools.cycle((1, 2, 3)), sizes, strict=False):
        x = torch.randn(batch, 3, *size)
        with torch.no_grad():
            expected = model(x)
        (found,) = run(x)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, msg=f"{batch} {size}")


def assert_truth(model: Backbone, report: ExportReport) -> None:
    assert 0 <= report.difference <= 1e-4
    assert (report.smallest, report.largest) == size_range(model)
    assert len(report.checked) >= 4
    for shape in report.checked:
        assert all(low <= n for n, low in zip(shape[1:], report.smallest, strict=True))


def lengths(value: Any) -> list[int | str]:
    """Return an ONNX value's lengths, or the names of those that may change."""
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize(
    ("kind", "size", "axes", "out"),
    [
        ("1-D", (40,), ["length"], ["((length + 1)//2)"]),
        ("2-D", (16, 24), ["height", "width"], ["((height + 1)//2)", "((width + 1)//2)"]),
        ("3-D", (6, 8, 10), ["depth", "height", "width"], []),
    ],
)
def test_onnx_names_its_inputs_outputs_and_axes(
    kind: str, size: Size, axes: list[str], out: list[str], tmp_path: Path
) -> None:
    model = small(kind, depths=(1,), num_heads=(2,), num_classes=0, out_indices=(0,))
    path = tmp_path / "model.onnx"
    write_onnx(Order(model, path, size, dynamic=True), path)
    graph = onnx.load(path).graph
    assert [value.name for value in graph.input] == ["input"]
    assert [value.name for value in graph.output] == ["features_0"]
    assert lengths(graph.input[0]) == ["batch", 3, *axes]
    found = lengths(graph.output[0])
    assert (found[0], found[-1]) == ("batch", 8)
    assert not out or found[1:-1] == out


def test_a_graph_of_one_size_has_no_names_for_its_axes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = small("1-D", depths=(1,), num_heads=(2,))
    write_onnx(Order(model, path, (40,), dynamic=False), path)
    graph = onnx.load(path).graph
    assert [value.name for value in graph.output] == ["logits"]
    assert (lengths(graph.input[0]), lengths(graph.output[0])) == ([1, 3, 40], [1, 5])


@pytest.mark.parametrize(
    ("kind", "changes", "smallest"),
    [
        ("1-D", {}, (1,)),
        ("2-D", {}, (1, 1)),
        ("2-D", {"patch_fit": "floor"}, (2, 2)),
        ("3-D", {}, (1, 1, 2)),
        ("2-D", {"absolute_position": (4, 4)}, (1, 3)),
        # Two stages: the second must hold its window, or one token more.
        ("2-D", {"shift_rule": "clamp"}, (9, 13)),
        ("2-D", {"shift_rule": "shortest"}, (13, 17)),
        ("2-D", {"shift_rule": "shortest", "patch_fit": "floor"}, (14, 18)),
        ("2-D", {"shift_rule": ("shortest", "axis")}, (7, 9)),
        ("2-D", {"shift_rule": "shortest", "out_indices": (0,)}, (7, 9)),
    ],
)
def test_the_least_size_is_known(kind: str, changes: dict[str, Any], smallest: Size) -> None:
    assert size_range(shallow(kind, **changes))[0] == smallest


@pytest.mark.parametrize(
    "changes",
    [
        {"shift_rule": "clamp", "bias_lookup": "sliced"},
        {
            "shift_rule": "shortest",
            "padding": "visible",
            "patch_fit": "floor",
            "mask_value": -100.0,
        },
        {"absolute_position": (4, 5), "patch_overlap": (1, 1)},
    ],
    ids=lambda changes: next(iter(changes.values())),
)
def test_other_behaviours_hold_from_the_least_size(changes: dict[str, Any]) -> None:
    model = shallow("2-D", **changes)
    program = export_program(model).module()
    smallest, _ = size_range(model)
    for more in ((0, 0), (0, 1), (5, 0), (12, 11)):
        x = torch.randn(2, 3, *(n + m for n, m in zip(smallest, more, strict=True)))
        with torch.no_grad():
            torch.testing.assert_close(program(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_bare_backbone_exports_its_maps(tmp_path: Path) -> None:
    model = small("1-D", depths=(1, 1), out_indices=(0, 1), feature_norms=True)
    path = tmp_path / "maps.onnx"
    export_onnx(model, path, 50)
    assert [value.name for value in onnx.load(path).graph.output] == ["features_0", "features_1"]
    x = torch.randn(2, 3, 61)
    with torch.no_grad():
        for found, expected in zip(opened(path).run(x), model(x), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def parts_of(path: Path) -> list[bytes]:
    if path.suffix != ".pt2":
        return [path.read_bytes()]
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in archive.namelist()]


@pytest.mark.parametrize("suffix", WRITERS)
def test_one_size_only(suffix: str, tmp_path: Path) -> None:
    """Where windows shrink, too: below the least size of a dynamic graph."""
    model, path = shallow("2-D", shift_rule="shortest"), tmp_path / f"one{suffix}"
    report = WRITERS[suffix](model, path, (7, 10), dynamic=False)
    assert report.smallest == report.largest == (7, 10)
    assert report.batch == (1, 1)
    assert not [part for part in parts_of(path) if HERE in part]
    x = torch.randn(1, 3, 7, 10)
    with torch.no_grad():
        torch.testing.assert_close(opened(path).run(x)[0], model(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(Exception, match=r"(?i)invalid dimensions|guard failed|expected"):
        opened(path).run(torch.randn(1, 3, 8, 10))


def test_the_model_is_as_it_was() -> None:
    model = small("1-D", shift_rule="clamp", frozen_stages=1).train()
    layers = [m for m in model.modules() if isinstance(m, WindowAttention)]
    layers[0].attend.backend = "reference"
    before = [(m.pattern, m.attend.backend) for m in layers]
    modes = [m.training for m in model.modules()]
    export_program(model, dynamic=False, size=20)
    assert [(m.pattern, m.attend.backend) for m in layers] == before
    assert [m.training for m in model.modules()] == modes
    assert not all(modes)


def test_no_kernel_of_ours_is_in_a_program() -> None:
    """It is for machines without Vitrail, whatever implementation the model runs with here."""
    model = small("1-D", depths=(1,), num_heads=(2,))
    for module in model.modules():
        if isinstance(module, Attend):
            module.backend = "plain"
    graph = export_program(model, 20, dynamic=False).graph
    assert not [node for node in graph.nodes if "vitrail" in str(node.target)]


@pytest.mark.parametrize("write", WRITERS.values())
def test_what_cannot_be_is_refused(write: Callable[..., ExportReport], tmp_path: Path) -> None:
    model = small("2-D", shift_rule="clamp")
    suffix = next(s for s, w in WRITERS.items() if w is write)
    path = tmp_path / f"model{suffix}"
    with refuses("model.bin", f"model{suffix}"):
        write(model, tmp_path / "model.bin")
    with refuses("nowhere", f"mkdir -p {tmp_path / 'nowhere'}"):
        write(model, tmp_path / "nowhere" / path.name)
    with refuses("size=(8, 99)", "or export that one size"):
        write(model, path, (8, 99))
    with refuses("size=(9, 9999)", "choose a size in between"):
        write(model, path, (9, 9999))
    with refuses("size=(0, 9)", "size=(1, 9)"):
        write(model, path, (0, 9))
    with refuses("size=(32, 32, 32) for 2 spatial axes", "size=(32, 32)"):
        write(model, path, (32, 32, 32))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", WRITERS.values())
def test_a_copy_for_this_machine_is_refused(
    write: Callable[..., ExportReport], tmp_path: Path
) -> None:
    suffix = next(s for s, w in WRITERS.items() if w is write)
    with refuses("optimize made", "keep that one"):
        write(vitrail.optimize(small("2-D")), tmp_path / f"model{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_type_that_the_runtimes_do_not_serve_is_refused(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    with refuses(str(dtype), "copy.deepcopy(model).float()"):
        export_onnx(small("2-D").to(dtype), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", WRITERS.values())
def test_a_graph_that_disagrees_is_not_written(
    write: Callable[..., ExportReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small("1-D", depths=(1,), num_heads=(2,))
    suffix = next(s for s, w in WRITERS.items() if w is write)
    path = tmp_path / f"model{suffix}"
    path.write_text("the last good one")
    monkeypatch.setattr("vitrail.export.agreement.TOLERANCE", -1.0)
    with refuses("an exported graph that differs by", "--static"):
        write(model, path, 32, dynamic=False)
    assert path.read_text() == "the last good one"
    assert len(list(tmp_path.iterdir())) == 1


def test_weights_beyond_the_format_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitrail.export.onnx.LARGEST", 1000)
    with refuses("GiB of weights", "model.pt2"):
        export_onnx(small("1-D"), tmp_path / "model.onnx")


_BODY: dict[str, Any] = {
    "dim": 8, "depths": (2, 1), "num_heads": (2, 4), "window": (3, 4), "patch": (2, 2),
    "num_classes": 5,
}  # fmt: skip


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("mechanism", ["window", "global", "axial", "ViT"])
def test_other_ways_to_attend_in_one_graph(mechanism: str, suffix: str, tmp_path: Path) -> None:
    if mechanism == "ViT":
        model: Backbone = ViT(
            ViTConfig(dim=8, depths=(2,), num_heads=(2,), patch=(2, 2), positions=(4, 5))
        )
    else:
        model = MechanismSwin(MechanismSwinConfig(mechanism=mechanism, **_BODY))  # type: ignore[arg-type]
    path = tmp_path / f"model{suffix}"
    report = WRITERS[suffix](drawn(model).eval(), path, (21, 31))
    run, _ = opened(path)
    for more in ((0, 0), (0, 1), (7, 2), (20, 33)):
        x = torch.randn(2, 3, *(n + m for n, m in zip(report.smallest, more, strict=True)))
        with torch.no_grad():
            (found,) = run(x)
            torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("sparse", "suffix"), [("strided", ".onnx"), ("fixed", ".pt2")])
def test_blocks_of_a_root_export_at_one_size(sparse: Any, suffix: str, tmp_path: Path) -> None:
    model = drawn(
        MechanismSwin(MechanismSwinConfig(mechanism="sparse", sparse=sparse, **_BODY))
    ).eval()
    with refuses("ceil(sqrt(N))", "--static"):
        export_program(model)
    x, path = torch.randn(1, 3, 21, 31), tmp_path / f"model{suffix}"
    WRITERS[suffix](model, path, (21, 31), dynamic=False)
    with torch.no_grad():
        torch.testing.assert_close(opened(path).run(x)[0], model(x), rtol=1e-4, atol=1e-4)


def test_a_graph_that_refuses_what_the_model_takes_is_refused(tmp_path: Path) -> None:
    """As torch's program of the fast Focal does, which wants more than one window an axis."""

    def run(x: Tensor) -> list[Tensor]:
        raise RuntimeError(f"Ne(1, {x.shape[-1]})")

    order = agreement.ordered(shallow("2-D"), tmp_path / "model.pt2", None, True, ())
    with refuses("refuses noise of (1, 1), batch 1: Ne(1, 1)", "--static"):
        agreement.compare(order, run)
