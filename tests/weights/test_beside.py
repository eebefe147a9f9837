"""Folders as other libraries write them: labels, the input, and windows come with the weights."""

import json

import pytest
import torch
from safetensors.torch import save_file

from vitrail import create_model
from vitrail.cli.main import run
from vitrail.errors import UsageError
from vitrail.weights import convert, load_model, save, to_format

LABELS = ["cat", "dog", "newt", "owl", "yak"]


def named(labels):
    return {str(index): name for index, name in enumerate(labels)}


@pytest.fixture
def put(tmp_path):
    """Write a folder: weights in a format, and JSON files beside them."""

    def write(model, to, **files):
        save_file(to_format(model, to), tmp_path / "model.safetensors", metadata={"format": "pt"})
        for name, value in files.items():
            text = value if isinstance(value, str) else json.dumps(value)
            (tmp_path / f"{name}.json").write_text(text)
        return tmp_path

    return write


def test_transformers_own_folder_gives_its_outputs_and_labels(draw, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.Swinv2Config(
        image_size=96, embed_dim=24, depths=[2, 2, 2], num_heads=[3, 6, 12], window_size=8,
        pretrained_window_sizes=[6, 0, 0], id2label=dict(enumerate(LABELS)), layer_norm_eps=1e-4,
    )  # fmt: skip
    peer = draw(transformers.Swinv2ForImageClassification(config)).eval()
    peer.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert model.preprocessing.classes == tuple(LABELS)
    assert model.preprocessing.size == (96, 96)
    assert model.preprocessing.trained
    assert model.config.windows == ((8, 8), (8, 8), (6, 6))
    assert model.config.normalisers == ((6, 6), (8, 8), (6, 6))
    assert model.config.norm_eps == 1e-4
    for size in ((96, 96), (96, 160), (64, 96)):
        x = torch.randn(2, 3, *size)
        with torch.inference_mode():
            torch.testing.assert_close(model(x), peer(x).logits, rtol=1e-4, atol=1e-4)


def test_timm_s_own_folder_gives_its_outputs_labels_and_input(draw, tmp_path):
    timm = pytest.importorskip("timm")
    small = {"embed_dim": 24, "depths": (2, 2, 2, 2), "num_heads": (3, 6, 12, 24)}
    peer = timm.create_model("swinv2_tiny_window16_256", num_classes=5, **small)
    draw(peer).eval()
    peer.pretrained_cfg["mean"] = (0.1, 0.2, 0.3)
    timm.models._hub.save_for_hf(peer, tmp_path, model_config={"label_names": LABELS})
    model = load_model(str(tmp_path))
    assert model.preprocessing.classes == tuple(LABELS)
    assert model.preprocessing.mean == (0.1, 0.2, 0.3)
    assert model.config.windows == ((16, 16), (16, 16), (16, 16), (8, 8))
    x = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), peer(x), rtol=1e-4, atol=1e-4)


def test_a_window_grown_after_pre_training_is_known(build, put):
    model = build("swin_v2", depths=(1, 1, 1, 1), num_heads=(3, 3, 3, 3))
    config = {
        "architecture": "swinv2_base_window12to16_192to256",
        "pretrained_cfg": {"input_size": [3, 256, 256]}, "model_args": {"depths": [1, 1, 1, 1]},
    }  # fmt: skip
    found = load_model(put(model, "timm", config=config)).config
    assert found.windows == ((16, 16), (16, 16), (16, 16), (8, 8))
    assert found.normalisers == ((12, 12), (12, 12), (12, 12), (6, 6))


def test_the_processor_s_numbers_are_taken(build, put):
    wanted = {
        "size": {"height": 64, "width": 96}, "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.25, 0.25, 0.25], "resample": 2, "do_normalize": True,
    }  # fmt: skip
    folder = put(build(), "transformers", config={"id2label": named(LABELS)},
                 preprocessor_config=wanted)  # fmt: skip
    found = load_model(folder).preprocessing
    assert (found.size, found.crop, found.interpolation) == ((64, 96), 1.0, "bilinear")
    assert (found.mean, found.std) == ((0.5,) * 3, (0.25,) * 3)
    grey = load_model(put(build(in_channels=1), "transformers")).preprocessing
    assert grey.mean != (0.5,) * 3


def test_heads_that_no_shape_shows_come_from_the_settings(build, put):
    config = {"model_type": "pvt_v2", "num_attention_heads": [3, 6]}
    model = build("pvt_v2")
    assert load_model(put(model, "transformers", config=config)).config.num_heads == (3, 6)


def test_labels_come_to_our_own_file_and_by_conversion(build, put, tmp_path):
    folder = put(build(), "timm", config={"architecture": "swin", "label_names": LABELS})
    convert(folder, tmp_path / "ours.safetensors", "vitrail")
    assert load_model(tmp_path / "ours.safetensors").preprocessing.classes == tuple(LABELS)
    save(build(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"id2label": named(LABELS)}))
    assert load_model(folder).preprocessing.classes == tuple(LABELS)


def test_labels_of_another_number_of_classes_and_placeholders_are_left_out(build, put):
    for labels in (LABELS[:3], [f"LABEL_{i}" for i in range(5)]):
        folder = put(build(), "transformers", config={"id2label": named(labels)})
        assert load_model(folder).preprocessing.classes is None
    small = {"dim": 24, "depths": (2, 2), "num_heads": (3, 6)}
    folder = put(build(), "transformers", config={"id2label": named(LABELS)})
    assert create_model("swin_tiny", weights=folder, **small).preprocessing.classes is not None
    other = create_model("swin_tiny", weights=folder, num_classes=7, **small)
    assert other.preprocessing.classes is None


@pytest.mark.parametrize(
    ("config", "given", "fix"),
    [
        ("{", "config.json, which cannot be read", "move it away"),
        ("[1]", "a list instead of an object", "move it away"),
        ("[" * 100_000, "config.json, which cannot be read", "move it away"),
        ({"id2label": {"0": 3}}, r"a value that cannot be used \(labels \[3\]\)", "move it away"),
        ({"id2label": {"1": "a"}}, "without some of its numbers", "move it away"),
        ({"id2label": 7}, "a value that cannot be used", "move it away"),
        ({"architecture": "x", "label_names": "cats"}, "labels 'cats'", "move it away"),
        ({"model_type": "swin", "hidden_act": "relu"}, "hidden_act='relu'", "GELU"),
        ({"model_type": "swin", "image_size": [1, 2, 3]}, "a value that cannot", "move it away"),
        ({"model_type": "pvt_v2", "patch_sizes": [7, 3], "strides": [2, 2]},
         r"strides=\[2, 2\] for patch_sizes=\[7, 3\]", "published"),
        ({"model_type": "swinv2", "window_size": 8, "image_size": 10**9, "depths": [2, 2]},
         "a size of 1000000000", "move it away"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_used_are_refused(build, put, config, given, fix):
    folder = put(build(), "transformers", config=config)
    with pytest.raises(UsageError, match=given) as error:
        load_model(folder)
    assert fix in error.value.fix


def test_a_folder_is_what_every_command_takes(build, put, tmp_path, capsys):
    folder = str(put(build(), "transformers", config={"id2label": named(LABELS)}))
    assert run(["convert", folder, str(tmp_path / "w.pth"), "--to", "timm"]) == 0
    assert "transformers weights" in capsys.readouterr().out
    assert run(["convert", folder, f"{folder}/model.safetensors", "--to", "timm"]) == 2
    assert "which is the file that is read" in capsys.readouterr().err
