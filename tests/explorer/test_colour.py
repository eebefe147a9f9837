"""The colours of weights grow lighter with the weight, for every kind of colour vision."""

import re
from pathlib import Path

import numpy as np
import pytest

WEB = Path(__file__).resolve().parents[2] / "web" / "src"

# Linear-light simulations of full dichromacy (Viénot, Brettel and Mollon 1999; Machado 2009).
VISION = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]
    ),
}  # fmt: skip


def stops(name: str) -> np.ndarray:
    text = (WEB / "draw" / "colour.ts").read_text("utf-8")
    table = text.split(f"{name}: Rgb[] = [", 1)[1].split("];", 1)[0]
    triples = re.findall(r"\[(\d+), (\d+), (\d+)\]", table)
    return np.array(triples, dtype=float) / 255


@pytest.mark.parametrize("name", ["WEIGHT", "BIAS"])
@pytest.mark.parametrize("vision", VISION)
def test_lightness_rises(vision: str, name: str) -> None:
    colours = stops(name)
    assert colours.shape == (10, 3)
    places = np.linspace(0, 9, 256)
    table = np.stack([np.interp(places, np.arange(10), colours[:, c]) for c in range(3)], -1)
    linear = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ VISION[vision].T, 0, 1)
    luminance = seen @ [0.2126, 0.7152, 0.0722]
    lightness = 116 * np.cbrt(luminance) - 16
    assert (np.diff(lightness) > 0).all(), vision
    assert lightness[-1] - lightness[0] > 60


def scheme(dark: bool) -> dict[str, str]:
    text = (WEB / "style" / "base.css").read_text("utf-8")
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", text)
    return {name: second if dark else first for name, first, second in pairs}


def contrast(first: str, second: str) -> float:
    levels = []
    for colour in (first, second):
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        levels.append(float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)
    return max(levels) / min(levels)


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out(dark: bool) -> None:
    """As WCAG 2 requires of text: at least 4.5 to 1."""
    colours = scheme(dark)
    for ink in ("ink", "soft", "w", "sw", "amber", "accent", "good", "bad"):
        for paper in ("card", "paper"):
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
    assert contrast(colours["ink"], colours["warn"]) >= 4.5
    assert contrast(colours["ink"], colours["fill"]) >= 4.5
    # And of the borders of controls, and of what is no text: 3 to 1.
    assert contrast(colours["edge"], colours["card"]) >= 3
