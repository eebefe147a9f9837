"""What can go wrong in a run, and what stays whole then."""

import csv
import errno
import io
import math
import zipfile

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from vitrail import create_model
from vitrail.data.batch import Unreadable
from vitrail.data.dataset import Skipped, split
from vitrail.data.sources import open_source
from vitrail.errors import UsageError
from vitrail.tasks.classify import Classify, ClassifyOptions, ClassifyScore
from vitrail.training import checkpoint, loop
from vitrail.training.machine import Settings
from vitrail.training.parallel import train_mode
from vitrail.training.recipe import Recipe
from vitrail.training.report import Report
from vitrail.training.schedule import Cycle

TINY = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
RECIPE = {"epochs": 2, "batch_size": 16, "lr": 1e-3, "warmup_epochs": 0.0, "crop": "pad"}
FAST = {"mixup": 0.0, "cutmix": 0.0, "randaugment": 0, "erase": 0.0, "precision": "fp32"}


def make(
    data, out, *, settings=None, held=0.2, size=(16, 16), fields=None, options=None, **recipe
) -> loop.Run:
    source = open_source(data)
    train, val = split(source, held, 0)
    torch.manual_seed(0)
    model = create_model("swin_nano", num_classes=len(source.classes), **(TINY | (fields or {})))
    quiet = {"show": False, "workers": 0, "cpu": True, "tensorboard": False}
    return loop.Run(
        model,
        Classify.build(train, options or ClassifyOptions()),
        train,
        val,
        Recipe(**{**RECIPE, **FAST, **recipe}),
        Settings(out=out, **{**quiet, **(settings or {})}),
        size,
    )


def test_learns_four_colours(tiny_zip, tmp_path) -> None:
    run = make(tiny_zip, tmp_path / "out", epochs=12, lr=3e-3, ema=0.5, smoothing=0.0)
    assert run.fit() == tmp_path / "out" / "best.safetensors"
    scores = run.evaluate()
    assert isinstance(scores, ClassifyScore)
    assert scores.top1 == 1.0
    assert run.best == 1.0


@pytest.mark.parametrize(
    ("values", "kept"),
    [((0.2, 0.5, 0.5), [1, 2]), ((0.5, 0.2, 0.6), [1, 3]), ((math.nan, 0.2, 0.1), [1, 2])],
)
def test_the_best_weights_follow_the_tasks_score(
    values, kept, tiny_zip, tmp_path, monkeypatch
) -> None:
    """The first of equal ones; a score that is no number is worse than any."""
    given, epochs = iter(values), []
    monkeypatch.setattr(ClassifyScore, "top1", property(lambda _: next(given)))
    run = make(tiny_zip, tmp_path / "out", epochs=3)
    write = run._write_weights

    def noted(name, weights) -> None:
        write(name, weights)
        if name == "best":
            epochs.append(run.step // run.plan.steps_per_epoch)

    monkeypatch.setattr(run, "_write_weights", noted)
    assert run.fit().exists()
    assert epochs == kept
    assert run.best == values[kept[-1] - 1]


def test_what_is_shipped_is_the_average(tiny_zip, tmp_path) -> None:
    run = make(tiny_zip, tmp_path / "out", ema=0.9)
    run.fit()
    shipped = load_file(tmp_path / "out" / "last.safetensors")
    assert run.average is not None
    for name, value in run.average.values.items():
        assert torch.equal(shipped[name], value)
    assert not torch.equal(shipped["head.weight"], run.model.head.weight)
    fresh = create_model("swin_nano", weights=tmp_path / "out" / "last.safetensors", **TINY)
    assert fresh.preprocessing.classes == ("blue", "green", "red", "white")
    assert fresh.preprocessing.trained
    assert tuple(fresh.preprocessing.size) == (16, 16)


def test_without_average_and_validation(tiny_zip, tmp_path) -> None:
    run = make(tiny_zip, tmp_path / "out", ema=0.0, held=0.0, clip=0.0)
    run.fit()
    shipped = load_file(tmp_path / "out" / "best.safetensors")
    assert torch.equal(shipped["head.weight"], run.model.head.weight.detach())


def test_what_is_frozen_stays(tiny_zip, tmp_path) -> None:
    run = make(tiny_zip, tmp_path / "out", fields={"frozen_stages": 1})
    before = {n: p.detach().clone() for n, p in run.model.named_parameters()}
    run.fit()
    changed = {n for n, p in run.model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {n for n in before if not n.startswith(("embed.", "stages.0."))}


def test_clipping(tiny_zip, tmp_path) -> None:
    """With a tiny limit and plain descent in Adam's first step, nothing grows beyond the rate."""
    norms: list[float] = []
    run = make(tiny_zip, tmp_path / "out", epochs=1, clip=1e-3)
    take = run.optimizers[0].step

    def step(*args, **kwargs):
        grads = [p.grad.norm() for p in run.model.parameters()]
        norms.append(torch.stack(grads).norm().item())
        return take(*args, **kwargs)

    run.optimizers[0].step = step
    run.fit()
    assert norms
    assert max(norms) == pytest.approx(1e-3, rel=1e-3)


# ---- bad numbers -----------------------------------------------------------------------------


def poisoned(run: loop.Run, step: int, monkeypatch) -> None:
    """The loss is NaN from a step on."""
    loss = Classify.loss

    def bad(*args):
        value, more = loss(*args)
        return value * (float("nan") if run.step >= step else 1.0), more

    monkeypatch.setattr(Classify, "loss", bad)


def test_a_loss_that_is_not_finite(tiny_zip, tmp_path, monkeypatch) -> None:
    run = make(tiny_zip, tmp_path / "out")
    poisoned(run, 6, monkeypatch)
    expected = r"loss of nan.*step 6, learning rate 0\.00\d+; the last good.*step-00000004[\s\S]*"
    with pytest.raises(UsageError, match=expected + r"--lr 0\.00025"):
        run.fit()
    newest = checkpoint.newest(tmp_path / "out")
    assert newest is not None
    assert newest[1].run["step"] == 4
    assert all(value.isfinite().all() for value in newest[1].tensors.values())


def test_a_gradient_that_is_not_finite(tiny_zip, tmp_path) -> None:
    run = make(tiny_zip, tmp_path / "out")
    run.model.head.weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(UsageError, match=r"gradient norm of (nan|inf) at step 0[\s\S]*--precision"):
        run.fit()
    assert checkpoint.newest(tmp_path / "out") is None


# ---- bad disks -------------------------------------------------------------------------------


def test_a_full_disk_keeps_the_last_checkpoint(tiny_zip, tmp_path, monkeypatch) -> None:
    """The disk fills up in the middle of the second checkpoint; with room again the run goes on."""
    save = checkpoint.save_file
    calls: list[int] = []

    def refuse(tensors, path, metadata) -> None:
        calls.append(1)
        save(tensors, path, metadata)
        if len(calls) == 2:
            with open(path, "r+b") as file:
                file.truncate(100)
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", refuse)
    run = make(tiny_zip, tmp_path / "out")
    with pytest.raises(UsageError, match=r"full disk.*step-00000008[\s\S]*--resume"):
        run.fit()
    assert [p.name for p in checkpoint.found(tmp_path / "out")] == ["step-00000004.safetensors"]
    again = make(tiny_zip, tmp_path / "out", settings={"resume": True})
    assert again.step == 4
    again.fit()
    assert again.step == 8


# ---- bad images ------------------------------------------------------------------------------


def png(value: int, size: int = 16) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size, size), (value, 40, 40)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def damaged_zip(tmp_path):
    """Three pictures of forty are damaged."""
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(40):
            data = png(number) if number % 15 != 3 else png(number)[:50]
            archive.writestr(f"{'ab'[number % 2]}/{number:02d}.png", data)
    return path


@pytest.mark.parametrize("memory", [1 << 30, 0])
def test_damaged_images_are_skipped_and_named(damaged_zip, tmp_path, memory, capsys) -> None:
    settings = {"memory": memory, "show": True}
    run = make(damaged_zip, tmp_path / "out", held=0.0, settings=settings, epochs=3)
    assert len(run.train) == (37 if memory else 40)
    run.fit()
    assert {name[-9:] for name in run.skipped.reasons} == {"/b/03.png", "/a/18.png", "/b/33.png"}
    shown = capsys.readouterr().err
    assert "skipped 3 unreadable image(s)" in shown
    for name in run.skipped.reasons:
        assert f"skipped '{name}', a damaged or truncated picture" in shown
    with open(tmp_path / "out" / "skipped.csv", newline="") as file:
        assert {row["image"]: row["reason"] for row in csv.DictReader(file)} == run.skipped.reasons
    settings = {"memory": memory, "resume": True}
    again = make(damaged_zip, tmp_path / "out", held=0.0, settings=settings, epochs=3)
    assert again.skipped.reasons == run.skipped.reasons, "counted on"
    again.fit()


def test_only_the_first_skipped_images_are_shown(tmp_path, capsys) -> None:
    skipped = Skipped(100)
    task = Classify(("a", "b"), ClassifyOptions())
    settings = Settings(out=tmp_path, tensorboard=False)
    report = Report(settings, Recipe(), 10, 5, skipped, task, main=True, step=0)
    for number in range(9):
        skipped.add(Unreadable(f"{number}.png", f"'{number}.png', damaged"))
        report.steps([], 1, {"loss": 0.0, "top1": 0.0})
    report.close()
    shown = capsys.readouterr().err
    assert shown.count("damaged") == 5
    assert shown.count("skipped.csv") == 1


@pytest.mark.parametrize("memory", [1 << 30, 0])
def test_too_many_damaged_images(damaged_zip, tmp_path, memory) -> None:
    settings = {"memory": memory, "max_bad": 2}
    with pytest.raises(UsageError, match=r"3 unreadable images[\s\S]*at most 2[\s\S]*--max-bad"):
        make(damaged_zip, tmp_path / "out", held=0.0, settings=settings, epochs=3).fit()


# ---- the wrong folder, model or machine ------------------------------------------------------


def test_a_folder_with_a_run(tiny_zip, tmp_path) -> None:
    make(tiny_zip, tmp_path / "out", epochs=1).fit()
    with pytest.raises(UsageError, match=r"out', which holds a run[\s\S]*--resume.*out-2"):
        make(tiny_zip, tmp_path / "out", epochs=1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch_size": 32}, "batch_size=32 for a run that has 16"),
        ({"fields": {"dim": 16}}, "dim=16"),
        ({"size": (12, 12)}, r"size=\[12, 12\]"),
        ({"held": 0.4}, "images=48 for a run that has 64"),
    ],
)
def test_resuming_another_run(change, named, tiny_zip, tmp_path) -> None:
    make(tiny_zip, tmp_path / "out", epochs=1).fit()
    expected = named + r"[\s\S]*step-00000004[\s\S]*repeat the first command"
    with pytest.raises(UsageError, match=expected):
        make(tiny_zip, tmp_path / "out", epochs=1, settings={"resume": True}, **change)


def test_resuming_nothing_begins(tiny_zip, tmp_path) -> None:
    run = make(tiny_zip, tmp_path / "out", epochs=1, settings={"resume": True})
    assert run.step == 0


def test_resuming_what_is_done(tiny_zip, tmp_path) -> None:
    make(tiny_zip, tmp_path / "out", epochs=1).fit()
    before = (tmp_path / "out" / "epochs.csv").read_text()
    make(tiny_zip, tmp_path / "out", epochs=1, settings={"resume": True}).fit()
    assert (tmp_path / "out" / "epochs.csv").read_text() == before


def test_a_finished_run_is_trained_on(tiny_zip, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    make(tiny_zip, out, epochs=1, settings={"show": True}).fit()
    make(tiny_zip, out, epochs=1, settings={"show": True, "resume": True}).fit()
    assert "all 4 steps are done; to train on, use --resume --epochs 2" in capsys.readouterr().err
    run = make(tiny_zip, out, epochs=3, warmup_epochs=1.0, settings={"resume": True})
    assert (run.step, run.schedule.total) == (4, 12)
    run.fit()
    with open(out / "steps.csv", newline="") as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file)]
    assert len(rates) == 12
    # The rate with which the first epoch ended, warm-up (a fifth of 8 steps), then down.
    assert rates[4] < 1e-4 < rates[6]
    assert rates[5] == 1e-3
    again = make(tiny_zip, out, epochs=3, warmup_epochs=1.0, settings={"resume": True})
    assert [again.schedule.rate(step) for step in range(12)] == pytest.approx(rates)


def test_a_run_from_before_runs_could_be_extended(tiny_zip, tmp_path) -> None:
    """Checkpoints of version 0.1.0 have neither cycles nor skipped images."""
    out = tmp_path / "out"
    make(tiny_zip, out, epochs=1, warmup_epochs=9.0).fit()
    newest = checkpoint.newest(out)
    assert newest is not None
    run = {k: v for k, v in newest[1].run.items() if k not in ("cycles", "skipped")}
    checkpoint.write(out, 4, checkpoint.Checkpoint(newest[1].tensors, run))
    settings = {"resume": True}
    same = make(tiny_zip, out, epochs=1, warmup_epochs=9.0, settings=settings).schedule
    assert same.cycles == (Cycle(0, 4, 4, 5e-7),)
    longer = make(tiny_zip, out, epochs=2, warmup_epochs=9.0, settings=settings).schedule
    assert longer.cycles[0] == same.cycles[0]


def test_fewer_epochs_than_are_done(tiny_zip, tmp_path) -> None:
    make(tiny_zip, tmp_path / "out", epochs=2).fit()
    expected = r"1 epochs for a run that has done 2[\s\S]*more than 2[\s\S]*--resume --epochs 4"
    with pytest.raises(UsageError, match=expected):
        make(tiny_zip, tmp_path / "out", epochs=1, settings={"resume": True})


def test_statistics_of_a_frozen_batch_norm_stay(tiny_zip, tmp_path) -> None:
    run = make(tiny_zip, tmp_path / "out", epochs=1, ema=0.0)
    for trains in (True, False):
        norm = torch.nn.BatchNorm1d(3).requires_grad_(trains)
        run.model.add_module("extra", norm)
        train_mode(run.model)
        assert norm.training == trains
        run.evaluate()
        assert norm.training == trains


def test_a_batch_that_cannot_be_cut(tiny_zip, tmp_path) -> None:
    with pytest.raises(UsageError, match=r"batch of 16[\s\S]*multiple of 3[\s\S]*--batch-size 15"):
        make(tiny_zip, tmp_path / "out", accumulate=3)


def test_fsdp_alone(tiny_zip, tmp_path) -> None:
    with pytest.raises(UsageError, match=r"--fsdp on 1 process[\s\S]*torchrun"):
        make(tiny_zip, tmp_path / "out", settings={"fsdp": True})


def test_fsdp_with_muon(tiny_zip, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    with pytest.raises(
        UsageError, match=r"--fsdp with --optimizer muon[\s\S]*use --optimizer adamw"
    ):
        make(tiny_zip, tmp_path / "out", settings={"fsdp": True}, optimizer="muon")


def test_a_model_of_something_else(tiny_zip, tmp_path) -> None:
    train, val = split(open_source(tiny_zip), 0.2, 0)
    model = create_model("swin1d_tiny", depths=(1,), dim=8, num_heads=(1,), in_channels=2)
    with pytest.raises(UsageError, match=r"swin1d_tiny.*1 axes and 2 channels[\s\S]*swin_nano"):
        loop.fit(
            model,
            Classify.build(train, ClassifyOptions()),
            train,
            val,
            Recipe(),
            Settings(out=tmp_path / "out", cpu=True),
        )


@pytest.mark.compile
def test_compiled(tiny_zip, tmp_path) -> None:
    plain = make(tiny_zip, tmp_path / "plain", epochs=1)
    plain.fit()
    fast = make(tiny_zip, tmp_path / "fast", epochs=1, settings={"compile": True})
    fast.fit()
    for one, other in zip(plain.model.parameters(), fast.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
