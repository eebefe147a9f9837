"""The frame itself: it repeats its cases, and sees what it must not let pass."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest

from tests.fuzz import frame
from vitrail import UsageError


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(frame, "SECONDS", 0)
    monkeypatch.setattr(frame, "CASE", None)


def test_a_case_is_the_same_in_every_run():
    runs: list[list[float]] = [[], []]
    for run in runs:
        frame.fuzz("a", lambda rng, run=run: run.append(rng.random()), at_least=5)
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 5


def test_refusals_are_counted():
    def case(rng: random.Random) -> None:
        if rng.random() < 0.5:
            raise UsageError("this", "that", "do")

    outcomes = frame.fuzz("a", case, at_least=40)
    assert outcomes["accepted"] + outcomes["refused"] == 40
    assert min(outcomes.values()) > 5


@pytest.mark.parametrize("error", [KeyError("x"), MemoryError(), RecursionError(), SystemExit(1)])
def test_any_other_exception_names_its_case(error, monkeypatch):
    def case(_: random.Random) -> None:
        raise error

    with pytest.raises(AssertionError, match=f"{type(error).__name__}.*\n.*VITRAIL_FUZZ_CASE=0"):
        frame.fuzz("a", case)
    monkeypatch.setattr(frame, "CASE", "7")
    with pytest.raises(AssertionError, match="VITRAIL_FUZZ_CASE=7"):
        frame.fuzz("a", case)


@pytest.mark.parametrize("words", [("", "that", "do"), ("x" * 10_000, "that", "do")])
def test_an_error_says_something_and_not_too_much(words):
    def case(_: random.Random) -> None:
        raise UsageError(*words)

    with pytest.raises(AssertionError, match="an error with"):
        frame.fuzz("a", case)


def test_what_is_executed_is_seen_even_if_an_exception_hides_it(tmp_path):
    with pytest.raises(AssertionError, match=r"os\.system"), frame.nothing_executed():
        os.system("true")
        raise KeyError
    with pytest.raises(AssertionError, match="Popen"), frame.nothing_executed():
        subprocess.run([sys.executable, "--version"], check=False, capture_output=True)
    with frame.nothing_executed():
        (tmp_path / "file").write_bytes(b"x")
    with frame.nothing_executed("os.remove"):
        (tmp_path / "file").unlink()
    os.system("true")  # not watched any more


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_memory_is_limited():
    with pytest.raises(MemoryError), frame.limited_memory(1 << 28):
        np.ones(1 << 29, np.uint8)
    assert np.ones(1 << 29, np.uint8).nbytes == 1 << 29


def test_mutations_change_something_and_repeat():
    whole = bytes(range(256)) * 8
    cases = [frame.mutated(random.Random(seed), whole) for seed in range(50)]
    assert cases == [frame.mutated(random.Random(seed), whole) for seed in range(50)]
    assert sum(case != whole for case in cases) > 45
    assert frame.mutated(random.Random(0), b"") is not None
    texts = [frame.mutated_json(random.Random(s), {"a": [1, 2], "b": 3}) for s in range(99)]
    assert texts == [frame.mutated_json(random.Random(s), {"a": [1, 2], "b": 3}) for s in range(99)]
    assert len(set(texts)) > 40
    assert any("[" * 1000 in text or '{"a":' * 500 in text for text in texts)
