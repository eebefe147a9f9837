"""Check a file before a runtime opens it: what torch would execute in it, and where it points.

``torch.export.load`` unpickles parts of a program with ``weights_only=False``, evaluates its
expressions of lengths, executes its guards and calls whatever its graph names under ``torch.``.
Here a program has tensors as raw numbers, tensor operations and arithmetic, and nothing else.
"""

import ast
import io
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from vitrail.errors import UsageError

_RECORDS = re.compile(
    r"models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|data/sample_inputs/model\.pt"
    r"|extra/[\w.]+|archive_format|archive_version|byteorder|version"
    r"|\.data/(version|serialization_id)|\.format_version|\.storage_alignment"
)
_SAMPLE = "data/sample_inputs/model.pt"  # the one part that is pickled
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")

_ARITHMETIC = re.compile(
    r"_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|not_"
    r"|lshift|rshift|getitem)|math\.[a-z]\w*|torch\.sym_\w+"
)
_WORD = re.compile(r"[\w.:+-]*", re.ASCII)
_TREES = (None, "builtins.tuple", "builtins.list", "builtins.dict")
_FUNCTIONS = re.compile(
    "Symbol|Integer|Float|Rational|Add|Mul|Pow|Mod|Max|Min|Abs|floor|ceiling|Eq|Ne|Lt|Le|Gt|Ge|And"
    "|Or|Not|Equality|Unequality|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan|Piecewise"
    "|ExprCondPair|FloorDiv|ModularIndexing|Where|PythonMod|CleanDiv|CeilToInt|FloorToInt|CeilDiv"
    "|LShift|RShift|PowByNatural|FloatPow|FloatTrueDiv|IntTrueDiv|TruncToFloat|TruncToInt"
    "|RoundToInt|RoundDecimal|ToFloat|Identity|IsNonOverlappingAndDenseIndicator"
    "|true|false|oo|int_oo|inf|L"
)
_NODES = (
    ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.Subscript,
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop,
    ast.cmpop, ast.Attribute, ast.Tuple,
)  # fmt: skip


def damaged(path: Path, error: object) -> UsageError:
    """Return the refusal of a file that its runtime cannot read."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return UsageError(
        f"{path}, which cannot be read: {lines[0][:200]}",
        "a whole file of vitrail export",
        "it may be cut short: fetch or copy it again, or write it anew with vitrail export",
    )


def check_program(path: Path, data: bytes) -> None:
    """Refuse a torch.export program that holds more than tensors and operations on them.

    Args:
        path: the file, for the error.
        data: what is in it, and what torch reads then: the file may change in between.
    Raises:
        UsageError: the file is damaged, or executes code when it is read or run.
    """
    try:
        records = _records(data)
        for name in records:
            if not _RECORDS.fullmatch(name):
                compiled = "compiled code" if name.startswith("data/aotinductor") else "a part"
                raise _Refused(f"{compiled} ({name[:80]}) beside its weights and graph")
        _check_sample(records[_SAMPLE]())
        for name in _CONFIGS:
            _check_config(json.loads(records[name]()))
        _check_graph(json.loads(records["models/model.json"]()))
    except _Refused as refused:
        raise UsageError(
            f"{path}, a torch.export program with {refused}",
            "tensors, and operations on them: torch would execute anything else",
            "write it anew with vitrail export; or, if you trust where it comes from, use "
            "vitrail.export.open_export(path, trust_code=True)",
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError,
            zipfile.BadZipFile, SyntaxError, MemoryError) as error:  # fmt: skip
        raise damaged(path, error) from None


class _Refused(Exception):
    """What of a program would be executed."""


def _records(data: bytes) -> dict[str, Callable[[], bytes]]:
    """Return a program's parts as torch reads them, each behind a call."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
    # Where this differs, torch takes the file for one of an older format, which it unpickles.
    if len(set(names)) < len(names) or len({name.partition("/")[0] for name in names}) != 1:
        raise ValueError("an archive of several folders, or with one name twice")
    if any("/" not in name for name in names):
        raise ValueError("an archive without a folder")
    reader = torch._C.PyTorchFileReader(io.BytesIO(data))  # type: ignore[arg-type]
    found = {name: lambda name=name: reader.get_record(name) for name in reader.get_all_records()}
    if sorted(found) != sorted(name.partition("/")[2] for name in names):
        raise ValueError("an archive with two lists of what is in it")
    return found


def _check_sample(record: bytes) -> None:
    """Refuse example inputs that torch would not read as tensors alone."""
    if not record:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual protocols, which fail or do not
            sample = torch.load(io.BytesIO(record), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise _Refused(f"pickled code ({wanted[1] if wanted else 'unknown'})") from None
    if not all(isinstance(leaf, Tensor | int | float | None) for leaf in tree_leaves(sample)):
        raise _Refused("pickled objects that are no tensors")


def _check_config(config: Any) -> None:
    """Refuse weights or constants that are not raw numbers."""
    for name, entry in config["config"].items():
        path = str(entry["path_name"])
        if entry["use_pickle"] is not False or not re.fullmatch(r"(weight|tensor)_\d+", path):
            raise _Refused(f"pickled weights or objects ({_shown(name)}: {_shown(path)})")
    _check_words(config)


def _check_graph(program: Any) -> None:
    """Refuse a graph that computes anything but arithmetic and operations on tensors."""
    for guard in program.pop("guards_code", None) or ():
        _check_expression(guard)
    for entry in program["graph_module"]["module_call_graph"]:
        for key in ("in_spec", "out_spec"):
            if entry.get("signature"):
                _check_tree(entry["signature"].pop(key))
    for node in _found(program, "target"):
        target = node["target"]
        if not (_ARITHMETIC.fullmatch(target) or _computes(target)):
            raise _Refused(f"a call of {_shown(target)}")
    for text in {owner.pop("expr_str") for owner in _found(program, "expr_str")}:
        _check_expression(text)
    for owner in _found(program, "metadata"):
        del owner["metadata"]  # notes, which torch keeps as text
    _check_words(program)


def _computes(target: str) -> bool:
    """Return whether a name is that of an operation on tensors, one which opens no file."""
    names = target.split(".")
    if names[:3] != ["torch", "ops", "aten"] or len(names) != 5:
        return False
    operation = getattr(getattr(torch.ops.aten, names[3], None), names[4], None)
    if not isinstance(operation, torch._ops.OpOverload):
        return False
    return all(argument.name != "filename" for argument in operation._schema.arguments)


def _check_expression(text: Any) -> None:
    """Refuse an expression that is more than arithmetic on lengths: sympy evaluates it."""
    if len(text) > 100_000:
        raise _Refused(f"an expression of {len(text):,} characters")
    for node in ast.walk(ast.parse(text, mode="eval")):
        known = isinstance(node, _NODES)
        if isinstance(node, ast.Name):
            known = _FUNCTIONS.fullmatch(node.id) is not None
        elif isinstance(node, ast.Attribute):
            known = node.attr in ("size", "stride", "storage_offset")
        elif isinstance(node, ast.Constant):
            known = not isinstance(node.value, str) or _WORD.fullmatch(node.value) is not None
        if not known:
            raise _Refused(f"an expression that may execute code ({_shown(text)})")


def _check_tree(text: Any) -> None:
    """Refuse nestings of inputs and outputs other than tuples, lists and dicts of names."""
    for node in _found(json.loads(text), "type"):
        if node["type"] not in _TREES:
            raise _Refused(f"inputs or outputs in a {_shown(node['type'])}")
        _check_words(json.loads(node["context"] or "null"))


_KINDS = ("as_graph", "as_custom_obj", "as_operator")


def _check_words(value: Any, kind: str = "") -> None:
    """Refuse names that are more than words, since torch writes them into Python code."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _KINDS and item is not None:
                raise _Refused(f"a graph's argument of kind {key}")
            _check_words(key)
            _check_words(item, key)
    elif isinstance(value, list):
        for item in value:
            _check_words(item)
    elif isinstance(value, str) and kind != "as_string" and not _WORD.fullmatch(value):
        raise _Refused(f"a name that may be code ({_shown(value)})")


def _found(value: Any, key: str) -> Iterator[dict[str, Any]]:
    """Give every object of a JSON document that has such a key."""
    if isinstance(value, dict):
        if key in value:
            yield value
        for item in list(value.values()):
            yield from _found(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _found(item, key)


def _shown(text: object) -> str:
    return repr(str(text)[:60])


def check_onnx(path: Path, data: bytes) -> None:
    """Refuse an ONNX file that is damaged, or whose weights are in other files.

    Args:
        path: the file, for the error.
        data: what is in it.
    Raises:
        UsageError: it is one. The files it names may be any on this machine.
    """
    import onnx

    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf's own class, of which each version has another
        raise damaged(path, error) from error
    outside = [place for tensor in _tensors(model) for place in tensor.external_data]
    if outside:
        raise UsageError(
            f"{path}, with weights in another file ({_shown(outside[0].value)})",
            "one file with its weights, as vitrail export writes it",
            "write it anew with vitrail export, or open it with onnxruntime if you trust it",
        )


def _tensors(message: Any) -> Iterator[Any]:
    """Give every tensor in a message of ONNX, at any depth."""
    if type(message).__name__ == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in value if isinstance(value, Iterable) else (value,):
                yield from _tensors(part)
