"""Weights that do not fit: the fix is one that the command line has."""

import pytest
import torch

from vitrail import UsageError, create_model
from vitrail.cli._models import load_model, model_to_train
from vitrail.weights import save, to_format

SMALL = {"dim": 24, "depths": (1, 1, 1, 1), "num_heads": (3, 3, 3, 3), "num_classes": 5}


@pytest.fixture
def path(tmp_path):
    save(create_model("swin_tiny", **SMALL), tmp_path / "w.safetensors")
    return str(tmp_path / "w.safetensors")


def changed(path, **weights):
    state = to_format(create_model("swin_tiny", **SMALL), "timm")
    torch.save({**state, **weights}, path.replace("w.safetensors", "w.pth"))
    return path.replace("w.safetensors", "w.pth")


def test_the_named_model_is_another(path):
    with pytest.raises(UsageError, match="for swin_tiny") as error:
        load_model("swin_tiny", path)
    assert "leave --model out" in error.value.fix
    assert load_model(None, path)[0].config.dim == 24


def test_what_is_unknown_is_dropped_by_a_conversion(path, tmp_path):
    from vitrail.cli.main import run

    other = changed(path, **{"something.else": torch.ones(3)})
    with pytest.raises(UsageError, match="1 unexpected") as error:
        load_model(None, other)
    words = error.value.fix.split(": vitrail ")[1].split()
    words[2] = str(tmp_path / words[2])
    assert run(words) == 0
    assert load_model(None, words[2])[0].config.dim == 24


def test_what_is_not_finite(path):
    other = changed(path, **{"norm.bias": torch.full((192,), float("nan"))})
    with pytest.raises(UsageError, match="192 of 192 numbers are NaN") as error:
        load_model(None, other)
    assert error.value.fix == "use weights from before the training diverged"


def test_bundled_weights_are_of_one_model():
    with pytest.raises(UsageError, match="weights 'bundled' for swin_tiny") as error:
        load_model("swin_tiny", "bundled")
    assert "use 'swin_nano'" in error.value.fix


def test_training_starts_from_random_numbers_or_a_checkpoint(path):
    drawn = []
    for name, weights in (("swin_nano", None), (None, "none"), (None, None)):
        torch.manual_seed(3)
        drawn.append(model_to_train(name, weights, num_classes=2).state_dict())
    torch.manual_seed(3)
    for key, value in create_model("swin_nano", num_classes=2).state_dict().items():
        assert all(torch.equal(value, state[key]) for state in drawn)
    assert model_to_train("swin_t", None, depths=(1, 1, 1, 1)).name == "swin_tiny"
    bundled = model_to_train("swin_nano", "bundled", num_classes=2).state_dict()
    whole = load_model(None, None)[0].state_dict()
    other = {key for key in whole if not torch.equal(whole[key], bundled[key])}
    assert other == {"head.weight", "head.bias"}
    assert model_to_train(path, None, num_classes=2).config.num_classes == 2
    with pytest.raises(UsageError, match="imagenet1k without a model"):
        model_to_train(None, "imagenet1k")
