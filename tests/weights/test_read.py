import argparse
import os
import pickle
import sys
import types
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from vitrail.errors import UsageError
from vitrail.weights.read import WRAPPERS, read_file, tensors_of

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def same(content):
    return all(torch.equal(content.state[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "weights", "w.bin"])
def test_a_file_is_known_by_its_content(tmp_path, name):
    save_file(STATE, tmp_path / name, metadata={"format": "pt"})
    content = read_file(tmp_path / name)
    assert same(content)
    assert content.metadata == {"format": "pt"}


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "weights"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_known_by_its_content(tmp_path, name, zipped):
    torch.save(STATE, tmp_path / name, _use_new_zipfile_serialization=zipped)
    content = read_file(tmp_path / name)
    assert same(content)
    assert content.metadata is None


@pytest.mark.parametrize("wrapper", ["model", "state_dict", "model_state_dict", "params"])
def test_a_wrapped_state_dict_is_found(tmp_path, wrapper):
    file = tmp_path / "w.pth"
    torch.save({wrapper: STATE, "epoch": 3, "args": argparse.Namespace(lr=1.0)}, file)
    assert same(read_file(file))


def test_wrappers_may_be_nested_and_the_choice_is_noted(tmp_path):
    file = tmp_path / "w.pth"
    ema = {key: torch.zeros_like(value) for key, value in STATE.items()}
    torch.save({"state_dict": {"model": STATE}, "model_ema": ema}, file)
    content = read_file(file)
    assert same(content)
    assert content.notes == ["weights taken from 'state_dict', not from model_ema"]


def test_settings_beside_the_weights_do_no_harm(tmp_path, monkeypatch):
    # Official files hold their settings as a CfgNode of a package that is not needed to read them.
    node = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    module = types.ModuleType("yacs.config")
    setattr(module, "CfgNode", node)  # noqa: B010  # a module of this test's making
    monkeypatch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", module)
    settings = node(model=node(name="swin"))
    vars(settings)["frozen"] = True
    file = tmp_path / "w.pth"
    torch.save({"model": STATE, "config": settings}, file)
    monkeypatch.delitem(sys.modules, "yacs.config")
    monkeypatch.delitem(sys.modules, "yacs")
    assert same(read_file(file))


class Malice:
    def __reduce__(self):
        return os.system, ("touch hacked",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": STATE, "x": Malice()}, "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UsageError, match=r"w\.pth, a pickle that would run \w+\.system") as error:
        read_file("w.pth")
    assert "weights_only=False" in error.value.fix
    assert not (tmp_path / "hacked").exists()


def test_a_plain_pickle_that_runs_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(Malice()))
    with pytest.raises(UsageError, match=r"w\.pkl"):
        read_file("w.pkl")
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("part", [0.2, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "pickle"])
def test_a_file_cut_short_is_refused(tmp_path, kind, part):
    file = tmp_path / "w"
    big = {"a": torch.randn(100, 100), "b": torch.randn(5)}
    if kind == "safetensors":
        save_file(big, file)
    else:
        torch.save(big, file, _use_new_zipfile_serialization=kind == "zip")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(UsageError, match=str(file)) as error:
        read_file(file)
    assert "cut short" in error.value.fix


@pytest.mark.parametrize(
    ("content", "what", "fix"),
    [
        (b"", "an empty file", "give the file of weights"),
        (b"\xff\xd8\xff\xe0 photo", "a JPEG photo", "give the file of weights"),
        (b"<!DOCTYPE html>", "a web page", "the download failed"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer", "git lfs pull"),
        (b"some text", "no checkpoint", "give the file of weights"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content, what, fix):
    file = tmp_path / "model.pth"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=f"model.pth, which is {what}") as error:
        read_file(file)
    assert fix in error.value.fix


def test_a_zip_that_is_no_checkpoint_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("something", b"x")
    with pytest.raises(UsageError, match=r"w\.pth, a file that torch cannot read") as error:
        read_file(tmp_path / "w.pth")
    assert error.value.fix


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    save_file(STATE, tmp_path / "best.safetensors")
    with pytest.raises(UsageError, match=r"bst\.safetensors, which does not exist") as error:
        read_file(tmp_path / "bst.safetensors")
    assert "best.safetensors" in error.value.fix
    with pytest.raises(UsageError, match="does not exist") as error:
        read_file(tmp_path / "no" / "such.pth")
    assert "spelling" in error.value.fix


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], "text", {"model": {"lr": 1.0}}])
def test_a_file_without_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UsageError, match="holds no tensors by name") as error:
        read_file(tmp_path / "w.pth")
    assert "state_dict()" in error.value.fix


def test_a_mapping_may_hold_itself(tmp_path):
    content: dict = {"epoch": 3}
    for name in WRAPPERS:
        content[name] = content
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UsageError, match="holds no tensors by name") as error:
        read_file(tmp_path / "w.pth")
    assert error.value.fix


def test_nested_wrappers_end_somewhere(tmp_path):
    content: dict = {"model": STATE}
    for _ in range(50):
        content = {"model": content}
    with pytest.raises(UsageError, match="holds no tensors by name"):
        tensors_of(content)


def test_an_archive_that_unpacks_to_far_more_is_refused_before_it_is(tmp_path):
    torch.save({"a": torch.zeros(5_000_000)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    with pytest.raises(UsageError, match=r"w\.pth, whose [\d,]+ bytes unpack to 20,") as error:
        read_file(tmp_path / "w.pth")
    assert "trust" in error.value.fix


def test_tensors_that_repeat_few_numbers_endlessly_are_refused(tmp_path):
    torch.save({"a": torch.ones(1).expand(1000, 10_000)}, tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"w\.pth, whose [\d,]+ bytes are tensors of 40,"):
        read_file(tmp_path / "w.pth")


def test_tensors_without_numbers_are_refused(tmp_path):
    state = {"a.weight": torch.empty(3, device="meta"), "a.bias": torch.ones(3)}
    with pytest.raises(UsageError, match=r"1 tensors without numbers.*a\.weight") as error:
        tensors_of(state)
    assert "state dict of the model that has them" in error.value.fix


def test_a_module_s_own_state_dict_is_taken_as_it_is():
    state = torch.nn.Linear(3, 2).state_dict()
    assert list(tensors_of(state).state) == ["weight", "bias"]
