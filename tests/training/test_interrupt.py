import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vitrail.training.interrupt import Interrupt


def test_a_signal_is_noted_and_a_second_one_interrupts(capfd) -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupt(repeats=True) as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert "Ctrl-C again stops at once" in capfd.readouterr().err


def test_launchers_repeat_signals() -> None:
    with Interrupt(repeats=False) as interrupt:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.signal == signal.SIGTERM


def test_a_worker_outlives_its_group(tmp_path) -> None:
    """It serves the run until that has stopped, and no longer than the grace."""
    code = """
import os, signal, time
from vitrail.training import interrupt
interrupt.GRACE = 0.2
interrupt.leave_signals_to_the_run()
for number in (signal.SIGINT, signal.SIGTERM):
    os.kill(os.getpid(), number)
print("alive", flush=True)
time.sleep(60)
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"alive\n", -signal.SIGALRM)


def test_other_threads_have_no_handlers() -> None:
    seen = []

    def work() -> None:
        with Interrupt(repeats=True) as interrupt:
            seen.append(interrupt.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0]
