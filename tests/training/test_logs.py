import csv
import errno
import io

import pytest

from vitrail.errors import UsageError
from vitrail.tasks.classify import Classify, ClassifyOptions
from vitrail.training import logs
from vitrail.training.logs import Display, Logs, Table, duration


def rows(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_table_grows_and_forgets_what_came_after_the_checkpoint(tmp_path) -> None:
    path = tmp_path / "a.csv"
    table = Table(path, ("step", "loss"), "step", 0)
    table.add([{"step": step, "loss": step / 3} for step in range(5)])
    again = Table(path, ("step", "loss"), "step", 3)
    again.add([{"step": 3, "loss": 1.0, "other": "not a column"}])
    assert [row["step"] for row in rows(path)] == ["0", "1", "2", "3"]
    assert rows(path)[2]["loss"] == "0.66666667"


def test_table_drops_a_row_that_was_cut_off(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("step,loss\n0,1.0\n1,2.0\n,\nx,")
    Table(path, ("step", "loss"), "step", 10)
    assert [row["step"] for row in rows(path)] == ["0", "1"]


def test_full_disk(tmp_path, monkeypatch) -> None:
    table = Table(tmp_path / "a.csv", ("step",), "step", 0)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(logs.csv.DictWriter, "writerows", refuse)
    with pytest.raises(UsageError, match=r"full disk.*a\.csv[\s\S]*free some space"):
        table.add([{"step": 1}])


TASK = Classify(("a", "b"), ClassifyOptions())
STEP = {"step": 3, "epoch": 1, "lr": 0.1, "loss": 1.5, "top1": 0.5, "grad_norm": 2.0}
EPOCH = {"epoch": 1, "step": 4, "lr": 0.1, "train_loss": 1.0, "train_top1": 0.25}
EPOCH |= {"images_per_s": 100.0, "seconds": 3.0, "skipped": 0}


def test_tensorboard(tmp_path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = Logs(tmp_path, TASK, main=True, step=0, epoch=1, tensorboard=True)
    log.add_steps([STEP])
    log.add_steps([])
    log.add_epoch({**EPOCH, "val_top1": 0.75})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("step/loss")] == [(4, 1.5)]
    assert [(e.step, e.value) for e in events.Scalars("epoch/val_top1")] == [(4, 0.75)]


def test_a_resumed_run_keeps_what_it_had_logged(tmp_path) -> None:
    """Steps after the checkpoint are replaced; its own epoch, logged at the same place, stays."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def logged(step: int, rows: range, *epochs: int) -> None:
        log = Logs(tmp_path, TASK, main=True, step=step, epoch=step // 4 + 1, tensorboard=True)
        for number in rows:
            log.add_steps([{**STEP, "step": number}])
            if number + 1 in epochs:
                log.add_epoch({**EPOCH, "step": number + 1})
        log.close()

    logged(0, range(7), 4)  # killed at step 7; the checkpoint is that of step 4
    logged(4, range(4, 8), 8)
    logged(8, range(8, 8))  # a finished run is resumed
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("epoch/train_loss")] == [4, 8]
    assert [e.step for e in events.Scalars("step/loss")] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_other_processes_are_silent(tmp_path) -> None:
    log = Logs(tmp_path, TASK, main=False, step=0, epoch=1, tensorboard=True)
    log.add_steps([STEP])
    log.add_epoch(EPOCH)
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_plain_lines(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    display = Display(TASK, total=40, epochs=4, batch=8, stream=stream, every=30.0)
    now[0] += 2
    display.step(1, 0, {"loss": 2.0, "top1": 0.1})
    assert stream.getvalue() == "", "not a line each step"
    now[0] += 38
    display.step(20, 1, {"loss": 1.25, "top1": 0.5})
    line = stream.getvalue()
    assert line == "epoch 2/4  step 20/40  loss 1.2500  accuracy 50.00%  4 images/s  0:00:40 left\n"
    display.epoch({**EPOCH, "val_loss": 0.5, "val_top1": 0.9, "skipped": 3})
    assert "validation: loss 0.5000, top-1 90.00%  (100 images/s, 3 s)" in stream.getvalue()
    assert "skipped 3 unreadable image(s)" in stream.getvalue()
    display.close()


def test_live_display() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    display = Display(TASK, total=10, epochs=2, batch=8, stream=stream)
    display.step(5, 1, {"loss": 1.25, "top1": 0.5})
    display.say("a line [that] stays")
    display.close()
    shown = stream.getvalue()
    assert "epoch 2/2" in shown
    assert "images/s" in shown
    assert "left" in shown
    assert "a line [that] stays" in shown


def test_not_shown(capsys) -> None:
    display = Display(TASK, total=10, epochs=2, batch=8, shown=False)
    display.step(5, 1, {"loss": 1.25, "top1": 0.5})
    display.say("nothing")
    display.close()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_the_clock_starts_anew(monkeypatch) -> None:
    """Compiling in the first step must not spoil the speed that is shown."""
    now = [0.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    display = Display(TASK, total=10, epochs=1, batch=10, stream=io.StringIO())
    now[0] = 100.0
    display.step(2, 0, {"loss": 1.0, "top1": 0.0})
    display.restart_clock()
    now[0] = 101.0
    display.step(3, 0, {"loss": 1.0, "top1": 0.0})
    assert display.images_per_s == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00:00"), (59.6, "0:01:00"), (3725.0, "1:02:05")]
)
def test_duration(seconds, text) -> None:
    assert duration(seconds) == text
