"""Damaged and hostile files of weights: refused, nothing executed, nothing changed."""

import json
import os
import pickle
import random
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.fuzz import frame
from tests.support import small
from vitrail.models import Backbone, hub
from vitrail.weights import convert, load, load_model, to_format

MEMORY = 1 << 30  # bytes; the files are of 100 kB
FORMATS = ("vitrail", "timm", "torchvision", "transformers", "mmdet", "official")
# Warnings of torch about what a hostile file holds.
QUIET = pytest.mark.filterwarnings("ignore::UserWarning:torch.*", "ignore:.*Sparse.*")


class Malice:
    """What a hostile pickle holds: a call of something."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def written(rng: random.Random, model: Backbone, path: Path) -> None:
    """Write a model's weights in one of the kinds of files that are read."""
    to = rng.choice(FORMATS)
    state = model.state_dict() if to == "vitrail" else to_format(model, to)
    kind = rng.choice(("safetensors", "zip", "legacy"))
    if kind == "safetensors":
        meta = hub.metadata(model) if to == "vitrail" else {"format": "pt"}
        save_file({key: t.contiguous() for key, t in state.items()}, path, metadata=meta)
        return
    wrapped = rng.choice((dict(state), {"model": OrderedDict(state), "epoch": 3}))
    torch.save(wrapped, path, _use_new_zipfile_serialization=kind == "zip")


def used(rng: random.Random, path: Path, model: Backbone) -> None:
    """Take a file by one of the routes; the model is what it was after an error."""
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    routes: tuple[Callable[[], object], ...] = (
        lambda: load(model, path),
        lambda: load(model, path, strict=False),
        lambda: load_model(path),
        lambda: convert(path, path.parent / "out.safetensors", rng.choice(FORMATS)),
        lambda: Backbone.from_pretrained(path),
    )
    try:
        # A conversion removes its temporary file.
        with frame.nothing_executed("os.remove"):
            rng.choice(routes)()
    except Exception:
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, before[key]), f"{key} has changed"
        assert not list(path.parent.glob("*.part*")), "a part of a file is left"
        raise


@frame.LONG
@QUIET
def test_damaged_files(tmp_path: Path) -> None:
    models = [small(kind) for kind in ("2-D", "V2", "3-D")]

    def case(rng: random.Random) -> None:
        model, path = rng.choice(models), tmp_path / "w.pth"
        written(rng, model, path)
        if rng.random() < 0.9:
            path.write_bytes(frame.mutated(rng, path.read_bytes()))
        used(rng, path, small("2-D"))

    outcomes = frame.fuzz("weights", case, memory=MEMORY)
    assert min(outcomes["accepted"], outcomes["refused"]) > 0


def odd_tensor(rng: random.Random, like: Tensor) -> Any:
    """Return something else in a tensor's place."""
    if like.is_nested or like.layout is not torch.strided or like.numel() > 10**6:
        like = torch.ones(3, 4)  # it has been replaced before
    shapes = ((), (0,), (1,), (3, 0, 5), (2, 2, 2, 2, 2), tuple(like.shape[::-1]))
    choices: tuple[Callable[[], Any], ...] = (
        lambda: torch.ones(rng.choice(shapes)),
        lambda: like * rng.choice((float("nan"), float("inf"), 1e38)),
        lambda: like.to(rng.choice((torch.int8, torch.bool, torch.complex64, torch.float16))),
        lambda: like.to(rng.choice((torch.float8_e4m3fn, torch.bfloat16, torch.float64))),
        lambda: like.to_sparse(),
        lambda: torch.empty((10**9,) * 2, device="meta"),
        lambda: torch.ones(1).expand(10**6, 10**6),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: like[..., :1],
        lambda: torch.cat([like, like]) if like.ndim else like,
        lambda: rng.choice(frame.ODD_VALUES),
    )
    return rng.choice(choices)()


def odd_name(rng: random.Random, name: str) -> str:
    """Return another name for a tensor: numbers that are too large, or of no model."""
    digits = rng.choice(("9" * 5000, "9999999999", "00", "-1", "٣", "7", ""))
    parts = name.split(".")
    parts[rng.randrange(len(parts))] = digits
    return rng.choice((".".join(parts), name + ".extra", "module." + name, digits))


@frame.LONG
@QUIET
def test_hostile_state_dicts(tmp_path: Path) -> None:
    models = [small(kind) for kind in ("2-D", "V2", "3-D")]

    def case(rng: random.Random) -> None:
        model, path = rng.choice(models), tmp_path / "w.pth"
        state: dict[Any, Any] = dict(to_format(model, rng.choice(FORMATS)))
        for _ in range(rng.choice((1, 1, 2, 5))):
            name = rng.choice(list(state))
            if rng.random() < 0.6 and isinstance(state[name], Tensor):
                state[name] = odd_tensor(rng, state[name])
            elif isinstance(name, str):
                other = rng.choice((odd_name(rng, name), 7, None, ("a", 1)))
                state[other] = state.pop(name)
        if rng.random() < 0.2:
            state["model"] = state
        torch.save(state, path)
        used(rng, path, small("2-D"))

    outcomes = frame.fuzz("state dicts", case, memory=MEMORY)
    assert min(outcomes["accepted"], outcomes["refused"]) > 0


@frame.LONG
def test_hostile_pickles(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    calls = (
        (os.system, f"touch {ran}"), (eval, f"open({str(ran)!r}, 'w')"), (os.mkdir, str(ran)),
        (exec, f"open({str(ran)!r}, 'w')"), (bytearray, 10**13), (torch.load, "w.pth"),
        (torch.zeros, 10**12), (getattr, 3, "real"), (__import__, "antigravity"),
        (Path.touch, ran), (set, [1]), (OrderedDict, [("a", 1)]),
    )  # fmt: skip

    def case(rng: random.Random) -> None:
        path = tmp_path / "w.pth"
        content: Any = {"model": dict(small("2-D").state_dict()), "x": Malice(*rng.choice(calls))}
        if rng.random() < 0.3:
            content = content["x"]
        if rng.random() < 0.3:
            path.write_bytes(pickle.dumps(content, protocol=rng.choice((2, 4))))
        else:
            torch.save(content, path, _use_new_zipfile_serialization=rng.random() < 0.5)
        if rng.random() < 0.3:
            path.write_bytes(frame.mutated(rng, path.read_bytes()))
        try:
            used(rng, path, small("2-D"))
        finally:
            assert not ran.exists(), "it ran"

    assert frame.fuzz("pickles", case, memory=MEMORY)["refused"] > 0


@frame.LONG
def test_folders(tmp_path: Path) -> None:
    """An index and the files beside weights, mutated."""
    state = to_format(small("2-D", window=(4, 4)), "transformers")
    labels = {str(i): name for i, name in enumerate("abcde")}
    transformers = {
        "model_type": "swin", "id2label": labels, "image_size": 64, "window_size": 4,
        "depths": [2, 2], "layer_norm_eps": 1e-5, "hidden_act": "gelu", "patch_size": 2,
    }  # fmt: skip
    timm = {
        "architecture": "swinv2_tiny_window8_256", "label_names": list("abcde"),
        "pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3,
                           "crop_pct": 0.9, "interpolation": "bicubic"},
        "model_args": {"depths": [2, 2], "img_size": [64, 64]},
    }  # fmt: skip
    processor = {
        "size": {"height": 64, "width": 64}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
        "resample": 3, "do_normalize": True,
    }  # fmt: skip
    index = {"metadata": {}, "weight_map": dict.fromkeys(state, "part.safetensors")}
    save_file(state, tmp_path / "part.safetensors", metadata={"format": "pt"})

    def case(rng: random.Random) -> None:
        config = rng.choice((transformers, timm, transformers | {"model_type": "swinv2"}))
        files: dict[str, Any] = {
            "config.json": config, "preprocessor_config.json": processor,
            "model.safetensors.index.json": index,
        }  # fmt: skip
        broken = rng.choice(list(files))
        for name, value in files.items():
            text = frame.mutated_json(rng, value) if name == broken else json.dumps(value)
            (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        with frame.nothing_executed():
            made = load_model(tmp_path)
        assert made.config.depths == (2, 2)

    outcomes = frame.fuzz("folders", case, memory=MEMORY)
    assert min(outcomes["accepted"], outcomes["refused"]) > 0
