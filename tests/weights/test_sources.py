import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from vitrail.errors import UsageError
from vitrail.weights import read_state, resolve, sources
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
    assert fetch("someone/swin").name == "model.safetensors"
    assert fetch("someone/swin").parent.name == snapshot.name
    assert torch.equal(read_source("someone/swin").state["a.bias"], STATE["a.bias"])


def test_a_repository_that_is_not_cached_says_so_offline(cached):
    with pytest.raises(UsageError, match="someone/else, with no copy here") as error:
        read_source("someone/else")
    assert "connect" in error.value.fix
    assert "model.safetensors" in error.value.fix


def test_the_safe_format_is_preferred_and_the_other_accepted(monkeypatch, tmp_path):
    from huggingface_hub.errors import EntryNotFoundError

    asked = []
    torch.save(STATE, tmp_path / "pytorch_model.bin")

    def download(name, file, revision):
        asked.append((name, file, revision))
        if file == "model.safetensors":
            raise EntryNotFoundError("none")
        return str(tmp_path / file)

    monkeypatch.setattr(sources, "hf_hub_download", download)
    assert fetch("someone/swin@v1").name == "pytorch_model.bin"
    assert asked == [("someone/swin", "model.safetensors", "v1"),
                     ("someone/swin", "pytorch_model.bin", "v1")]  # fmt: skip


def test_a_repository_without_weights_is_refused(monkeypatch):
    from huggingface_hub.errors import EntryNotFoundError

    def download(*_, **__):
        raise EntryNotFoundError("none")

    monkeypatch.setattr(sources, "hf_hub_download", download)
    with pytest.raises(UsageError, match="which has none of model") as error:
        fetch("someone/swin")
    assert "give its path" in error.value.fix


def refusing(kind):
    from huggingface_hub import errors

    response = SimpleNamespace(headers={}, request=None, status_code=404)

    def download(*_, **__):
        raise getattr(errors, kind)("no", response=response)

    return download


@pytest.mark.parametrize(
    ("kind", "given", "fix"),
    [
        ("RepositoryNotFoundError", "the hub does not know", "check the spelling"),
        ("RevisionNotFoundError", "has no such revision", "use someone/swin"),
        ("GatedRepoError", "agreement to its terms", "accept its terms"),
        ("HfHubHTTPError", r"hub repository someone/swin@v9 \(no", "check the name"),
    ],
)
def test_what_the_hub_refuses_is_explained(monkeypatch, kind, given, fix):
    monkeypatch.setattr(sources, "hf_hub_download", refusing(kind))
    with pytest.raises(UsageError, match=given) as error:
        fetch("someone/swin@v9")
    assert fix in error.value.fix


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


def test_an_installation_without_weights_says_so(monkeypatch):
    monkeypatch.setattr(sources, "BUNDLED", "absent.safetensors")
    with pytest.raises(UsageError, match=r"'bundled', but .*absent") as error:
        read_source("bundled")
    assert "reinstall" in error.value.fix
