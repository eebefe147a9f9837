import json
import os
from pathlib import Path

import pytest
import torch

from vitrail import create_model
from vitrail.cli.main import run
from vitrail.models import Swin, SwinConfig, SwinV2, SwinV2Config
from vitrail.weights import load, read_state, to_format

SMALL = {"dim": 16, "depths": (1, 2), "num_heads": (2, 4), "num_classes": 3}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    swin, v2 = Swin(SwinConfig(**SMALL)), SwinV2(SwinV2Config(**SMALL))
    torch.save(to_format(swin, "timm"), "swin.pth")
    torch.save({"module." + k: v for k, v in to_format(v2, "timm").items()}, "v2.pth")
    return swin, v2


def test_convert_says_what_it_did(files, capsys):
    assert run(["convert", "swin.pth", "out.safetensors", "--to", "torchvision"]) == 0
    out = capsys.readouterr().out
    assert "swin.pth: timm weights" in out
    assert "entries in the torchvision format" in out
    written = read_state("out.safetensors")
    assert torch.equal(written["head.weight"], files[0].head.weight)


def test_convert_prints_json_for_scripts(files, capsys):
    assert run(["convert", "swin.pth", "out.pth", "--to", "mmdet", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["from"], done["to"], done["in"], done["out"]) == (
        "timm", "mmdet", "swin.pth", "out.pth",
    )  # fmt: skip
    assert done["left"] == ["head.weight", "head.bias"]
    assert done["weights"] == len(read_state("out.pth"))


def test_convert_lists_what_has_no_place(files, capsys):
    state = read_state("swin.pth") | {"something.else": torch.zeros(1)}
    torch.save(state, "more.pth")
    assert run(["convert", "more.pth", "out.pth", "--to", "mmdet"]) == 0
    out = capsys.readouterr().out
    assert "left behind: head.bias" in out
    assert "not understood: something.else" in out


def test_convert_needs_the_window_and_takes_it(files, capsys):
    assert run(["convert", "v2.pth", "out.safetensors", "--to", "official"]) == 2
    error = capsys.readouterr().err
    assert "does not show the window" in error
    assert "fix: name the model" in error
    words = ["convert", "v2.pth", "out.safetensors", "--to", "official", "--window"]
    assert run([*words, "8"]) == 0
    assert "layers.0.blocks.0.attn.relative_coords_table" in read_state("out.safetensors")
    assert run([*words, "4x8"]) == 0
    table = read_state("out.safetensors")["layers.0.blocks.0.attn.relative_coords_table"]
    assert table.shape == (1, 7, 15, 2)


@pytest.mark.parametrize(
    ("words", "given", "fix"),
    [
        (["swin.pth", "out.pth", "--to", "tim"], "format 'tim'", "use 'timm'"),
        (["nowhere.bin", "out.pth", "--to", "timm"], "nowhere.bin, which does not exist", "check"),
        (["swin.pth", "out.txt", "--to", "timm"], "ending in .txt", "out.safetensors"),
        (["swin.pth", "no/out.pth", "--to", "timm"], "a folder that does not exist", "mkdir"),
        (["swin.pth", "out.pth", "--to", "timm", "--model", "swin_tny"], "model 'swin_tny'",
         "'swin_tiny'"),
        (["swin.pth", "out.pth", "--to", "timm", "--model", "swin_tiny"], "as swin_tiny", "dim=16"),
        (["v2.pth", "out.pth", "--to", "official", "--window", "0"], "--window 0", "--window"),
        (["broken.pth", "out.pth", "--to", "timm"], "broken.pth", "cut short"),
        ([".", "out.pth", "--to", "timm"], "a folder", "give"),
    ],
)  # fmt: skip
def test_convert_explains_what_it_cannot_do_and_writes_nothing(files, capsys, words, given, fix):
    with open("swin.pth", "rb") as whole, open("broken.pth", "wb") as broken:
        broken.write(whole.read()[:5000])
    assert run(["convert", *words]) == 2
    error = capsys.readouterr().err
    lines = error.splitlines()
    assert lines[0].startswith("given: ")
    assert given in error
    assert lines[-1].startswith("fix: ")
    assert fix in lines[-1]
    assert not [name for name in os.listdir() if name.startswith((".", "out"))]


def test_convert_leaves_an_older_file_whole_when_it_fails(files, capsys):
    assert run(["convert", "swin.pth", "out.pth", "--to", "timm"]) == 0
    with open("out.pth", "rb") as file:
        before = file.read()
    assert run(["convert", "v2.pth", "out.pth", "--to", "mmdet"]) == 2
    with open("out.pth", "rb") as file:
        assert file.read() == before


@pytest.mark.parametrize("out", ["swin.pth", "./sub/../swin.pth", "hard.pth", "soft.pth"])
@pytest.mark.parametrize("to", ["mmdet", "timm"])
def test_convert_never_writes_over_what_it_reads(files, capsys, out, to):
    os.mkdir("sub")
    os.link("swin.pth", "hard.pth")
    os.symlink("swin.pth", "soft.pth")
    before = Path("swin.pth").read_bytes()
    assert run(["convert", "swin.pth", out, "--to", to]) == 2
    error = capsys.readouterr().err
    assert "which is the file that is read (swin.pth)" in error
    assert "fix: write " in error
    assert Path("swin.pth").read_bytes() == before
    assert Path("hard.pth").samefile("swin.pth")


def test_a_classifier_goes_to_mmdet_and_comes_back(files, capsys, caplog):
    assert run(["convert", "swin.pth", "mm.pth", "--to", "mmdet"]) == 0
    assert run(["convert", "mm.pth", "back.pth", "--to", "timm"]) == 0
    back, before = read_state("back.pth"), read_state("swin.pth")
    assert set(before) - set(back) == {"head.fc.weight", "head.fc.bias"}
    assert all(torch.equal(back[key], before[key]) for key in back)
    model = create_model("swin_tiny", weights="mm.pth", **SMALL)
    assert torch.equal(model.state_dict()["norm.weight"], files[0].state_dict()["norm.weight"])
    assert "the file has no classifier" in caplog.text
    # Files of mmdet's own, or of earlier versions, end with the last stage.
    state = read_state("mm.pth")
    body = {key: value for key, value in state.items() if not key.startswith("backbone.norm1.")}
    report = load(create_model("swin_tiny", **SMALL), body)
    assert {entry.status for entry in report.entries} == {"fresh"}
    assert "a body, which ends with its last stage" in str(report)


def test_formats_are_completed_and_those_that_exist():
    from vitrail.cli import convert
    from vitrail.weights import formats

    assert convert._FORMATS == formats.NAMES
    assert convert._complete_format("tim") == ["timm", "timm-old"]
