"""A model of a task: its parts, its file, and what starts from it."""

import copy
import json
import logging
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import vitrail
from tests.support import refuses
from vitrail.export import export_onnx
from vitrail.heads import SemanticFPNConfig
from vitrail.models import Backbone, HeadFacts, Swin, TaskFacts, TaskModel, hub
from vitrail.weights import load_backbone, read_state, resolve, save

TINY = {"dim": 8, "depths": (1, 2), "num_heads": (1, 2), "window": (2, 2)}
HEAD = SemanticFPNConfig(pyramid_dim=8, dim=8, groups=2)
ABOUT = {"task": "segment", "head": HEAD, **TINY}


@pytest.fixture
def model() -> TaskModel:
    torch.manual_seed(0)
    made = vitrail.create_model("swin_nano", num_classes=3, **ABOUT)
    with torch.no_grad():
        for parameter in made.parameters():  # norms and biases that start at ones and zeros too
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.eval()


@pytest.fixture
def path(model, tmp_path):
    save(model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


X = torch.randn(2, 3, 19, 30, generator=torch.Generator().manual_seed(0))


def test_an_answer_for_every_sample(model) -> None:
    assert model(X).shape == (2, 3, 19, 30)
    loss = model.train()(X).square().mean()
    loss.backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    assert unused == [], "data-parallel training would wait for these"


@pytest.mark.parametrize("name", ["vit_tiny", "pvt_v2_b0", "hiera_tiny", "maxvit_tiny"])
def test_on_backbones_of_other_families(name) -> None:
    fields = {"head": HEAD, "num_classes": 2}
    with torch.device("meta"):
        model = vitrail.create_model(name, task="segment", **fields)
        assert model(torch.zeros(1, 3, 70, 45)).shape == (1, 2, 70, 45)


def test_on_sequences_and_volumes() -> None:
    tiny = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2)}
    line = vitrail.create_model(
        "swin1d_tiny", task="segment", head=HEAD, num_classes=2, in_channels=1, **tiny
    )
    assert line(torch.zeros(2, 1, 101)).shape == (2, 2, 101)
    volume = vitrail.create_model(
        "video_swin_tiny",
        task="segment",
        head=HEAD,
        num_classes=2,
        in_channels=1,
        window=(2, 2, 2),
        **tiny,
    )
    assert volume(torch.zeros(1, 1, 5, 18, 21)).shape == (1, 2, 5, 18, 21)


def test_it_answers_as_its_backbone_does(model) -> None:
    inner = model.backbone
    assert model.config is inner.config
    assert (model.name, model.num_classes) == ("swin_nano", 3)
    model.preprocessing = inner.preprocessing
    assert model.layer_index("backbone.embed.proj.weight") == 0
    assert model.layer_index("backbone.stages.1.blocks.1.attn.qkv.weight") == 3
    assert model.layer_index("head.classify.weight") == model.num_layers - 1 == 4
    assert "head.classify.bias" in model.no_weight_decay()
    assert "backbone.embed.norm.weight" in model.no_weight_decay()
    model.set_grad_checkpointing()
    assert all(stage.checkpointing for stage in inner.stages)
    groups = vitrail.parameter_groups(model, 1.0, 0.1, 0.5)
    named = {name: group for group in groups for name in group["names"]}
    assert named.keys() == dict(model.named_parameters()).keys()
    assert named["head.classify.weight"]["lr_scale"] == 1.0
    assert named["backbone.embed.proj.weight"]["lr_scale"] == 0.5**4


def test_the_file_builds_it_again(model, path, tmp_path) -> None:
    expected = model(X)
    again = vitrail.load(path)
    assert isinstance(again, TaskModel)
    assert not again.training
    assert (again.task, again.head_facts) == (model.task, model.head_facts)
    assert again.preprocessing == model.preprocessing
    assert torch.equal(again(X), expected)
    model.save_pretrained(tmp_path / "folder")
    assert torch.equal(vitrail.load(tmp_path / "folder")(X), expected)
    assert torch.equal(TaskModel.from_pretrained(tmp_path / "folder")(X), expected)
    save(model, tmp_path / "half.safetensors", dtype=torch.float16)
    half = vitrail.load(tmp_path / "half.safetensors")
    torch.testing.assert_close(half(X), expected, rtol=2e-2, atol=2e-2)
    assert torch.equal(copy.deepcopy(model)(X), expected)


def test_names_of_classes_are_in_the_file(model, tmp_path) -> None:
    names = ("background", "inside", "border")
    model.backbone._set_preprocessing(classes=names, trained=True)
    save(model, tmp_path / "m.safetensors")
    assert vitrail.load(tmp_path / "m.safetensors").preprocessing == model.preprocessing


def test_a_reader_without_tasks_refuses_the_file(path) -> None:
    """What describes it is of a class that such a version does not have."""
    state, meta = resolve(path)
    assert meta is not None
    old = {key: value for key, value in meta.items() if key != "task"}
    with refuses("model 'TaskModel'", "come from a later version: upgrade vitrail"):
        hub.described(old, {"Swin": Swin}, state)


@pytest.mark.parametrize(
    ("change", "given"),
    [
        ({"head": json.dumps({"name": "hyperhead", "config": {}})}, "hyperhead"),
        ({"head": json.dumps({"name": "semantic_fpn", "config": {"width": 3}})}, "width"),
        ({"head": "[1"}, "cannot be used"),
        ({"task": json.dumps({"name": "segment", "classes": "3"})}, "classes='3'"),
        ({"task": json.dumps({"name": "segment", "classes": 3, "more": 1})}, "more"),
        ({"backbone": "Swim"}, "Swim"),
    ],
)
def test_descriptions_of_a_later_version(change, given, path, tmp_path) -> None:
    state, meta = resolve(path)
    save_file(state, tmp_path / "new.safetensors", {**(meta or {}), **change})
    with refuses(given, "later version: upgrade vitrail"):
        vitrail.load(tmp_path / "new.safetensors")


def test_a_head_of_another_size_than_described(path, tmp_path) -> None:
    state, meta = resolve(path)
    assert meta is not None
    for change in ({"head.classify.bias": torch.zeros(4)}, {"head.more": torch.zeros(4)}):
        save_file({**state, **change}, tmp_path / "new.safetensors", meta)
        with refuses(next(iter(change)).removeprefix("head."), "leave the changed fields out"):
            vitrail.load(tmp_path / "new.safetensors")
    state["head.classify.bias"] = torch.full((3,), float("nan"))
    save_file(state, tmp_path / "new.safetensors", meta)
    with refuses("classify.bias", "before the training diverged"):
        vitrail.load(tmp_path / "new.safetensors")


def test_files_for_the_wrong_hands(model, path, tmp_path) -> None:
    with refuses("a model with the head of a task", "use vitrail.load(path)"):
        Backbone.from_pretrained(path)
    with refuses("weights of a model for task segment", ".backbone is one"):
        load_backbone(path)
    plain = vitrail.create_model("swin_nano", num_classes=2, **TINY)
    plain.save_pretrained(tmp_path / "plain")
    with refuses("a file of a Swin", "use vitrail.load(path)"):
        TaskModel.from_pretrained(tmp_path / "plain")
    with refuses("swin_nano with a classifier", "out_indices"):
        TaskModel(plain, model.task, model.head_facts)
    later = TaskModel(model.backbone, replace(model.task, name="depth"), model.head_facts)
    with refuses("a model for task depth", "call the model itself"):
        vitrail.predict(later, torch.zeros(3, 8, 8, dtype=torch.uint8))
    with refuses("a model for task depth to export", "export model.backbone"):
        export_onnx(later, tmp_path / "m.onnx")
    with refuses("a model for task depth", "explore its backbone"):
        vitrail.explore(later, torch.zeros(3, 8, 8, dtype=torch.uint8))


# ---- what starts from a file -------------------------------------------------------------------


def test_classes_that_are_not_given() -> None:
    with refuses("task='segment' without num_classes", "add num_classes=2"):
        vitrail.create_model("swin_nano", **ABOUT)
    with refuses("num_classes=0 for task='segment'", "use num_classes=2"):
        vitrail.create_model("swin_nano", num_classes=0, **ABOUT)


def test_a_classifier_starts_a_task() -> None:
    model = vitrail.create_model(
        "swin_nano", task="segment", head=HEAD, num_classes=2, weights="bundled"
    )
    ours, theirs = model.backbone.state_dict(), read_state("bundled")
    shared = [key for key in ours if not key.startswith("feature_norms.")]
    assert shared
    assert all(torch.equal(ours[key], theirs[key].float()) for key in shared)
    assert model.preprocessing.classes is None, "those were the classifier's"


def test_a_task_starts_the_same_task(model, path, caplog) -> None:
    same = vitrail.create_model("swin_nano", weights=path, **ABOUT)
    assert torch.equal(same(X), model(X))
    with caplog.at_level(logging.WARNING, "vitrail.weights"):
        other = vitrail.create_model("swin_nano", weights=path, num_classes=5, **ABOUT)
    assert "head.classify.bias, head.classify.weight" in caplog.text
    ours = other.state_dict()
    for key, value in load_file(path).items():
        assert key.startswith("head.classify.") or torch.equal(ours[key], value), key


def test_a_task_starts_a_classifier(model, path, caplog) -> None:
    with caplog.at_level(logging.INFO, "vitrail.weights"):
        made = vitrail.create_model("swin_nano", num_classes=4, weights=path, **TINY)
    assert "weights of other parts were left out (head." in caplog.text
    assert "the file is of another task, without a last norm" in caplog.text
    for key, value in model.backbone.state_dict().items():
        if not key.startswith("feature_norms."):
            assert torch.equal(made.state_dict()[key], value)


def test_facts_are_checked() -> None:
    assert TaskFacts(name="segment", classes=2).options == {}
    assert HeadFacts(name="semantic_fpn", config=HEAD).config.dim == 8  # type: ignore[attr-defined]
    with refuses("num_classes=-1", "num_classes=2"):
        TaskFacts(name="segment", classes=-1)
