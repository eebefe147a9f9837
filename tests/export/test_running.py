"""Open what was exported."""

from pathlib import Path

from tests.support import refuses
from vitrail.export import ENDINGS, open_export


def test_what_is_no_exported_file_is_refused(tmp_path: Path) -> None:
    with refuses("m.bin, which is no exported file", "-o m.onnx"):
        open_export(tmp_path / "m.bin")
    for ending in ENDINGS:
        with refuses("no such file", ".onnx"):
            open_export(tmp_path / f"m{ending}")
