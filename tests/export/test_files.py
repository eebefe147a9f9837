"""Files are whole or absent, also where two belong together."""

from pathlib import Path

import pytest

from vitrail.export import whole_or_absent


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
    with whole_or_absent(path, ".bin") as temporary:
        temporary.write_text("after")
        temporary.with_suffix(".bin").write_text("after")
    assert seen == [[None, "after"], ["after", "after"]]
    assert sorted(tmp_path.iterdir()) == [weights, path]
