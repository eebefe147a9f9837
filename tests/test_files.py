"""Files are whole or absent, also where two belong together."""

import os
import re
import stat
from pathlib import Path

import pytest

from vitrail.files import whole_or_absent

SOURCE = Path(__file__).parents[1] / "src" / "vitrail"


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_text("before")
    with pytest.raises(RuntimeError), whole_or_absent(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    with whole_or_absent(path) as temporary:
        temporary.write_text("after")
        assert path.read_text() == "before"
        assert temporary.suffix == ".pt2"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_graph_never_stands_beside_another_s_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, weights = tmp_path / "m.xml", tmp_path / "m.bin"
    path.write_text("before")
    weights.write_text("before")
    seen, replace = [], Path.replace

    def watched(self: Path, target: Path) -> Path:
        moved = replace(self, target)
        pair = [file.read_text() if file.exists() else None for file in (path, weights)]
        seen.append(pair)
        return moved

    monkeypatch.setattr(Path, "replace", watched)
    with whole_or_absent(path) as temporary:
        temporary.write_text("after")
        temporary.with_suffix(".bin").write_text("after")
    assert seen == [[None, "after"], ["after", "after"]]
    assert sorted(tmp_path.iterdir()) == [weights, path]


def test_a_file_that_is_no_graph_may_end_as_one(tmp_path: Path) -> None:
    path, other = tmp_path / "page.xml", tmp_path / "page.bin"
    other.write_text("of somebody")
    with whole_or_absent(path) as temporary:
        temporary.write_text("a page")
    assert path.read_text() == "a page"
    assert other.read_text() == "of somebody"


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_it_may_be_read_by_whom_the_umask_allows(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with whole_or_absent(tmp_path / "a.xml") as temporary:
            for part in (temporary, temporary.with_suffix(".bin")):
                part.touch(0o600)  # as safetensors does
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~mask}


def test_what_nobody_wrote_takes_no_place(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(FileNotFoundError), whole_or_absent(path):
        pass
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_takes_nothing_is_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_or_absent(tmp_path / "no" / "a.txt"):
        pytest.fail("it began to write")


def test_long_names_and_two_writers_at_once(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".txt")
    with whole_or_absent(path) as first, whole_or_absent(path) as second:
        second.write_text("second")
        first.write_text("first")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_else_renames_files_into_place() -> None:
    renames = re.compile(r"os\.replace\(|\.replace\((path|target)\)|\.rename\(|mkstemp")
    found = {
        str(file.relative_to(SOURCE))
        for file in SOURCE.rglob("*.py")
        if renames.search(file.read_text(encoding="utf-8"))
    }
    assert not found
