"""What data look like decides the task, where nobody names one."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.tasks.pairs import write_pairs
from vitrail.cli import main
from vitrail.data.outline import outline
from vitrail.errors import UsageError
from vitrail.tasks import TASKS, task_for, task_named
from vitrail.tasks.options import described, options_of

LAYOUTS = {
    "classify": ("cat/1.jpg", "dog/2.JPG"),
    "detect": ("Annotations/1.xml", "JPEGImages/1.jpg"),
    "segment": ("images/1.png", "labels/1.png", "classes.txt"),
}


def laid(root: Path, names: tuple[str, ...], how: str) -> Path:
    if how == "zip":
        with zipfile.ZipFile(root / "data.zip", "w") as archive:
            for name in ("__MACOSX/labels/1.png", *names):
                archive.writestr(name, b"")
        return root / "data.zip"
    below = root / "data" / ("set" if how == "below" else "")
    for name in names:
        (below / name).parent.mkdir(parents=True, exist_ok=True)
        (below / name).touch()
    (root / "data" / ".hidden").mkdir()
    return root / "data"


@pytest.mark.parametrize("how", ["folder", "below", "zip"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_is_of_one_task(name, how, tmp_path) -> None:
    data = laid(tmp_path, LAYOUTS[name], how)
    task, reason = task_for([str(data)])
    assert task is task_named(name)
    assert "images" in reason
    assert task_for([str(tmp_path / "dat*")])[0] is task


def test_names_of_data_sets() -> None:
    assert task_for(["torchvision:CIFAR10"])[0].name == "classify"


@pytest.mark.parametrize("names", [("notes.txt",), ("a/notes.txt", "b/more.txt"), ()])
def test_data_of_no_task(names, tmp_path) -> None:
    (tmp_path / "data").mkdir()
    words = r"data of no task[\s\S]*one folder of images a class[\s\S]*--task classify"
    with pytest.raises(UsageError, match=words):
        task_for([str(laid(tmp_path, names, "folder"))])
    with pytest.raises(UsageError, match=r"nowhere', which does not exist"):
        task_for([str(tmp_path / "nowhere")])


def test_data_of_two_tasks(tmp_path, monkeypatch) -> None:
    data = laid(tmp_path, LAYOUTS["segment"], "folder")
    classify = task_named("classify")
    monkeypatch.setattr(classify, "recognises", classmethod(lambda cls, data: "folders"))
    with pytest.raises(UsageError, match=r"tasks classify and segment[\s\S]*--task classify"):
        task_for([str(data)])


def test_a_damaged_tar_looks_like_nothing(tmp_path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    (tmp_path / "a.tar").write_bytes(stream.getvalue()[:700] + b"x" * 400)
    assert outline(str(tmp_path / "a.tar")).files <= {"a.jpg"}


def test_training_finds_the_task(tmp_path, capsys) -> None:
    data = write_pairs(tmp_path / "set.zip", 2)
    words = ["train", str(data), "-o", str(tmp_path / "run"), "--val-part", "2"]
    assert main.run(words) == 2
    assert "task segment, as the data look: images/ with labels/" in capsys.readouterr().err


@pytest.mark.parametrize("name", TASKS)
def test_every_option_is_described(name) -> None:
    task = task_named(name)
    for row in described(task):
        assert row["help"], row
        words = [f"{row['name']}={row['default']}"]
        assert row["default"] == "" or options_of(task, words) == task.Options()


def test_list_of_options(capsys) -> None:
    assert main.run(["list", "--task", "segment"]) == 0
    out = capsys.readouterr().out
    assert "--set ignore=255\n  a label that counts nowhere, or none." in out
    assert main.run(["list", "--task", "segmnt"]) == 2
    assert "fix: use --task segment" in capsys.readouterr().err
    assert main.run(["list", "--task", "segment", "--bundled"]) == 2
    assert "fix: leave the others out" in capsys.readouterr().err


def test_white_masks_lose_no_class(tmp_path, capsys) -> None:
    """0, 128 and 255 are greys, of which the last is no label for what nobody knows."""
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for number, grey in enumerate((128, 255)):
        mask = Image.new("L", (20, 20))
        mask.paste(grey, (0, 0, 9, 9))
        mask.save(tmp_path / "set" / "masks" / f"{number}.png")
        Image.new("RGB", (20, 20)).save(tmp_path / "set" / "images" / f"{number}.png")
    task = task_named("segment")
    source = task.open([str(tmp_path / "set")], train=True, root=tmp_path, download=False)
    part, _ = task.split(source, 0.0, 0)
    with pytest.raises(UsageError, match=r"labels 0,128 and 255[\s\S]*--set ignore=none if 255 is "
                       r"a class; if not, --set values=0,128"):  # fmt: skip
        task.build(part, options_of(task, []))
    built = task.build(part, options_of(task, ["ignore=none"]))
    assert built.options.values == (0, 128, 255)
    assert task.build(part, options_of(task, ["values=0,128"])).options.values == (0, 128)
