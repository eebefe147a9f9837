"""`vitrail list`."""

import json
import re

import pytest
import torch

from vitrail import create_model, list_models, patterns
from vitrail.cli import list as module
from vitrail.cli.list import describe, window_text
from vitrail.cli.main import run


def test_every_model_is_listed_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = module.describe("swin_nano")  # what is said of each is tested below, and takes a second
    monkeypatch.setattr(module, "describe", lambda name: {**one, "name": name})
    assert run(["list"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == list_models()


def test_a_pattern_selects(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "video_*"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == list_models("video_*")
    assert all("8x7x7" in row and "32x224x224" in row for row in rows)


def test_json_is_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "swin_tiny", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {
        "name": "swin_tiny",
        "parameters": 28_288_354,  # as torchvision publishes for swin_t
        "windows": [[7, 7]] * 4,
        "input": [224, 224],
        "mechanism": "shifted window",
    }


def test_parameters_are_those_of_the_model() -> None:
    model = create_model("swin_nano")
    assert describe("swin_nano")["parameters"] == sum(p.numel() for p in model.parameters())


def test_cosine_attention_is_reported() -> None:
    assert describe("swin_v2_tiny")["mechanism"] == "shifted window, cosine"


def test_a_last_stage_with_another_window_is_reported() -> None:
    assert window_text(((7, 7), (7, 7))) == "7x7"
    assert window_text(((16, 16), (16, 16), (8, 8))) == "16x16, last stage 8x8"


def test_a_pattern_without_a_match_names_the_nearest_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["list", "swin_tin"]) == 2
    err = capsys.readouterr().err
    assert "given: pattern 'swin_tin'" in err and "fix: run `vitrail list swin_tiny`" in err


def test_a_pattern_far_from_everything_points_to_the_whole_list(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["list", "zzz*"]) == 2
    err = capsys.readouterr().err
    assert "'zzz*'" in err and "fix: run `vitrail list` for all of them" in err


def test_mechanisms_have_the_words_of_the_field() -> None:
    assert describe("sparse_tiny")["mechanism"] == "sparse, strided"
    assert describe("global_tiny")["mechanism"] == "standard (global)"


@pytest.mark.parametrize("name", list_models())
def test_no_name_of_a_class_is_glued_together(name: str) -> None:
    glued = {kind.lower() for kind in patterns.__all__ if len(re.findall("[A-Z]", kind)) > 1}
    assert {"sparsestrided", "pooledqueries"} <= glued
    with torch.device("meta"):
        said = module.mechanism(create_model(name))
    assert not glued & {*re.findall(r"\w+", said)}


def test_a_model_without_windows_has_none() -> None:
    said = describe("pvt_v2_b0")
    assert said["windows"] is None
    assert said["mechanism"] == "spatial reduction and standard (global)"
    assert window_text(None) == "-"


def test_published_weights_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--weights", "swin_[tb]*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["model", "weights", "input", "classes", "top-1", "licence", "where"]
    assert {line.split()[0] for line in lines[1:]} == {"swin_tiny", "swin_base", "swin_base_384"}
    marked = [line.split()[:2] for line in lines if " * " in line]
    assert ["swin_tiny", "timm:ms_in1k"] in marked and len(marked) == 3
    assert run(["list", "-w", "swin_tiny", "--json"]) == 0
    rows = {row["weights"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["torchvision:IMAGENET1K_V1"] == {
        "model": "swin_tiny",
        "weights": "torchvision:IMAGENET1K_V1",
        "imagenet1k": False,
        "input": 224,
        "classes": 1000,
        "top1": 81.474,
        "licence": None,
        "where": "Swin_T_Weights.IMAGENET1K_V1",
    }


def test_models_without_published_weights_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--weights", "focal_*"]) == 2
    assert "'focal_*', whose models have no published weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "given", "fix"),
    [
        (["-w", "imagenet1k"], "--weights imagenet1k without a model", "--model swin_tiny"),
        (["-m", "swin_t"], "--model swin_tiny without weights", "--weights imagenet1k"),
        (["-m", "focal_tiny"], "--model focal_tiny without weights", "--weights FILE"),
        (["-m", "swin_tiny", "-w", "timm:in2k"], "'timm:in2k' for swin_tiny", "timm:ms_in1k"),
    ],
)
def test_weights_by_name_want_the_model_that_has_them(
    words: list[str], given: str, fix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", "photo.jpg", *words]) == 2
    error = capsys.readouterr().err
    assert given in error and fix in error


def test_what_comes_with_the_package_is_listed(capsys) -> None:
    assert run(["list", "--bundled", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["weights"]: row["task"] for row in rows}["bundled:cifar10"] == "classify"
    assert run(["list", "--bundled"]) == 0
    shown = capsys.readouterr().out
    assert all(row["weights"] in shown and row["licence"] in shown for row in rows)
    for words in (["--weights"], ["swin*"]):
        assert run(["list", "--bundled", *words]) == 2
        assert "leave the other out" in capsys.readouterr().err
