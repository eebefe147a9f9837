import stat

import pytest
import torch
from safetensors import safe_open

from vitrail.errors import UsageError
from vitrail.models import Backbone, Swin
from vitrail.weights import load, load_model, save
from vitrail.weights.save import save_state


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_a_file_holds_weights_and_what_they_are_of(build, tmp_path):
    model = build()
    save(model, tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(model.state_dict())
        assert file.metadata()["format"] == "vitrail"
        assert file.metadata()["model"] == "Swin"
    assert equal(load_model(tmp_path / "w.safetensors"), model)


def test_half_precision_is_half_the_file(build, tmp_path):
    model = build()
    save(model, tmp_path / "full.safetensors")
    save(model, tmp_path / "half.safetensors", dtype=torch.float16)
    full, half = ((tmp_path / f"{n}.safetensors").stat().st_size for n in ("full", "half"))
    assert half < 0.6 * full
    loaded = load_model(tmp_path / "half.safetensors")
    key = "head.weight"
    assert torch.equal(loaded.state_dict()[key], model.state_dict()[key].half().float())


def test_a_file_may_be_read_by_others(build, tmp_path):
    save(build(), tmp_path / "w.safetensors")
    (tmp_path / "plain").touch()
    modes = [stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("w.safetensors", "plain")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_what_was_there_stays_whole_when_writing_fails(build, tmp_path, monkeypatch, name):
    model = build()
    save_state(model.state_dict(), tmp_path / name)
    before = (tmp_path / name).read_bytes()

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vitrail.models.hub.save_file", fail)
    monkeypatch.setattr("torch.save", fail)
    with pytest.raises(OSError, match="No space left"):
        save_state(model.state_dict(), tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("path", "match", "fix"),
    [("w.txt", "ending in .txt", "w.safetensors"), ("w", "ending in nothing", "w.safetensors"),
     ("no/w.safetensors", "a folder that does not exist", "mkdir -p"),
     ("w" * 300 + ".safetensors", "cannot be written", "another folder or name")],
)  # fmt: skip
def test_a_path_that_cannot_be_written_is_refused(build, tmp_path, path, match, fix):
    with pytest.raises(UsageError, match=match) as error:
        save(build(), tmp_path / path)
    assert fix in error.value.fix
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_file_of_weights(build, tmp_path):
    (tmp_path / "w.safetensors").mkdir()
    with pytest.raises(UsageError, match="which is a folder") as error:
        save(build(), tmp_path / "w.safetensors")
    assert "w.safetensors/model.safetensors" in error.value.fix


def test_a_pickle_loads_with_weights_only(build, tmp_path):
    model = build()
    save_state(model.state_dict(), tmp_path / "w.pth", wrap="model")
    content = torch.load(tmp_path / "w.pth", weights_only=True)
    assert list(content) == ["model"]
    assert not load(build(), tmp_path / "w.pth").entries


@pytest.mark.parametrize("kind", ["swin", "swin_v2", "video"])
def test_the_hub_s_methods_round_trip_offline(build, tmp_path, kind):
    model = build(kind, padding="visible")
    model.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").exists()
    for again in (type(model).from_pretrained(tmp_path / "model"),
                  Backbone.from_pretrained(str(tmp_path / "model"))):  # fmt: skip
        assert type(again) is type(model)
        assert again.config == model.config
        assert again.preprocessing == model.preprocessing
        assert equal(again, model)
        assert not again.training
    # The same file is a source of weights like any other.
    assert not load(build(kind), tmp_path / "model" / "model.safetensors").problems


def test_from_pretrained_may_change_the_configuration(build, tmp_path):
    build().save_pretrained(tmp_path)
    assert Swin.from_pretrained(tmp_path, drop_path=0.5).config.drop_path == 0.5
