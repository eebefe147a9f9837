from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest

from vitrail.errors import UsageError
from vitrail.tasks.classify import Classify
from vitrail.tasks.options import options_from, options_of


@dataclass(frozen=True, kw_only=True)
class Every:
    flag: bool = False
    count: int = 1
    share: float = 0.5
    loss: Literal["dice", "cross-entropy"] = "dice"
    names: tuple[str, ...] = ()
    weights: tuple[float, ...] | None = None
    note: str = ""


class Other(Classify):
    name: ClassVar = "other"
    Options: ClassVar = Every


@pytest.mark.parametrize(
    ("word", "field", "value"),
    [
        ("flag=true", "flag", True),
        ("flag=No", "flag", False),
        ("count=12", "count", 12),
        ("share=1e-3", "share", 1e-3),
        ("loss=cross-entropy", "loss", "cross-entropy"),
        ("names=a,b c", "names", ("a", "b c")),
        ("names=", "names", ()),
        ("weights=1,2.5", "weights", (1.0, 2.5)),
        ("weights=none", "weights", None),
        ("note=a=b", "note", "a=b"),
    ],
)
def test_each_type(word: str, field: str, value: Any) -> None:
    found = options_of(Other, ["count=3", word])
    assert getattr(found, field) == value
    assert type(getattr(found, field)) is type(value)


@pytest.mark.parametrize(
    ("word", "allowed", "fix"),
    [
        ("flag=maybe", "true or false", "--set flag=true"),
        ("count=1.5", "a whole number", "--set count=1"),
        ("share=half", "a number", "--set share=0.5"),
        ("loss=dise", "dice, cross-entropy", "--set loss=dice"),
        ("weights=1,x", "a number", "--set weights=none"),
        ("shar=1", "flag, count, share", "--set share=VALUE"),
        ("share", "NAME=VALUE", "--set share=VALUE"),
        ("xyzzy=1", "NAME=VALUE", "--set flag=VALUE"),
    ],
)
def test_refusals(word: str, allowed: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        options_of(Other, [word])
    assert f"--set {word}" in caught.value.given
    assert allowed in caught.value.allowed
    assert fix in caught.value.fix


def test_options_of_a_file() -> None:
    """As JSON has them, whatever is in the names."""
    import json
    from dataclasses import asdict

    from vitrail.tasks.segment import Segment

    given = Segment.Options(classes=("a, b", "c=d"), ignore=None, rotate=3.0, values=(4, 2))
    assert options_from(Segment, json.loads(json.dumps(asdict(given)))) == given
    assert options_from(Segment, {"rotate": 3}).rotate == 3.0


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"rotation": 3}, r"the option rotation[\s\S]*upgrade vitrail"),
        ({"rotate": "far"}, r"cannot be used \('far'\)[\s\S]*damaged"),
        ({"instances": 1}, r"cannot be used \(1\)"),
        ({"classes": "ab"}, r"cannot be used \('ab'\)"),
        ({"normalise": "batch"}, r"cannot be used \('batch'\)"),
        ({"values": [1.5, 2]}, r"cannot be used \(1\.5\)"),
        ({"rotate": 500.0}, r"rotate=500\.0"),
    ],
)
def test_options_of_a_file_that_cannot_be(stored, expected) -> None:
    from vitrail.tasks.segment import Segment

    with pytest.raises(UsageError, match=expected):
        options_from(Segment, stored)
