"""Ctrl-C between two steps: the run stops where it can go on from."""

import os
import signal
import threading
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator

GRACE = 30.0  # seconds that a worker lives on after SIGTERM, as long as torchrun waits
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingStopped(KeyboardInterrupt):
    """A signal ended a run after a whole step, and its checkpoint is written.

    Args:
        message: what was done and how to go on.
        signal: the number of the signal.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class Interrupt:
    """Ctrl-C and SIGTERM as a flag, inside a ``with`` block in the main thread.

    Args:
        repeats: whether a second signal interrupts at once. Launchers of several processes repeat
            the signal that the terminal has sent already.
    """

    def __init__(self, *, repeats: bool) -> None:
        self.repeats = repeats
        self.signal = 0
        """Number of the signal that came, or 0."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():  # others cannot set handlers
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agreed(self, accelerator: Accelerator, looks: bool) -> bool:
        """Whether to stop here: a signal came, and all processes see that at the same step.

        Args:
            accelerator: of this process.
            looks: whether several processes compare notes now; all must at the same steps.
        """
        if accelerator.num_processes > 1:
            if not looks:
                return False
            number = torch.tensor(self.signal, device=accelerator.device)
            torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
            self.signal = int(number)
        return self.signal > 0

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal and self.repeats:
            raise KeyboardInterrupt
        if not self.signal and self.repeats:
            os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")
        self.signal = number


def leave_signals_to_the_run(_: int = 0) -> None:
    """Let a worker process outlive signals until its run has stopped.

    A terminal sends Ctrl-C, and a launcher or scheduler SIGTERM, to all processes of a group; a
    worker that dies first takes the run with it before its checkpoint is written.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGTERM, lambda *_: signal.setitimer(signal.ITIMER_REAL, GRACE))
