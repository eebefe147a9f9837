"""``save_pretrained`` and ``from_pretrained``: what is damaged or another's is refused, quickly."""

import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import save_file

from tests.support import refuses, small
from vitrail.models import Backbone, Swin, hub
from vitrail.weights import load_model


@pytest.fixture
def folder(tmp_path):
    model = small("2-D")
    model.save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder, tensors=None, **changes):
    """Write the folder's file again, with other tensors or another description."""
    state, meta = hub.read(folder / hub.FILE_NAME)
    described = json.loads(meta["config"]) | changes.pop("config", {})
    meta |= {"config": json.dumps(described)} | changes
    save_file({**state, **(tensors or {})}, folder / hub.FILE_NAME, metadata=meta)


def test_a_folder_a_file_and_a_string_are_taken(folder):
    for given in (folder, str(folder), folder / hub.FILE_NAME):
        model = Backbone.from_pretrained(given)
        assert isinstance(model, Swin)
        assert not model.training


def test_a_damaged_config_json_does_no_harm(folder):
    (folder / "config.json").write_text("{" * 100_000)
    assert Swin.from_pretrained(folder).config == small("2-D").config


@pytest.mark.parametrize(
    ("config", "given"),
    [
        ({"depths": [10**7, 2]}, "depths (10000000, 2), weights of 4 blocks"),
        ({"depths": [2, 3]}, "depths (2, 3), weights of 4 blocks"),
        ({"depths": [2] * 10**6, "num_heads": [2] * 10**6}, "depths=(2, 2"),
        ({"dim": "wide"}, "dim='wide'"),
        ({"window": [-1, 4]}, "window=(-1, 4)"),
        ({"padding": "bogus"}, "padding='bogus'"),
        ({"window": [10**6, 4]}, "window of 4,000,000 tokens"),
        ({"num_classes": 3}, "5 names for 3 classes"),
    ],
)
def test_a_description_larger_than_its_file_is_refused_before_anything_is_built(
    folder, config, given
):
    names = {**asdict(small("2-D").preprocessing), "classes": list("abcde")}
    rewrite(folder, config=config, preprocessing=json.dumps(names))
    for build in (Backbone.from_pretrained, lambda path: load_model(path)):
        with refuses(given, "copy it again"):
            build(folder)


@pytest.mark.parametrize("dim", [10**7, 16])
def test_a_description_of_other_widths_is_refused_before_memory_is_taken(folder, dim):
    rewrite(folder, config={"dim": dim})
    for build in (Backbone.from_pretrained, lambda path: load_model(path)):
        with refuses("embed.proj.weight: (8, 3, 2, 2) in the file", "copy it again"):
            build(folder)


@pytest.mark.parametrize(
    ("field", "key"), [("num_classes", "head.weight"), ("in_channels", "embed.proj.weight")]
)
def test_what_a_load_adapts_is_not_adapted_to_a_description(folder, field, key):
    rewrite(folder, config={field: 10**7})
    for build in (Backbone.from_pretrained, lambda path: load_model(path)):
        with refuses(f"{key}: (", "copy it again"):
            build(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": "[" * 100_000}, {"config": "[]"}, {"config": '{"dim": 1e400}'},
        {"preprocessing": '{"size": [1' + "0" * 4000 + "]}"}, {"preprocessing": "{}}"},
        {"model": "Unheard"}, {"preprocessing": '{"mean": ["a", "b", "c"]}'},
    ],
)  # fmt: skip
def test_a_description_that_cannot_be_understood_is_refused(folder, changes):
    state, meta = hub.read(folder / hub.FILE_NAME)
    save_file(state, folder / hub.FILE_NAME, metadata={**meta, **changes})
    with refuses("whose description cannot be used", "upgrade vitrail"):
        Backbone.from_pretrained(folder)


def test_a_damaged_file_is_refused(folder):
    whole = (folder / hub.FILE_NAME).read_bytes()
    for damaged in (whole[:100], whole[:-4], b"\xff" * 8 + whole[8:], b"", b"\x80\x02."):
        (folder / hub.FILE_NAME).write_bytes(damaged)
        with refuses("a safetensors file that cannot be read", "copy it again"):
            Backbone.from_pretrained(folder)


def test_what_is_not_there_or_not_ours_is_refused(folder, tmp_path):
    (folder / hub.FILE_NAME).unlink()
    with refuses("which is not there", "create_model(name, weights="):
        Backbone.from_pretrained(folder)
    save_file({"a": torch.ones(1)}, folder / hub.FILE_NAME, metadata={"format": "pt"})
    with refuses("which is not of this library", "create_model(name, weights="):
        Backbone.from_pretrained(folder)
    with refuses("hub repository someone/swin, with no copy here", "connect"):
        Backbone.from_pretrained("someone/swin")
    with refuses("hub repository a b c", "check the name"):
        Backbone.from_pretrained("a b c")


@pytest.mark.parametrize(
    ("tensor", "given"),
    [
        (torch.full((16,), float("nan")), "16 of 16 numbers are NaN"),
        (torch.ones(16, dtype=torch.int32), "integers"),
        (torch.ones(15), r"norm.weight: (15,) in the file"),
    ],
)
def test_tensors_that_are_no_weights_are_refused(folder, tensor, given):
    rewrite(folder, {"norm.weight": tensor})
    with refuses(given, ""):
        Backbone.from_pretrained(folder)


def test_a_changed_field_that_does_not_fit_names_what_adapts(folder):
    with refuses("(5, 16) in the file, (7, 16) in the model", "create_model"):
        Backbone.from_pretrained(folder, num_classes=7)
