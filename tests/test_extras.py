"""The fix for a package that is not here: a command that works from where the user stands."""

import shlex
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from vitrail import extras

ROOT = Path(__file__).parents[1]


def test_in_a_checkout_it_names_the_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    assert extras.install_words("serve") == "pip install '.[serve]'"
    monkeypatch.chdir(tmp_path)
    (word,) = shlex.split(extras.install_words("serve"))[2:]
    assert Path(word.removesuffix("[serve]")).resolve() == ROOT


def test_elsewhere_it_names_the_packages_themselves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(extras, "_ROOT", tmp_path)
    monkeypatch.setattr(
        extras,
        "_requirements",
        lambda: [
            "torch>=2.10",
            'onnx>=1.18; extra == "export"',
            "vitrail[export] ; extra == 'openvino'",
            'openvino>=2025.3; extra == "openvino"',
        ],
    )
    assert extras.install_words("openvino") == "pip install 'onnx>=1.18' 'openvino>=2025.3'"
    for word in shlex.split(extras.install_words("openvino"))[2:]:
        Requirement(word)


def test_no_text_of_the_package_assumes_an_index_that_has_it() -> None:
    texts = [*ROOT.glob("src/vitrail/**/*.py"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    assert not [p for p in texts if "pip install 'vitrail[" in p.read_text(encoding="utf-8")]
