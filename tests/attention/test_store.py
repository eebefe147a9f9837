"""Kernels are loaded only from files that are whole and that nobody else could have written."""

import hashlib
import logging
import os
import shlex
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import refuses
from vitrail.attention.cpp import build, store

pytestmark = pytest.mark.skipif(build.why_not() is not None, reason=str(build.why_not()))
MARKS = '#include <stdio.h>\n__attribute__((constructor)) void mark() {{ fopen("{}", "w"); }}\n'


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A kernel that compiles at once, and a cache of its own."""
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "small.cpp"
    source.write_text('extern "C" int answer() { return 42; }\n')
    build._announce.cache_clear()
    yield source
    build.library.cache_clear()


def again(source: Path) -> Path:
    """Load the kernel as a new process would, and return its file."""
    build.library.cache_clear()
    assert build.library(source).answer() == 42
    (made,) = (source.parent / "cache").glob("*.so")
    return made


def test_a_damaged_kernel_is_built_again(source: Path) -> None:
    made = again(source)
    whole = made.read_bytes()
    for data in (b"", b"no library", whole[: len(whole) // 2], whole[:-1] + b"x"):
        made.unlink()  # what is mapped stays as it was
        made.write_bytes(data)
        assert again(source).read_bytes() == whole


def hostile(source: Path) -> tuple[Path, Path]:
    """Put a library in the place of the kernel whose name has its content's hash."""
    name = again(source).stem.rpartition("-")[0]
    again(source).unlink()
    mark = source.parent / "mark"
    source.with_name("bad.cpp").write_text(MARKS.format(mark))
    compiler = shlex.split(build.compiler() or "")
    bad = source.with_name("bad.so")
    subprocess.run(
        [*compiler, "-shared", "-fPIC", source.with_name("bad.cpp"), "-o", bad], check=True
    )
    digest = hashlib.sha256(bad.read_bytes()).hexdigest()[:32]
    target = source.parent / "cache" / f"{name}-{digest}.so"
    bad.rename(target)
    target.chmod(0o644)
    build.library.cache_clear()
    return target, mark


def test_a_kernel_that_others_may_have_written_is_not_loaded(source: Path) -> None:
    target, mark = hostile(source)
    target.chmod(0o666)
    again(source)
    assert not mark.exists()
    assert not target.exists()


def test_a_link_is_no_kernel(source: Path) -> None:
    target, mark = hostile(source)
    target.rename(source.with_name("elsewhere.so"))
    target.symlink_to(source.with_name("elsewhere.so"))
    again(source)
    assert not mark.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other users")
def test_a_kernel_of_another_user_is_not_loaded(source: Path) -> None:
    target, mark = hostile(source)
    os.chown(target, 12345, 12345)
    again(source)
    assert not mark.exists()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o772])
def test_a_folder_that_others_may_write_is_refused(mode: int, source: Path) -> None:
    _, mark = hostile(source)
    folder = source.parent / "cache"
    folder.chmod(mode)
    with refuses(f"others may write in {folder}", f"chmod go-w {folder}"):
        build.library(source)
    assert not mark.exists()
    folder.chmod(0o755)


def test_a_folder_in_one_that_others_may_write_is_refused(source: Path) -> None:
    folder = source.parent / "open" / "mine"
    folder.mkdir(parents=True)
    folder.parent.chmod(0o777)
    with refuses(f"others may write in {folder.parent}", "VITRAIL_CACHE"):
        store.private_folder(folder)
    folder.parent.chmod(0o1777)  # as /tmp is
    assert store.private_folder(folder) == folder


def test_a_folder_of_another_user_is_refused(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again(source)
    folder = source.parent / "cache"
    if os.geteuid() == 0:
        os.chown(folder, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with refuses("belongs to user", "export VITRAIL_CACHE="):
        store.private_folder(folder)


def test_the_umask_lets_nobody_write(source: Path) -> None:
    before = os.umask(0)
    try:
        made = again(source)
    finally:
        os.umask(before)
    assert made.stat().st_mode & 0o022 == 0
    time = made.stat().st_mtime_ns
    assert again(source).stat().st_mtime_ns == time  # kept, not built again


def test_builders_wait_for_one_another(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compile_one, lines = build._build, []

    def count(*arguments: object) -> None:
        lines.append(arguments)
        compile_one(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(build, "_build", count)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(build.library.__wrapped__, [source] * 4))
    assert [library.answer() for library in made] == [42] * 4
    assert len(lines) == 1
    assert "once, up to 60 s" in caplog.text


def test_a_pause_is_announced_once(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    again(source).unlink()
    again(source)
    again(source)
    (said,) = (r for r in caplog.records if r.levelno == logging.WARNING)
    assert "building kernels" in said.message


def test_a_disk_without_locks_serves(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(store.fcntl, "flock", refuse)
    assert again(source).exists()
