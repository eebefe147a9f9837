"""Opening a file executes nothing that it brings along, and reads no other file."""

import io
import json
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from tests.export.conftest import Written
from tests.fuzz.frame import nothing_executed
from tests.support import refuses
from vitrail.export import open_export

pytestmark = pytest.mark.compile

Parts = dict[str, bytes]
Change = Callable[[Parts, str], None]
GRAPH = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


class Graph(nn.Module):
    """Enough of a model: a weight, a constant, and lengths that change."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.register_buffer("index", torch.arange(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).index_select(1, self.index).mean(0, keepdim=True) * x.shape[0]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "m.pt2"
    shapes = ({0: torch.export.Dim("batch", max=64)},)
    made = torch.export.export(Graph(), (torch.ones(3, 4),), dynamic_shapes=shapes)
    torch.export.save(made, path)
    return path


def parts_of(program: Path) -> Parts:
    reader = torch._C.PyTorchFileReader(str(program))
    own = (".data/", "byteorder", "version")  # which the writer adds
    names = [name for name in reader.get_all_records() if not name.startswith(own)]
    return {name: reader.get_record(name) for name in names}


def write(path: Path, parts: Parts) -> Path:
    writer = torch._C.PyTorchFileWriter(str(path))
    for name, data in parts.items():
        writer.write_record(name, data, len(data))
    writer.write_end_of_file()
    return path


class Harm:
    """A pickle of it makes a folder."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (self.mark,)


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def change(parts: Parts, name: str, edit: Callable[[Any], None]) -> None:
    value = json.loads(parts[name])
    edit(value)
    parts[name] = json.dumps(value).encode()


def sample(parts: Parts, mark: str) -> None:
    parts["data/sample_inputs/model.pt"] = saved(((Harm(mark),), {}))


def weight(parts: Parts, mark: str) -> None:
    def edit(config: Any) -> None:
        next(iter(config["config"].values()))["use_pickle"] = True

    change(parts, WEIGHTS, edit)
    parts["data/weights/weight_0"] = saved(Harm(mark))


def constant(parts: Parts, mark: str) -> None:
    def edit(config: Any) -> None:
        first = next(iter(config["config"].values()))
        first.update(path_name="opaque_obj_0", use_pickle=True)

    change(parts, CONSTANTS, edit)
    parts["data/constants/opaque_obj_0"] = pickle.dumps(Harm(mark))


def older_constants(parts: Parts, mark: str) -> None:
    parts["data/constants/model.pt"] = saved({"x": Harm(mark)})


def expression(parts: Parts, mark: str) -> None:
    def edit(program: Any) -> None:
        values = program["graph_module"]["graph"]["sym_int_values"].values()
        first = next(value for value in values if "as_expr" in value)
        first["as_expr"]["expr_str"] = f"__import__('os').mkdir({mark!r})"

    change(parts, GRAPH, edit)


def guard(parts: Parts, mark: str) -> None:
    code = [f"__import__('os').mkdir({mark!r}) is None"]
    change(parts, GRAPH, lambda program: program.update(guards_code=code))


def nodes(program: Any) -> Any:
    return program["graph_module"]["graph"]["nodes"]


def last(program: Any, target: str, arguments: dict[str, Any]) -> None:
    """Let a graph end with a call whose result nobody reads."""
    inputs = [{"name": name, "arg": arg, "kind": 1} for name, arg in arguments.items()]
    node = {"target": target, "name": "harm", "inputs": inputs}
    values = program["graph_module"]["graph"]["tensor_values"]
    values["harm"] = {**values["linear"], "sizes": [{"as_int": 8}], "strides": [{"as_int": 1}]}
    outputs = [{"as_tensor": {"name": "harm"}}]
    nodes(program).append({**nodes(program)[-1], **node, "outputs": outputs})


def call(parts: Parts, mark: str) -> None:
    arguments = {"path": {"as_string": mark}}
    change(parts, GRAPH, lambda p: last(p, "torch.serialization.os.mkdir", arguments))


def file(parts: Parts, mark: str) -> None:
    arguments = {"filename": {"as_string": mark}, "shared": {"as_bool": True}}
    arguments["size"] = {"as_int": 8}
    change(parts, GRAPH, lambda p: last(p, "torch.ops.aten.from_file.default", arguments))


def tree(parts: Parts, mark: str) -> None:
    def edit(program: Any) -> None:
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        kind = {"type": "collections.defaultdict", "children_spec": []}
        facts = {"default_factory_module": mark, "default_factory_name": "x", "dict_context": []}
        signature["out_spec"] = json.dumps([1, {**kind, "context": json.dumps(facts)}])

    change(parts, GRAPH, edit)


def name(parts: Parts, mark: str) -> None:
    change(parts, GRAPH, lambda program: nodes(program)[0].update(name=f"a\nimport {mark}"))


HARMS: dict[str, tuple[Change, str]] = {
    "sample": (sample, "pickled code (posix.mkdir)"),
    "weight": (weight, "pickled weights"),
    "constant": (constant, "opaque_obj_0"),
    "older": (older_constants, "data/constants/model.pt"),
    "expression": (expression, "an expression that may execute code"),
    "guard": (guard, "an expression that may execute code"),
    "file": (file, "torch.ops.aten.from_file"),
}
SUSPECT: dict[str, tuple[Change, str]] = {
    "call": (call, "torch.serialization.os.mkdir"),
    "tree": (tree, "inputs or outputs in a 'collections.defaultdict'"),
    "name": (name, "a name that may be code"),
}


@pytest.mark.parametrize("name", HARMS)
def test_what_torch_would_execute_is_refused_before_it_does(
    name: str, program: Path, tmp_path: Path
) -> None:
    (harm, said), mark = HARMS[name], tmp_path / "mark"
    parts = parts_of(program)
    harm(parts, str(mark))
    path = write(tmp_path / "m.pt2", parts)
    with refuses(said, "trust_code=True"), nothing_executed():
        open_export(path)
    assert not mark.exists()
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        open_export(path, trust_code=True)(torch.ones(3, 4))
    assert mark.exists()  # or the refusal proves nothing


@pytest.mark.parametrize("name", SUSPECT)
def test_what_might_be_code_is_refused(name: str, program: Path, tmp_path: Path) -> None:
    change, said = SUSPECT[name]
    parts = parts_of(program)
    change(parts, "os")
    with refuses(said, "trust_code=True"):
        open_export(write(tmp_path / "m.pt2", parts))


def test_a_program_of_tensors_opens(program: Path, tmp_path: Path) -> None:
    x = torch.randn(5, 4)
    with torch.no_grad():
        expected = torch.export.load(program).module()(x)
        for path in (program, write(tmp_path / "m.pt2", parts_of(program))):
            torch.testing.assert_close(open_export(path)(x)[0], expected)


def test_an_unusual_pickle_of_the_example_is_nothing_to_warn_of(
    program: Path, tmp_path: Path
) -> None:
    parts = parts_of(program)
    parts["data/sample_inputs/model.pt"] = pickle.dumps(((), {}), protocol=4)
    with refuses("pickled code", "vitrail export"):
        open_export(write(tmp_path / "m.pt2", parts))


def test_an_archive_that_two_readers_read_differently_is_refused(
    program: Path, tmp_path: Path
) -> None:
    for number, extra in enumerate(("version", "other/models/model.json", "m/models/model.json")):
        path = tmp_path / f"{number}.pt2"
        shutil.copy(program, path)
        with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
            warnings.simplefilter("ignore")  # of a name that stands there twice
            archive.writestr(extra, b"{}")
        with refuses("an archive", "vitrail export"):
            open_export(path)


def test_machine_code_wants_trust(tmp_path: Path) -> None:
    path = tmp_path / "m.aoti.pt2"
    path.write_bytes(b"no package")
    with refuses("a package of machine code", "trust_code=True"):
        open_export(path)
    with refuses("which cannot be read", "vitrail export"):
        open_export(path, trust_code=True)


def test_weights_in_other_files_are_refused(written: Written, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(1 << 20))
    for field in ("initializer", "attribute"):
        model = onnx.load(written.path)
        tensor = model.graph.initializer[0]
        if field == "attribute":
            constants = (a.t for n in model.graph.node for a in n.attribute if a.HasField("t"))
            tensor = next(constants, None) or model.graph.node[0].attribute.add(name="v").t
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="secret")
        path = tmp_path / f"{field}.onnx"
        path.write_bytes(model.SerializeToString())
        with refuses("weights in another file ('secret')", "vitrail export"):
            open_export(path)


# OpenVINO names the operation that it does not know, and these bytes are no text.
UNREADABLE = b"""<layers>
<layer id='0' name='a' type='\x9c' version='opset1'>
<output><port id='0' precision='FP32'><dim>1</dim></port></output></layer>
<layer id='1' name='b' type='Result' version='opset1'>
<input><port id='0' precision='FP32'><dim>1</dim></port></input></layer>
</layers><edges><edge from-layer='0' from-port='0' to-layer='1' to-port='0'/></edges>"""


@pytest.mark.parametrize("ending", [".pt2", ".onnx", ".xml"])
def test_damaged_files_are_named(
    ending: str, program: Path, written: Written, tmp_path: Path
) -> None:
    path = tmp_path / f"m{ending}"
    whole = {".pt2": program, ".onnx": written.path}.get(ending)
    text = b"<?xml version='1.0'?><net name='m' version='11'></net>"
    data = text if whole is None else whole.read_bytes()
    parts = [b"", b"no such thing", data[: len(data) // 2], data[:-1], b"PK\3\4" + data[4:90]]
    if ending == ".xml":
        parts.append(data.replace(b"</net>", UNREADABLE + b"</net>"))
        (tmp_path / "m.bin").touch()
    for part in parts:
        path.write_bytes(part)
        with refuses(f"m{ending}, which cannot be read", "vitrail export"):
            open_export(path)
