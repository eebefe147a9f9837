"""`vitrail faithfulness`: the study over a data set."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image
from torch import Tensor

from tests.cli.test_evaluate import CLASSES, make_zip, weights
from vitrail.cli import _faithfulness_page as page
from vitrail.cli.main import run
from vitrail.explain.study import compare

__all__ = ["weights"]  # the fixture: a tiny model with six classes
FAST = ["--steps", "6", "--draws", "3"]


class Known:
    """A method whose maps are known, and that counts its calls."""

    def __init__(self, title: str, sign: float) -> None:
        self.title, self.sign, self.requests = title, sign, []

    def map(self, model: Any, image: Tensor, trace: Any, cls: int | None = None) -> Tensor:
        """Return where the input's gradient times the input is large: right for small changes."""
        self.requests.append(cls)
        assert trace.logits.shape == (6,) and image.shape[0] == 1
        seen = image.clone().requires_grad_()
        model(seen)[0, cls].backward()
        assert seen.grad is not None
        # The baseline is the image's mean here: what matters is how far a place is from it.
        own = (seen.grad * (seen - seen.mean((2, 3), keepdim=True))).sum(1)[0]
        model.zero_grad()
        return self.sign * own.detach()


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> dict[str, Known]:
    """Take two methods in the place of the package's own: one right, one the other way round."""
    known = {"right": Known("Right", 1.0), "wrong": Known("Wrong", -1.0)}
    module = ModuleType("vitrail.explain.methods")
    module.METHODS = known  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vitrail.explain.methods", module)
    return known


def words(weights: Path, data: Path, out: Path, *more: str) -> list[str]:
    """Return a command over a few of the data's images."""
    return ["faithfulness", str(data), "-w", str(weights), "--output", str(out), *FAST, *more]


def test_the_document_its_numbers_and_its_plots(
    weights: Path, methods: dict[str, Known], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = make_zip(tmp_path / "z.zip", CLASSES), tmp_path / "out"
    summary = tmp_path / "small.json"
    options = ["-n", "12", "--baseline", "mean", "--summary", str(summary)]
    command = words(weights, data, out, *options)
    assert run(command) == 0
    assert capsys.readouterr().out.strip() == str(out / "README.md")
    result = json.loads((out / "faithfulness.json").read_text(encoding="utf-8"))
    assert result["images"] == len(result["per_image"]) == 12
    assert result["rows"][0]["beats"]["random"] and not result["rows"][1]["beats"]["random"]
    assert [row["method"] for row in result["rows"]] == ["right", "wrong", "random", "centre"]
    areas = [facts["areas"] for facts in result["per_image"]]
    for row, again in zip(result["rows"], compare(areas), strict=True):
        assert row["deletion"] == pytest.approx(again["deletion"], abs=1e-4)
    assert len({facts["image"] for facts in result["per_image"]}) == 12
    text = (out / "README.md").read_text(encoding="utf-8")
    assert text == page.page(result)
    assert "**Right** beats a random order" in text
    assert "**Wrong** beats neither a random order nor the centre outwards" in text
    assert str(tmp_path) not in text + json.dumps(result)
    for name in ("areas", "curves"):
        with Image.open(out / f"{name}.png") as picture:
            assert picture.width > 500
    small = json.loads(summary.read_text(encoding="utf-8"))
    assert small["sha256"] == result["sha256"] and "per_image" not in small
    assert small["dataset"].endswith("z.zip at 16 x 16")
    before = {p: p.read_bytes() for p in out.glob("*.*")}
    requests = len(methods["right"].requests)
    assert run(command) == 0  # all is known: nothing is measured, and nothing changes
    assert len(methods["right"].requests) == requests == 12
    assert before == {p: p.read_bytes() for p in out.glob("*.*")}


def test_a_run_that_was_stopped_goes_on(
    weights: Path, methods: dict[str, Known], tmp_path: Path
) -> None:
    data, out = make_zip(tmp_path / "z.zip", CLASSES), tmp_path / "out"
    assert run(words(weights, data, out, "-n", "4")) == 0
    first = json.loads((out / "faithfulness.json").read_text(encoding="utf-8"))
    assert run(words(weights, data, out, "-n", "6")) == 0
    assert len(methods["right"].requests) == 6
    longer = json.loads((out / "faithfulness.json").read_text(encoding="utf-8"))
    assert longer["per_image"][:4] == first["per_image"]
    assert run(words(weights, data, out, "-n", "4", "--seed", "1")) == 0  # other images and orders
    assert len(methods["right"].requests) == 10


def test_a_method_is_added_without_measuring_the_others_again(
    weights: Path, methods: dict[str, Known], tmp_path: Path
) -> None:
    data = make_zip(tmp_path / "z.zip", CLASSES)
    some, both = tmp_path / "some", tmp_path / "both"
    for name in ("right", "wrong"):
        assert run(words(weights, data, some, "-n", "3", "--method", name)) == 0
    requests = {name: len(method.requests) for name, method in methods.items()}
    assert requests == {"right": 3, "wrong": 3}
    assert run(words(weights, data, some, "-n", "3")) == 0
    assert requests == {name: len(method.requests) for name, method in methods.items()}
    assert run(words(weights, data, both, "-n", "3")) == 0
    first, second = (json.loads((p / "faithfulness.json").read_text()) for p in (some, both))
    assert first == second


def test_the_class_is_the_predicted_one_or_the_label(
    weights: Path,
    methods: dict[str, Known],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = make_zip(tmp_path / "z.zip", ("cow", "fox"))
    options = ["-n", "8", "--method", "right", "--json"]
    assert run(words(weights, data, tmp_path / "a", *options)) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in facts["rows"]] == ["right", "random", "centre"]
    assert "per_image" not in facts and methods["wrong"].requests == []
    predicted = methods["right"].requests[:]
    assert run(words(weights, data, tmp_path / "b", *options, "--target", "label")) == 0
    capsys.readouterr()
    labels = methods["right"].requests[8:]
    assert set(labels) <= {2, 5} and labels != predicted  # numbers of cow and fox in the model
    text = (tmp_path / "b" / "README.md").read_text(encoding="utf-8")
    assert "the image's own" in text


def test_unreadable_images_are_passed_over(
    weights: Path, methods: dict[str, Known], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_zip(tmp_path / "z.zip", ("ant", "bee"), bad=2)
    assert run(words(weights, data, tmp_path / "out", "-n", "10")) == 0
    capsys.readouterr()
    assert run(words(weights, data, tmp_path / "out", "-n", "11")) == 2
    error = capsys.readouterr().err
    assert "2 unreadable images among 12" in error and "use --images 10" in error


@pytest.mark.parametrize(
    ("more", "given", "fix"),
    [
        (["-n", "31"], "--images 31 of a data set with 30", "use --images 30"),
        (["-n", "1"], "--images 1", "use --images 2"),
        (["--method", "wrnog"], "--method wrnog", "use --method wrong"),
        (["--method", "xyzzy"], "--method xyzzy", "leave --method out"),
        (["--target", "dog"], "--target dog", "use --target predicted"),
        (["-n", "2", "--baseline", "grey"], "baseline='grey'", "use baseline='blur'"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    more: list[str],
    given: str,
    fix: str,
    weights: Path,
    methods: dict[str, Known],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, out = make_zip(tmp_path / "z.zip", CLASSES), tmp_path / "out"
    assert run(words(weights, data, out, *more)) == 2
    error = capsys.readouterr().err
    assert given in error and fix in error and "allowed:" in error
    assert not out.exists()


def test_equal_seeds_draw_equal_images(
    weights: Path, methods: dict[str, Known], tmp_path: Path
) -> None:
    data = make_zip(tmp_path / "z.zip", CLASSES)
    for name in ("a", "b"):
        assert run(words(weights, data, tmp_path / name, "-n", "3", "--method", "right")) == 0
    first, second = ((tmp_path / n / "faithfulness.json").read_text() for n in ("a", "b"))
    assert first == second
