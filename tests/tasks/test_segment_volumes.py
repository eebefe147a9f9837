"""Segmentation of volumes: learnt from crops, measured and predicted whole, written as NIfTI."""

import zipfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

import vitrail
from tests.support import refuses
from tests.tasks.pairs import write_pairs
from tests.tasks.volumes import loaded, nifti, volume, write_volumes
from vitrail.data.batch import Sample, Unreadable
from vitrail.data.pairs import split_pairs
from vitrail.errors import UsageError
from vitrail.heads import UNetConfig
from vitrail.models import Preprocessing
from vitrail.models.task_model import TaskFacts
from vitrail.tasks.options import options_of
from vitrail.tasks.segment import Segment
from vitrail.tasks.segment_score import SegmentScore
from vitrail.tasks.volume_segmentation import VolumeSegmentation
from vitrail.training.evaluation import evaluate
from vitrail.training.recipe import Recipe

FACTS = Preprocessing(size=(8, 8, 8), mean=(0.5,), std=(0.25,), crop=1.0)
TINY = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2, 2)}


class Oracle(nn.Module):
    """Knows the tiny volumes: dark ground, a grey and a bright box."""

    def forward(self, x):
        bounds = torch.tensor([-0.2, 1.0])[:, None, None, None]
        above = (x > bounds).long().sum(1, keepdim=True)
        return (above == torch.arange(3)[:, None, None, None]).float() * 8


def opened(path: Path):
    return Segment.open([str(path)], train=True, root=path, download=False)


def part_of(path: Path):
    return split_pairs(opened(path), 0.0, 0)[0]


def task_of(path: Path, *words: str) -> Segment:
    return Segment.build(part_of(path), options_of(Segment, words))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_volumes(tmp_path_factory.mktemp("data") / "set.zip", 4)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return vitrail.create_model(
        "swin3d_nano", task="segment", head=UNetConfig(dim=4), num_classes=3, **TINY
    ).eval()


def measured(task: Segment, path: Path, model: nn.Module) -> SegmentScore:
    samples = task.samples(part_of(path), FACTS, None)
    return evaluate(model, samples, task.score(), collate=task.collate)


def test_the_task_of_volumes(data) -> None:
    task = task_of(data)
    assert (task.axes, task.channels, task.options.spacing) == (3, 1, (1, 1, 2))
    assert task.classes == ("class 0", "class 1", "class 2")
    assert (task.tile, task_of(data, "tile=40").tile) == (96, 40)
    assert task.model_fields() == {"in_channels": 1}


@pytest.mark.parametrize("size", [(8, 8, 8), (16, 8, 24)])
def test_crops_fit_their_labels_also_where_a_volume_is_shorter(data, size) -> None:
    """The oracle, which sees brightness alone, is right about volumes that were moved."""
    task = task_of(data, "rotate=20", "flip=all", "gamma=1", "contrast=1", "brightness=0")
    samples = task.samples(part_of(data), replace(FACTS, size=size), Recipe(seed=1))
    found = [one for n in range(12) if isinstance(one := samples[n % 4, n], Sample)]
    batch = task.collate(found)
    assert batch.inputs.shape == (12, 1, *size)
    assert (Oracle()(batch.inputs).argmax(1) == batch.targets["labels"]).float().mean() > 0.85


def test_left_and_right_are_flipped_by_default(data) -> None:
    from vitrail.tasks.segment_samples import motion_of

    assert motion_of(task_of(data), (8, 8, 8)).flip == "first"
    flat = Segment(("a", "b"), options_of(Segment, ()))
    assert motion_of(flat, (8, 8)).flip == "last"
    assert motion_of(task_of(data, "flip=none"), (8, 8, 8)).flip == "none"


def test_whole_volumes_are_measured_by_tiles(data) -> None:
    task = task_of(data)
    score = measured(task, data, Oracle())
    assert score.result()["dice"] > 0.99  # whatever the scale: they differ by 10^3
    torch.manual_seed(0)
    mixes = nn.Conv3d(1, 3, 1)
    whole = measured(task, data, mixes).result()
    lengths = []

    class Watch(nn.Module):
        def forward(self, x):
            lengths.append(max(x.shape[2:]))
            return mixes(x)

    small = measured(task_of(data, "tile=8"), data, Watch()).result()
    assert max(lengths) == 8
    assert small == pytest.approx(whole, rel=1e-5)


def test_the_dice_of_a_class_is_the_mean_over_volumes(data) -> None:
    torch.manual_seed(0)
    score = measured(task_of(data), data, nn.Conv3d(1, 3, 3, padding=1))
    each = np.array([2 * row.both / (row.found + row.true) for row in score.rows])
    shown = score.details()["per_class"]
    assert [shown[name]["dice"] for name in shown] == pytest.approx(each.mean(0))


def test_several_spacings_are_refused_or_accepted(tmp_path) -> None:
    path = write_volumes(tmp_path / "set.zip", 3)
    with zipfile.ZipFile(path, "a") as archive:
        for folder, what in zip(("images", "labels"), volume(0), strict=True):
            archive.writestr(f"{folder}/x.nii", nifti(what, np.eye(4)))
    with refuses("3 of 1 x 1 x 2 mm, 1 of 1 x 1 x 1 mm", "--set mixed_spacing=true"):
        task_of(path)
    mixed = task_of(path, "mixed_spacing=true")
    assert mixed.options.spacing == ()
    mixed.check(opened(path))
    one = task_of(write_volumes(tmp_path / "one.zip", 1))
    with refuses("other spacings: 1 of 1 x 1 x 1 mm", "resample them to 1 x 1 x 2 mm"):
        one.check(opened(path))


def test_data_of_another_form_are_refused(data, tmp_path, model) -> None:
    flat = write_pairs(tmp_path / "flat.zip", 2)
    with refuses("data of 2 axes and 3 channels", "a model of such data"):
        task_of(data).check(opened(flat))
    with refuses("data of 3 axes and 1 channels", "a model of such data"):
        task_of(flat).check(opened(data))
    with refuses("3 axes and 1 channels, to segment images", "--model swin_nano"):
        task_of(flat).input_size(model, None)
    two = vitrail.create_model("swin_nano", task="segment", num_classes=2)
    with refuses("2 axes and 3 channels, to segment volumes", "--model swin3d_nano"):
        task_of(data).input_size(two, None)
    assert task_of(data).input_size(model, None) == (32, 48, 32)
    with refuses("size=(8, 8) for 3", "size=(8, 8, 8)"):
        task_of(data).input_size(model, (8, 8))


def test_a_picture_among_volumes_is_left_out(data, tmp_path) -> None:
    path = write_pairs(tmp_path / "set.zip", 1)
    with zipfile.ZipFile(path, "a") as archive, zipfile.ZipFile(data) as more:
        for name in more.namelist():
            archive.writestr(name.replace("/0", "/ 0"), more.read(name))
    samples = task_of(path).samples(part_of(path), FACTS, None)
    kinds = [type(samples[n, 0]) for n in range(len(samples))]
    assert kinds.count(Unreadable) == 1
    assert "2 axes and 3 channels among 3 axes" in next(
        one.reason for n in range(5) if isinstance(one := samples[n, 0], Unreadable)
    )


@pytest.mark.parametrize("shape", [(12, 10, 9), (1, 2, 3)])
def test_a_mask_lies_where_its_volume_lies(model, tmp_path, shape) -> None:
    """Also of a volume smaller than a window."""
    affine = np.array([[0, 0, 2, 5], [-1, 0, 0, 6], [0, 1, 0, 7], [0, 0, 0, 1.0]])
    (tmp_path / "x.nii.gz").write_bytes(
        nifti(volume(1)[0][: shape[0], : shape[1], : shape[2]], affine)
    )
    found = vitrail.predict(model, tmp_path / "x.nii.gz")
    assert isinstance(found, VolumeSegmentation)
    mask = loaded(found.save(tmp_path / "mask.nii.gz"))
    assert mask.shape == shape
    assert np.array_equal(mask.affine, affine)
    answer = found.as_dict()
    assert sorted(answer["size"]) == sorted(shape)
    assert sum(row["ml"] for row in answer["classes"]) == pytest.approx(np.prod(shape) * 2 / 1000)
    picture = found.draw()
    assert found.save(tmp_path / "x.png").stat().st_size > 100
    assert picture.width > picture.height
    for name in ("x.tif", "x"):
        with refuses("a file ending in", "x.nii.gz'"):
            found.save(tmp_path / name)
    with refuses("no NIfTI file", "convert it"):
        vitrail.predict(model, found.save(tmp_path / "x.png"))
    assert (
        vitrail.predict(model, tmp_path / "x.nii.gz", size=16).as_dict()["size"] == answer["size"]
    )


def test_objects_in_volumes(data, model) -> None:
    task = task_of(data, "instances=true", "border=1")
    one = task.samples(part_of(data), FACTS, None)[0, 0]
    assert isinstance(one, Sample)
    batch = task.collate([one])
    assert batch.targets["labels"].unique().tolist() == [0, 1, 2]
    options = {"instances": True, "least": 1}
    model.task, before = TaskFacts(name="segment", classes=3, options=options), model.task
    try:
        found = vitrail.predict(model, volume(2)[0])
    finally:
        model.task = before
    assert found.as_dict()["objects"] == int(found.objects.max())  # type: ignore[attr-defined]
    assert found.draw().mode == "RGB"


def test_planes_are_drawn_in_the_patients_proportions(model) -> None:
    """A plane seen from the right is as tall as the volume, in mm, and the top is above."""
    bright = np.zeros((4, 4, 8))
    bright[:, :, -2:] = 1
    image = nib.Nifti1Image(bright.astype(np.float32), np.diag([1.0, 1, 3, 1]))
    answer = vitrail.predict(model, image)
    assert isinstance(answer, VolumeSegmentation)
    found = replace(answer, labels=np.zeros(bright.shape, np.int64))
    page = np.asarray(found.draw())
    assert page.shape[0] == 320  # 24 mm
    assert page[:80, :40].min() == 255
    assert not page[80:, :40].any()


def test_other_options_that_cannot_be() -> None:
    for word in ("flip=sides", "tile=none"):
        options_of(Segment, [word])
    with pytest.raises(UsageError, match=r"flip=up[\s\S]*sides, none, first, last, all"):
        options_of(Segment, ["flip=up"])
