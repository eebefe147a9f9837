"""Everyone sees everyone."""

import pytest

from tests.support import refuses
from vitrail.patterns import Global


def test_the_pairs_of_a_vision_transformer() -> None:
    """224 pixels, patches of 16 and a CLS token: 197 tokens."""
    assert Global(prefix=1).pairs((14, 14)) == 197**2 == Global(1).scores((14, 14))
    assert Global().prefix == 0


def test_prefix_tokens_come_first() -> None:
    groups = Global(prefix=2).groups((3,))
    assert groups.q_index.tolist() == groups.k_index.tolist() == [[0, 1, 2, 3, 4]]
    assert groups.labels[0].tolist() == [[0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("prefix", "fix"), [(-1, "prefix=0"), (1.5, "prefix=1"), (True, "prefix=1"), ("1", "prefix=0")]
)
def test_what_cannot_be_is_refused(prefix: object, fix: str) -> None:
    with refuses(f"prefix={prefix!r}", fix):
        Global(prefix)  # type: ignore[arg-type]
