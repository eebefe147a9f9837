"""From a model and a photo to a report, and clear words where that cannot be."""

from pathlib import Path

import pytest
import torch
from PIL import Image

import vitrail
from tests.support import refuses
from vitrail.errors import UsageError
from vitrail.explain.methods import METHODS
from vitrail.explorer import default_size, explore, maps, single_line
from vitrail.explorer import explore as explore_function
from vitrail.explorer.explore import blocks_at
from vitrail.explorer.manifest import check_size
from vitrail.models import CATALOG, Swin


def test_from_a_file(model: Swin, picture: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    picture.save(path)
    report = explore(model, path, size=(24, 40), source="a test")
    assert report.trace.spatial == (24, 40)
    assert report.trace.model.weights == "a test"
    assert "24 × 40" in " ".join(report.trace.model.transform)
    assert len(report.top()) == 5
    assert "photo.jpg" in report.html


def test_a_shared_report_does_not_name_this_machines_folders(
    model: Swin, picture: Image.Image, tmp_path: Path
) -> None:
    photo, weights = tmp_path / "photo.png", tmp_path / "w.safetensors"
    picture.save(photo)
    weights.touch()
    report = explore(model, photo, size=16, source=str(weights))
    assert report.trace.model.weights == "w.safetensors"
    assert str(tmp_path) not in report.html


def test_the_answer_is_the_models(model: Swin, picture: Image.Image) -> None:
    report = explore(model, picture, size=32)
    from vitrail.explorer.photo import prepare

    with torch.no_grad():
        expected = model(prepare(picture, model.preprocessing, (32, 32)).input)[0]
    assert torch.equal(report.trace.logits, expected)


def test_notes_on_the_photo_are_kept(model: Swin, picture: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(path, exif=exif)
    assert any("EXIF" in step for step in explore(model, path, size=16).trace.model.transform)


def test_a_picture_in_memory_is_what_its_file_is(model: Swin, tmp_path: Path) -> None:
    """Alpha over white, and upright, as the command line opens it."""
    picture = Image.linear_gradient("L").resize((40, 30)).convert("RGB")
    picture.putalpha(Image.linear_gradient("L").resize((40, 30)))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        one = explore_function(model, opened, size=32, scored=False)
    other = explore_function(model, tmp_path / "a.png", size=32, scored=False)
    assert torch.equal(one.trace.logits, other.trace.logits)


def test_by_name_from_the_top_of_the_package(picture: Image.Image) -> None:
    report = vitrail.explore("swin_nano", picture, weights=None, size=32, scored=False)
    assert report.trace.model.name == "swin_nano"
    assert not report.trace.model.trained
    assert report._repr_html_().startswith("<iframe")


def test_the_model_is_left_as_it_was_found(model: Swin, picture: Image.Image) -> None:
    model.train()
    model.stages[0].eval()
    before = [module.training for module in model.modules()]
    explore(model, picture, size=16, scored=False)
    after = [module.training for module in model.modules()]
    model.eval()
    assert after == before


def test_the_bundled_weights_are_known_however_they_came(picture: Image.Image) -> None:
    model = vitrail.create_model("swin_nano", weights="bundled")
    python = explore(model, picture, size=32, scored=False).manifest["python"]
    assert "weights='bundled'" in python["model"]
    with torch.no_grad():
        next(model.parameters()).mul_(2)
    python = explore(model, picture, size=32, scored=False).manifest["python"]
    assert "weights=" not in python["model"]


def test_a_model_without_a_head_answers_nothing(picture: Image.Image) -> None:
    model = vitrail.create_model("swin_nano", num_classes=0).eval()
    report = explore(model, picture, size=32, scored=False)
    assert report.top() == []
    assert report.manifest["model"]["classes"] == 0


def test_default_sizes_are_those_of_the_weights() -> None:
    tiny = vitrail.create_model("swin_tiny", depths=(1, 1, 1, 1), dim=12)
    assert default_size(tiny) == CATALOG["swin_tiny"].preprocessing.size


def test_the_default_size_of_the_bundled_model_shows_several_windows() -> None:
    model = vitrail.create_model("swin_nano")
    assert default_size(model) == (64, 64)
    report = explore_function(model, Image.new("RGB", (80, 60), "red"), scored=False)
    assert report.trace.spatial == (64, 86), "the whole photo, in its proportions"
    for block in report.trace.blocks:
        if block.stage < 2:
            assert len(block.groups.q_index) >= 4, block.name


NAMES = [name for name, entry in CATALOG.items() if entry.config.axes == 2]


@pytest.mark.parametrize("name", NAMES)
def test_every_model_for_photos_opens_at_its_default_size(name: str) -> None:
    with torch.device("meta"):
        model = vitrail.create_model(name)
    size = default_size(model, (300, 451))
    check_size(blocks_at(model, size), size)
    assert size == CATALOG[name].preprocessing.size or name == "swin_nano"


@pytest.mark.parametrize(
    ("name", "said"),
    [("video_swin_tiny", "3 spatial axes"), ("swin1d_tiny", "1 spatial axes")],
)
def test_a_model_that_is_not_for_photos(name: str, said: str, picture: Image.Image) -> None:
    with torch.device("meta"):
        model = vitrail.create_model(name)
    with pytest.raises(UsageError, match="create_model") as error:
        explore(model, picture)
    assert said in error.value.given


def test_a_module_of_another_kind(picture: Image.Image) -> None:
    with refuses("torch.nn.modules.linear.Linear", "create_model"):
        explore(torch.nn.Linear(1, 1), picture)


def test_a_size_too_large_is_refused_before_the_model_runs(picture: Image.Image) -> None:
    with torch.device("meta"):
        model = vitrail.create_model("global_tiny")
    with refuses("1024x1024 pixels", "--size"):
        explore(model, picture, size=1024)


def test_maps_are_scored_on_request_or_quickly_done(
    model: Swin, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert explore(model, picture, size=16).manifest["faithfulness"] is None
    monkeypatch.setattr(maps, "OPERATIONS", 1e12)
    assert explore(model, picture, size=16).manifest["faithfulness"] is not None
    assert explore(model, picture, size=16, scored=False).manifest["faithfulness"] is None
    scores = explore(model, picture, size=16, scored=True).manifest["faithfulness"]
    assert [row["method"] for row in scores["curves"]] == list(METHODS)


def test_plain_text() -> None:
    assert single_line("cat\x1b[31m.png") == "cat\ufffd[31m.png"
    assert single_line("a  b") == "a b"
    assert single_line("Füße 猫.png") == "Füße 猫.png"
