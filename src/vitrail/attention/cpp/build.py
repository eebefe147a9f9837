"""Build the kernel with the machine's own compiler, once, and load it."""

import ctypes
import functools
import hashlib
import itertools
import logging
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import torch  # loads the OpenMP runtime that the kernel must share

from vitrail.errors import UsageError

_log = logging.getLogger("vitrail.kernels")
SOURCE = Path(__file__).with_name("grouped.cpp")
FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    # Scores hold infinities, but nothing reads errno, traps or the sign of a zero.
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fPIC",
    "-shared",
)


def compiler() -> str | None:
    """Return the C++ compiler: ``$CXX``, with options, else g++, else clang++; None without one."""
    named = os.environ.get("CXX", "").strip()
    if named:
        try:
            return named if shutil.which(shlex.split(named)[0]) else None
        except ValueError:  # a quotation that does not end
            return None
    found = shutil.which("g++") or shutil.which("clang++")
    return found and shlex.quote(found)


def cache_folder() -> Path:
    """Return where builds are kept: ``$VITRAIL_CACHE``, else the user's cache folder."""
    if os.environ.get("VITRAIL_CACHE"):
        return Path(os.environ["VITRAIL_CACHE"]).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitrail"


def why_not() -> str | None:
    """Return why the kernel cannot be built on this machine, or None if it can."""
    if not sys.platform.startswith("linux"):
        return f"{sys.platform}: the kernel is built on Linux only"
    if compiler() is None:
        named = os.environ.get("CXX", "").strip()
        return f"no C++ compiler: {f'CXX={named!r} names none' if named else 'no g++ nor clang++'}"
    return None


@functools.cache
def library(source: Path = SOURCE) -> ctypes.CDLL:
    """Return a kernel, built now unless a build of this source for this machine is kept.

    Args:
        source: of the kernel; it may include the headers beside it and beside this module.
    Raises:
        UsageError: no compiler, or it does not accept the source; a folder that cannot be written,
            or that others may write.
    """
    reason = why_not()
    if reason is not None:
        raise UsageError(
            reason,
            "Linux with g++ or clang++",
            "install g++, and set CXX to a compiler or unset it",
        )
    words = shlex.split(compiler() or "")
    program = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    # The user's options have the last word.
    options = [*FLAGS, *_openmp(), *words[len(program) :]]
    name = f"{source.stem}-{_key(program, options, source)}"
    try:
        from vitrail.attention.cpp import store  # of modules that other systems do not have

        folder = store.private_folder(cache_folder())
        build = functools.partial(_build, program, options, source)
        return ctypes.CDLL(str(store.kept(folder, name, build)))
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        raise UsageError(
            f"the folder that keeps kernels, $VITRAIL_CACHE or ~/.cache/vitrail: {error}",
            "one that can be written, and programs run from",
            "set VITRAIL_CACHE to such a folder",
        ) from error


def _openmp() -> list[str]:
    """Return the options that bind the kernel to the OpenMP runtime that torch has loaded.

    A second runtime would have threads of its own: those of torch would spin against them.
    """
    maps = Path("/proc/self/maps").read_text()
    mapped = {Path(path) for path in re.findall(r"^(?:\S+ +){5}(/.*)$", maps, re.MULTILINE)}
    loaded = [path for path in mapped if re.match(r"lib(?:gomp|iomp5|omp)\b.*\.so", path.name)]
    if not loaded:
        return ["-fopenmp"]
    own = Path(torch.__file__).resolve().parent  # other packages bring runtimes too
    first = min(loaded, key=lambda path: (own not in path.parents, path))
    return ["-fopenmp", "-Wl,--no-as-needed", str(first), "-Wl,--as-needed"]


def _key(program: list[str], options: list[str], source: Path) -> str:
    """Return a name for what determines the build: source, compiler, options and processor."""
    try:
        version = subprocess.run([*program, "--version"], capture_output=True, text=True)
    except OSError as error:
        raise UsageError(
            f"{shlex.join(program)} does not run: {error}",
            "g++ or clang++",
            "set CXX to a compiler",
        ) from error
    cpu = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    model = re.findall(r"^(?:model name|flags|Features|CPU part)\s*:.*$", cpu, re.MULTILINE)
    headers = {*source.parent.glob("*.h"), *SOURCE.parent.glob("*.h")}
    sources = [path.read_text() for path in (source, *sorted(headers))]
    facts = "\0".join([*program, *options, version.stdout, platform.machine(), *model, *sources])
    return hashlib.sha256(facts.encode()).hexdigest()[:20]


def _build(program: list[str], options: list[str], source: Path, target: Path) -> None:
    """Compile ``source`` to ``target``."""
    _announce()
    _log.info("building %s: %s", source.name, shlex.join([*program, *options]))
    line = [*program, str(source), *options, "-o", str(target)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line]
        said = (lines or done.stderr.splitlines() or [f"exit status {done.returncode}"])[0]
        raise UsageError(
            f"{shlex.join(program)} does not build the kernel: {said}",
            "g++ 12, which it is tested with, or a later compiler",
            "set CXX to another compiler",
        )


@functools.cache
def _announce() -> None:
    """Say once in a process why it pauses."""
    _log.warning("building kernels for this processor: once, up to 60 s; see %s", cache_folder())
