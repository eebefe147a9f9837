"""Every pattern lets those meet whom the words of its mechanism name, in any rank, at any size."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws import words
from tests.laws.test_patterns import KINDS, Laid, laid
from tests.patterns.test_focal import focal_cases, nearest_cases
from tests.support import cases
from vitrail import patterns
from vitrail.patterns import Focal, Nearest, Window

DRAWS: dict[type, Callable[[], st.SearchStrategy[Laid]]] = {
    Window: lambda: cases().map(
        lambda c: Laid(
            Window,
            {"size": c.size, "shift": c.shift, "padding": c.padding, "shift_rule": c.rule},
            c.spatial,
        )
    ),
    Focal: lambda: focal_cases().map(lambda case: Laid(Focal, case[0], case[1])),
    Nearest: lambda: nearest_cases().map(
        lambda c: Laid(Nearest, {"window": c[0], "count": c[1]}, c[2])
    ),
    **{kind: (lambda kind=kind: laid((kind,))) for kind in KINDS},
}


@pytest.mark.parametrize("kind", DRAWS, ids=lambda kind: kind.__name__)
@settings(max_examples=30)
@given(data=st.data())
def test_allowed_is_what_the_words_say(kind: type, data: st.DataObject) -> None:
    case = data.draw(DRAWS[kind]())
    expected = words.allowed(case.pattern, case.spatial)
    assert case.pattern.allowed(case.spatial).tolist() == expected.tolist()


def test_no_pattern_is_without_words() -> None:
    """Nor without a draw above."""
    kinds = {kind for name in patterns.__all__ if _concrete(kind := getattr(patterns, name))}
    assert kinds == set(words.WORDS) == set(DRAWS)


def _concrete(kind: Any) -> bool:
    return (
        isinstance(kind, type) and issubclass(kind, patterns.Pattern) and kind != patterns.Pattern
    )
