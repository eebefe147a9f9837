"""What every fuzzer shares: seeded cases, a budget of time, and what no case may do.

A case is a function of one random generator. The generator of case number n depends on the
fuzzer's name, ``VITRAIL_FUZZ_SEED`` and n alone, so a failing case is the same case in every run
and on every machine; only how many cases fit into ``VITRAIL_FUZZ_SECONDS`` depends on the machine.
"""

import json
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import unchecked
from vitrail import UsageError

SECONDS = float(os.environ.get("VITRAIL_FUZZ_SECONDS", "5"))  # for each fuzzer
SEED = os.environ.get("VITRAIL_FUZZ_SEED", "0")
CASE = os.environ.get("VITRAIL_FUZZ_CASE")  # run this case alone

LONG = pytest.mark.timeout(300 + 2 * SECONDS)

# Audit events of code that gets out of the process, or loads more code into it.
_FORBIDDEN = frozenset(
    {
        "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.remove",
        "os.rmdir", "os.symlink", "pty.spawn", "shutil.rmtree", "subprocess.Popen",
        "socket.connect", "socket.bind", "urllib.Request", "ctypes.dlopen", "webbrowser.open",
    }
)  # fmt: skip
_watch: list[str] | None = None


def fuzz(
    name: str,
    case: Callable[[random.Random], object],
    *,
    at_least: int = 20,
    memory: int | None = None,
) -> Counter[str]:
    """Run cases until the budget is spent; a case may return, or raise a UsageError.

    Args:
        name: of the fuzzer; part of every case's seed.
        case: one case. It checks on its own what must hold after it.
        at_least: cases that run even on a machine too slow for them.
        memory: bytes that all of a case's allocations may take together, beyond what the process
            has; None for no limit.
    Returns:
        How many cases were ``"accepted"`` and how many ``"refused"``.
    Raises:
        AssertionError: a case raised another exception, with the words that repeat it alone.
    """
    outcomes: Counter[str] = Counter()
    for number in _numbers(at_least):
        rng = random.Random(f"{SEED}/{name}/{number}")
        try:
            # The shape checker would refuse hostile values before our own code can.
            with unchecked(), limited_memory(memory):
                case(rng)
            outcomes["accepted"] += 1
        except UsageError as error:
            _check_words(error)
            outcomes["refused"] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            again = f"VITRAIL_FUZZ_SEED={SEED} VITRAIL_FUZZ_CASE={number}"
            raise AssertionError(
                f"{name}, case {number}: {type(error).__name__}: {str(error)[:500]}\n"
                f"repeat it with: {again} pytest {os.environ.get('PYTEST_CURRENT_TEST', '')}"
            ) from error
    return outcomes


def _numbers(at_least: int) -> Iterator[int]:
    if CASE is not None:
        yield int(CASE)
        return
    end = time.monotonic() + SECONDS
    number = 0
    while number < at_least or time.monotonic() < end:
        yield number
        number += 1


def _check_words(error: UsageError) -> None:
    """Check that a refusal says something, in a few lines of a length that a terminal shows."""
    for part in ("given", "allowed", "fix"):
        text = getattr(error, part)
        assert text.strip(), f"an error without {part}: {error}"
        assert len(text) < 5000, f"an error with {len(text)} characters in {part}"


# --- what no case may do ------------------------------------------------------------------------


@contextmanager
def nothing_executed(*allowed: str) -> Iterator[None]:
    """Fail if what runs inside starts a process, opens a connection, or removes a file.

    Args:
        allowed: audit events that the code under test has a reason for, such as ``"os.remove"``.
    Raises:
        AssertionError: it did, also if an exception hid it.
    """
    global _watch
    _install_hook()
    _watch = seen = []
    try:
        yield
    finally:
        _watch = None
        executed = [event for event in seen if event not in allowed]
        assert not executed, f"executed: {executed}"


def _audit(event: str, _: object) -> None:
    if _watch is not None and event in _FORBIDDEN:
        _watch.append(event)


_installed = False


def _install_hook() -> None:
    global _installed
    if not _installed:  # a hook stays until the process ends
        sys.addaudithook(_audit)
        _installed = True


@contextmanager
def limited_memory(extra: int | None) -> Iterator[None]:
    """Let allocations of more than ``extra`` bytes fail, where the system has such a limit."""
    statm = Path("/proc/self/statm")
    if extra is None or not statm.exists():
        yield
        return
    used = int(statm.read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + extra, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# --- mutations ------------------------------------------------------------------------------------


def mutated(rng: random.Random, whole: bytes) -> bytes:
    """Return bytes with one to eight faults: flipped, cut, doubled, moved, or another number."""
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(_FAULTS)(rng, data)
    return bytes(data)


def _flip(rng: random.Random, data: bytearray) -> None:
    if data:
        data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _replace(rng: random.Random, data: bytearray) -> None:
    start = _place(rng, data)
    data[start : start + rng.randrange(1, 64)] = rng.randbytes(rng.randrange(64))


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[_place(rng, data) :]


def _double(rng: random.Random, data: bytearray) -> None:
    start = _place(rng, data)
    data[start:start] = data[start : start + rng.randrange(1, 256)]


def _number(rng: random.Random, data: bytearray) -> None:
    """Put an extreme length where one might stand."""
    width = rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, 127, 128, 2 ** (8 * width) - 1, 2 ** (8 * width - 1)))
    start = _place(rng, data)
    order = "little" if rng.random() < 0.7 else "big"
    data[start : start + width] = (value % 2 ** (8 * width)).to_bytes(width, order)


_FAULTS = (_flip, _flip, _replace, _cut, _double, _number)


def _place(rng: random.Random, data: bytearray) -> int:
    """Return a place: anywhere, or near an end, where headers and indexes are."""
    if not data:
        return 0
    near = min(len(data), 512)
    return rng.choice(
        (rng.randrange(len(data)), rng.randrange(near), len(data) - 1 - rng.randrange(near))
    )


# Values of other types and sizes than any field expects.
ODD_VALUES = (
    None, True, False, 0, -1, 1, 10**7, -(10**9), 2**63, 2**1100, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "3", "a" * 10_000, "\ud800", "\x00", "é", [], [[]], [0], [-1], [10**7] * 4,
    [1] * 10_000, ["a"], [None], {}, {"": {}}, {"a": [1]},
)  # fmt: skip


def mutated_value(rng: random.Random, value: object) -> object:
    """Return a JSON value with one part replaced, removed, repeated or nested."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        rest = dict(value)
        action = rng.random()
        if action < 0.1:
            del rest[key]
        elif action < 0.2:
            rest[rng.choice(("", "__class__", "self", "extra", "\ud800"))] = rest.pop(key)
        else:
            rest[key] = mutated_value(rng, value[key])
        return rest
    if isinstance(value, list) and value and rng.random() < 0.6:
        index = rng.randrange(len(value))
        action = rng.random()
        if action < 0.15:
            return value[:index]
        if action < 0.3:
            return [*value, *value]
        return [*value[:index], mutated_value(rng, value[index]), *value[index + 1 :]]
    return rng.choice(ODD_VALUES)


def mutated_json(rng: random.Random, value: object) -> str:
    """Return JSON text of a mutated value; sometimes nested deeply, sometimes no JSON."""
    text = json.dumps(mutated_value(rng, value), ensure_ascii=rng.random() < 0.9)
    fault = rng.random()
    if fault < 0.1:
        place = rng.randrange(len(text))
        depth = rng.choice((10, 500, 100_000))
        opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
        inner = opening * depth + "1" + closing * depth
        return text[:place] + inner + text[place:] if rng.random() < 0.5 else inner
    if fault < 0.2:
        return mutated(rng, text.encode("utf-8", "replace")).decode("utf-8", "replace")
    return text
