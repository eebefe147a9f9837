"""A package compiled ahead of time agrees with the model at sizes it was not compiled at."""

import json
from pathlib import Path

import pytest
import torch

from tests.support import refuses, small
from vitrail.export import aot, export_aot, export_pt2, open_export, size_range

pytestmark = pytest.mark.compile


def test_a_compiled_package_serves_every_size(tmp_path: Path) -> None:
    model, path = small("1-D", depths=(1,), num_heads=(2,)), tmp_path / "m.aoti.pt2"
    report = export_aot(model, path, 40)
    assert (report.smallest, report.largest) == size_range(model)
    assert report.difference <= 1e-4
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    compiled, ours = (
        torch._inductor.aoti_load_package(str(path)),
        open_export(path, trust_code=True),
    )
    said = compiled.get_metadata()
    assert json.loads(said["vitrail.largest"]) == list(report.largest)
    for shape in ((1, 3, 1), (3, 3, 17), (2, 3, 90)):
        x = torch.randn(shape)
        with torch.no_grad():
            expected = model(x)
        torch.testing.assert_close(compiled(x), expected)
        torch.testing.assert_close(ours(x)[0], expected)
        strided = x.transpose(1, 2).contiguous().transpose(1, 2)
        torch.testing.assert_close(ours(strided)[0], expected)


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with refuses("no C++ compiler", "apt install g++"):
        export_aot(small("1-D"), tmp_path / "m.aoti.pt2")
    monkeypatch.undo()
    for facts in ("/no/such/g++", "", " ", "'g++"):
        monkeypatch.setenv("CXX", facts)
        with refuses(repr(facts), "unset it"):
            export_aot(small("1-D"), tmp_path / "m.aoti.pt2")
    monkeypatch.setenv("CXX", "env g++ -O1")
    aot._check_compiler()


def test_the_name_says_what_is_in_it(tmp_path: Path) -> None:
    with refuses("m.pt2", "m.aoti.pt2"):
        export_aot(small("1-D"), tmp_path / "m.pt2")
    with refuses("m.aoti.pt2", "m.pt2, or use export_aot"):
        export_pt2(small("1-D"), tmp_path / "m.aoti.pt2")
