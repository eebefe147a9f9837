import json
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import save_file

from vitrail.errors import UsageError
from vitrail.models import download
from vitrail.weights import read_state, resolve, shipped
from vitrail.weights.sources import fetch, read_source

STATE = {"a.weight": torch.arange(6.0), "a.bias": torch.ones(2)}


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A cache of the hub, with one repository in it that has each kind of file."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def put(*names: str, repository: str = "someone/swin") -> Path:
        commit = "0" * 40
        folder = tmp_path / ("models--" + repository.replace("/", "--"))
        snapshot = folder / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(commit)
        for name in names:
            if name.endswith(".safetensors"):
                save_file(STATE, snapshot / name)
            else:
                torch.save(STATE, snapshot / name)
        return snapshot

    return put


def test_a_state_dict_a_path_and_a_string_are_sources(tmp_path, monkeypatch):
    save_file(STATE, tmp_path / "w.safetensors", metadata={"who": "me"})
    monkeypatch.chdir(tmp_path)
    found = [STATE, tmp_path / "w.safetensors", str(tmp_path / "w.safetensors"), "w.safetensors"]
    for source in found:
        assert torch.equal(read_source(source).state["a.weight"], STATE["a.weight"])
        assert torch.equal(read_state(source)["a.bias"], STATE["a.bias"])
    assert resolve("w.safetensors")[1] == {"who": "me"}
    assert resolve(STATE)[1] is None


def test_a_repository_in_the_cache_needs_no_network(cached):
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    snapshot = cached("model.safetensors", "pytorch_model.bin")
    (snapshot / "config.json").write_text("{}")
    assert fetch("someone/swin") == (
        [snapshot / "model.safetensors"], {"config.json": snapshot / "config.json"},
    )  # fmt: skip
    assert torch.equal(read_source("someone/swin").state["a.bias"], STATE["a.bias"])


def test_a_repository_that_is_not_cached_says_so_offline(cached):
    with pytest.raises(UsageError, match="someone/else, with no copy here") as error:
        read_source("someone/else")
    assert "connect" in error.value.fix
    assert "model.safetensors" in error.value.fix


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub with the files that are put into a dict; what was looked for is listed."""
    files: dict[str, Path] = {}
    calls: list[tuple] = []

    def metadata(url, token):
        file = url.rsplit("/", 1)[1]
        calls.append((url.split("/resolve/")[0].split("/", 3)[3], file, url.split("/")[-2]))
        if file not in files:
            raise EntryNotFoundError("none")

    def get(name, file, *, revision, token):
        return str(files[file])

    monkeypatch.setattr(download, "get_hf_file_metadata", metadata)
    monkeypatch.setattr(download, "hf_hub_download", get)
    return SimpleNamespace(files=files, calls=calls)


def test_the_safe_format_is_preferred_and_the_other_accepted(hub, tmp_path):
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    hub.files["pytorch_model.bin"] = tmp_path / "pytorch_model.bin"
    parts, others = fetch("someone/swin@v1")
    assert (parts, others) == ([tmp_path / "pytorch_model.bin"], {})
    assert hub.calls == [
        ("someone/swin", file, "v1")
        for file in ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                     "config.json", "preprocessor_config.json")
    ]  # fmt: skip


def test_a_repository_in_parts_is_read(hub, tmp_path):
    index = {"weight_map": {"a.weight": "x-1.safetensors", "a.bias": "x-2.safetensors"}}
    names = "model.safetensors.index.json", "x-1.safetensors", "x-2.safetensors"
    for name in names:
        hub.files[name] = tmp_path / name
    (tmp_path / names[0]).write_text(json.dumps(index))
    save_file({"a.weight": STATE["a.weight"]}, tmp_path / names[1])
    save_file({"a.bias": STATE["a.bias"]}, tmp_path / names[2])
    assert read_state("someone/swin").keys() == STATE.keys()


def test_a_repository_without_weights_is_refused(hub):
    with pytest.raises(UsageError, match="which has none of model") as error:
        fetch("someone/swin")
    assert "give its path" in error.value.fix


def refusing(kind):
    from huggingface_hub import errors

    response = SimpleNamespace(headers={}, request=None, status_code=404)

    def refuse(*_, **__):
        raise getattr(errors, kind)("no", response=response)

    return refuse


@pytest.mark.parametrize(
    ("kind", "given", "fix"),
    [
        ("RepositoryNotFoundError", "the hub does not have", "check the spelling"),
        ("RevisionNotFoundError", "has no such revision", "use someone/swin"),
        ("GatedRepoError", "terms have not been accepted", "accept its terms"),
        ("HfHubHTTPError", r"hub repository someone/swin@v9 \(no", "check the name"),
    ],
)
def test_what_the_hub_refuses_is_explained(monkeypatch, kind, given, fix):
    monkeypatch.setattr(download, "get_hf_file_metadata", refusing(kind))
    with pytest.raises(UsageError, match=given) as error:
        fetch("someone/swin@v9")
    assert fix in error.value.fix


def test_a_hub_out_of_reach_is_tried_once(monkeypatch):
    tries = []

    def fail(*_, **__):
        tries.append(1)
        raise OSError("[Errno -2] Name or service not known")

    monkeypatch.setattr(download, "get_hf_file_metadata", fail)
    monkeypatch.setattr(download, "hf_hub_download", fail)
    with pytest.raises(UsageError, match=r"out of reach \(\[Errno -2\] Name") as error:
        read_source("someone/swin")
    assert "give its path" in error.value.fix
    assert len(tries) == 1


# --- folders --------------------------------------------------------------------------------------


def test_a_folder_of_one_file_or_of_parts_is_a_source(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors")
    assert read_state(tmp_path).keys() == read_state(str(tmp_path)).keys() == STATE.keys()
    (tmp_path / "model.safetensors").rename(tmp_path / "part-1.safetensors")
    index = {"weight_map": dict.fromkeys(STATE, "part-1.safetensors")}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert read_state(tmp_path).keys() == STATE.keys()


def test_a_folder_without_weights_is_refused_and_a_file_in_it_named(tmp_path):
    with pytest.raises(UsageError, match="a folder") as error:
        read_source(tmp_path)
    assert error.value.fix == "name the checkpoint file"
    save_file(STATE, tmp_path / "best.safetensors")
    with pytest.raises(UsageError, match="a folder") as error:
        read_source(tmp_path)
    assert str(tmp_path / "best.safetensors") in error.value.fix


@pytest.mark.parametrize(
    "index",
    ["{", "[]", '{"weight_map": {}}', '{"weight_map": {"a": "../w.safetensors"}}',
     '{"weight_map": {"a": "/w.safetensors"}}', '{"weight_map": {"a": 3}}',
     '{"weight_map": {"a": [1]}}', "[" * 100_000],
)  # fmt: skip
def test_an_index_names_files_beside_it_and_nothing_else(tmp_path, index):
    folder = tmp_path / "folder"
    folder.mkdir()
    save_file(STATE, tmp_path / "w.safetensors")
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(UsageError, match=r"index\.json, an index that cannot be used") as error:
        read_source(folder)
    assert "again" in error.value.fix


@pytest.mark.parametrize("source", ["nonsense", "a/b/c", "two words"])
def test_what_is_no_source_is_refused(source):
    with pytest.raises(UsageError, match=f"weights '{source}'") as error:
        read_source(source)
    assert "bundled" in error.value.fix
    assert "owner/name" in error.value.allowed


@pytest.mark.parametrize("source", ["runs/best.safetensors", "./x", "~/no/such.pth"])
def test_a_path_is_never_taken_for_a_repository(source):
    with pytest.raises(UsageError, match="does not exist") as error:
        read_source(source)
    assert error.value.fix


def test_an_installation_without_weights_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "HOME", tmp_path)
    with pytest.raises(UsageError, match=r"'bundled', but .*cifar10.safetensors is miss") as error:
        read_source("bundled")
    assert "reinstall" in error.value.fix


def test_another_name_of_weights_that_come_along_is_refused_with_all_names():
    with pytest.raises(UsageError, match="weights 'bundled:cats'") as error:
        read_source("bundled:cats")
    assert all(row.weights in error.value.allowed for row in shipped.shipped())
    assert "vitrail list --bundled" in error.value.fix


def test_what_is_no_weights(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"'swin_nano', which is the name of a model[\s\S]*"
                       r"create_model\('swin_nano', weights"):  # fmt: skip
        read_source("swin_nano")
    with zipfile.ZipFile(tmp_path / "cells.zip", "w") as archive:
        archive.writestr("images/a.png", b"")
    words = r"a zip of data \(images/a.png\)[\s\S]*vitrail train \S*cells.zip"
    with pytest.raises(UsageError, match=words):
        read_source(str(tmp_path / "cells.zip"))
