"""`vitrail explore`: the answer, the page, and three lines where something is amiss."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.support import refuses
from vitrail.cli import main
from vitrail.cli.explore import load_model, run
from vitrail.errors import UsageError
from vitrail.weights import save


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "red.jpg"
    Image.new("RGB", (60, 40), (200, 30, 30)).save(path)
    return path


def test_it_prints_the_answer_and_the_reports_path(command, photo: Path, tmp_path: Path) -> None:
    done = command("explore", "red.jpg", "--weights", "none", "--size", "32x48")
    assert done.returncode == 0, done.stderr
    assert "swin_nano on 32 x 48 pixels" in done.stdout
    assert "untrained" in done.stdout
    assert done.stdout.count("class ") == 5
    path = tmp_path / "report.html"
    assert str(path) in done.stdout
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_json_for_scripts(photo: Path, tmp_path: Path, capsys) -> None:
    run(photo, weights="none", size="32", output=tmp_path / "out.html", as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["model"] == "swin_nano"
    assert answer["trained"] is False
    assert answer["size"] == [32, 32]
    assert len(answer["top"]) == 5
    assert answer["top"][0].keys() == {"class", "index", "probability"}
    assert Path(answer["report"]).is_file()


def test_a_mistake_prints_three_lines_and_writes_nothing(command, tmp_path: Path) -> None:
    done = command("explore", "missing.jpg", "--weights", "none")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert [line.split(":")[0] for line in lines] == ["given", "allowed", "fix"]
    assert "missing.jpg" in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_another_size_than_that_of_the_weights_is_said_with_its_answer(
    photo: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out.html"
    run(photo, output=out, as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["size"] == [64, 96] and answer["trained_size"] == [32, 32]
    assert main.run(["predict", str(photo), "--json"]) == 0
    (same,) = json.loads(capsys.readouterr().out)["photos"]
    assert [row["class"] for row in answer["top_at_trained_size"]] == [
        row["class"] for row in same["top"]
    ]
    best = same["top"][0]
    assert answer["top_at_trained_size"][0]["probability"] == pytest.approx(best["probability"])
    run(photo, output=out)
    shown = capsys.readouterr()
    assert f"for 32 x 32 pixels; there the answer is {best['class']}" in shown.out
    assert "maps ..." in shown.err and "scores of the maps ..." in shown.err
    run(photo, size="32", output=out, as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["top"] == answer["top_at_trained_size"]


@pytest.mark.parametrize("output", [".", "missing.jpg/report.html"])
def test_what_cannot_be_written_is_refused_before_any_work(
    photo: Path, output: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(photo.parent)
    (photo.parent / "missing.jpg").write_text("a file where a folder has to be")
    assert main.run(["explore", str(photo), "-o", output]) == 2
    error = capsys.readouterr().err
    assert error.startswith("given: --output ") and "reading the model" not in error


def test_a_checkpoint_may_stand_where_a_model_does(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save(load_model("swin_nano", None)[0], path)
    model, source = load_model(str(path), None)
    assert model.name == "swin_nano" and source == str(path)
    with refuses("--weights none", "leave --weights out"):
        load_model(str(path), "none")


def test_a_model_without_weights_is_never_silently_random() -> None:
    with pytest.raises(UsageError, match="--weights none") as error:
        load_model("swin_tiny", None)
    assert "swin_tiny" in error.value.given


def test_random_numbers_are_the_same_every_time() -> None:
    first, second = (load_model("swin_nano", "none")[0].state_dict() for _ in range(2))
    assert all(first[name].equal(second[name]) for name in first)


def test_weights_say_what_model_they_are_of(tmp_path: Path) -> None:
    from vitrail import create_model
    from vitrail.weights import save

    model = create_model("swin_tiny", dim=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 4))
    path = tmp_path / "w.safetensors"
    save(model, path)
    loaded, source = load_model(None, str(path))
    assert source == str(path)
    assert loaded.config == model.config


def test_the_photo_is_not_overwritten(photo: Path) -> None:
    before = photo.read_bytes()
    with pytest.raises(UsageError, match=r"fix: write report\.html") as error:
        run(photo, weights="none", output=photo)
    assert "the file that is read" in error.value.given
    assert photo.read_bytes() == before


def test_a_size_that_is_none(photo: Path) -> None:
    with pytest.raises(UsageError, match="height before width") as error:
        run(photo, weights="none", size="large")
    assert "large" in error.value.given


@pytest.mark.parametrize(
    ("options", "given", "fix"),
    [
        ({}, "no photo", "vitrail explore photo.jpg"),
        ({"photo": Path("a.jpg"), "port": 0}, "--port 0 without --serve", "add --serve"),
        ({"photo": Path("a.jpg"), "host": "::1"}, "--host ::1 without", "add --serve"),
        ({"serve": True, "output": Path("r.html")}, "-o r.html", "leave out one"),
        ({"serve": True, "size": "64"}, "--size 64 without a photo", "leave --size out"),
        ({"serve": True, "photo": Path("gone.jpg")}, "gone.jpg", "check the path"),
        ({"serve": True, "port": -1}, "--port -1", "--port 0"),
        ({"serve": True, "model": "swin_tiny"}, "without weights", "--weights"),
    ],
)
def test_options_that_do_not_go_together(options: dict, given: str, fix: str) -> None:
    with refuses(given, fix):
        run(**options)


def test_a_server_for_others_warns_and_the_link_is_opened_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("typer.launch", lambda link: opened.append(link) or 0)
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: sockets[0].close())
    run(serve=True, host="0.0.0.0", open_it=True)
    out, err = capsys.readouterr()
    assert err.startswith("warning: listening beyond this machine")
    assert opened[0] in out and "/?token=" in opened[0]
    run(serve=True)
    out, err = capsys.readouterr()
    assert err == "" and "http://127.0.0.1:" in out
    assert len(opened) == 1
