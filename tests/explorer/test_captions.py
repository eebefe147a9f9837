"""Every pattern is described in words with its true numbers; the page knows none of them."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from vitrail.explorer.captions import caption
from vitrail.patterns import (
    Axial,
    Focal,
    Global,
    Grid,
    Groups,
    Nearest,
    Pattern,
    Pooled,
    Reduced,
    SparseFixed,
    SparseStrided,
    Window,
)
from vitrail.shapes import Size

WEB = Path(__file__).resolve().parents[2] / "web" / "src"

CASES = [
    (Window((4, 4), (0, 0)), "W", "12 windows of 4 × 4", "2 columns at the right"),
    (Window((4, 4), (2, 1)), "SW", "a shift of 2 down and 1 to the right", "no token sees"),
    (Window((4, 4), (2, 1), "visible"), "SW", "dashed", "take part"),
    (Window((12, 14), (6, 7)), "W", "covers the whole 12 × 14 grid", "nothing to shift"),
    (Global(), "full", "12 × 14 tokens", "every token"),
    (Global(1), "full", "every token", "The prefix token beside"),
    (Global(2), "full", "every token", "The 2 prefix tokens beside"),
    (Axial(0), "column", "its own column", "14 columns of 12 tokens"),
    (Axial(1), "row", "its own row", "12 rows of 14 tokens"),
    (Grid((4, 7)), "grid", "3 rows and 2 columns apart", "6 groups of up to 4 × 7 tokens"),
    (Grid((5, 5)), "grid", "9 groups of up to 4 × 5 tokens", "beyond the edge are shorter"),
    (SparseFixed(), "fixed", "13 blocks of 13", "last token of every other"),
    (SparseStrided(), "block", "13 blocks of 13", "nothing else"),
    (
        SparseStrided(None, "residue"),
        "stride",
        "the same place of every block",
        "one in every 13 tokens",
    ),
    (Reduced((4, 4)), "SRA", "3 × 3 cells", "left over"),
    (Reduced((6, 7)), "SRA", "2 × 2 cells", "6 × 7 tokens"),
    (Pooled((7, 7)), "pooled", "7 × 7 cells", "overlap"),
    (Focal((4, 4), (2, 2), ((3, 3),)), "focal", "up to 2 away", "cells of 4 × 4 tokens"),
    (Focal((4, 4), (2, 2), (), "rolled"), "focal", "windows of 4 × 4", "wrap around"),
    (Nearest((4, 4), 20), "near", "20 tokens nearest", "20 nearest windows"),
]


@pytest.mark.parametrize(("pattern", "label", "first", "second"), CASES)
def test_what_is_said(pattern: Pattern, label: str, first: str, second: str) -> None:
    said = caption(pattern, (12, 14))
    assert said.label == label
    text = said.text.replace("\u00a0", " ")
    assert first in text
    assert second in text
    assert re.fullmatch(r"[A-Z].*[^.]\.", text)
    assert re.fullmatch(r"[MLhvz0-9. -]+", said.glyph)


@dataclass(frozen=True)
class Strange(Pattern):
    """Tokens see what nobody foresaw.

    More that need not be described.
    """

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        raise NotImplementedError

    def pairs(self, spatial: Size) -> int:
        return 0

    def scores(self, spatial: Size) -> int:
        return 0


def test_an_unknown_pattern_describes_itself() -> None:
    said = caption(Strange(), (3, 4))
    assert (said.label, said.text) == ("Strange", "Tokens see what nobody foresaw.")


def test_the_page_knows_no_family_by_name() -> None:
    """Beyond windows, whose shift has a story of its own, the page holds no mechanism's name."""
    sources = [p for p in WEB.rglob("*.ts*") if p.suffix in (".ts", ".tsx")]
    assert len(sources) > 20
    names = {"swin", "pvt", "vit", "axial", "sparse", "focal", "sra"}
    for file in sources:
        if file.name != "schema.ts":  # made from the schema, whose examples name some
            text = re.sub(r"//.*", "", file.read_text("utf-8"))
            found = set(re.findall(r"[a-z]+", text.lower()))
            assert not found & names, file.name
