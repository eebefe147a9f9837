"""What ``import vitrail`` offers, and the words it keeps to."""

import inspect
from pathlib import Path

import pytest
import torch

import vitrail
from tests.support import refuses, unchecked
from vitrail.models import CATALOG, SwinConfig

SNAPSHOT = Path(__file__).parent / "public_api.txt"


def _public() -> str:
    lines = []
    for name in sorted(vitrail.__all__):
        value = getattr(vitrail, name)
        signature = "" if isinstance(value, str) else str(inspect.signature(value))
        lines.append(f"{name}{signature}")
    # Python 3.13 says where pathlib keeps its classes.
    return "\n".join(lines).replace("pathlib._local.", "pathlib.") + "\n"


def test_the_public_names_are_those_promised() -> None:
    """A change here is a change for users: say so in the changelog, then write the file anew."""
    assert _public() == SNAPSHOT.read_text()


def test_list_models_takes_wildcards() -> None:
    assert vitrail.list_models() == list(CATALOG)
    assert vitrail.list_models("swin_v2_*_384") == ["swin_v2_base_w24_384", "swin_v2_large_w24_384"]
    assert vitrail.list_models("resnet*") == []


@pytest.mark.parametrize(
    ("name", "fix"),
    [("swin_tinny", "'swin_tiny'"), ("Swin-V2-Base", "'swin_v2_base'"), ("??", "`vitrail list`")],
)
def test_an_unknown_name_suggests_the_nearest(name: str, fix: str) -> None:
    with refuses(name, fix):
        vitrail.create_model(name)


def test_an_unknown_field_suggests_the_nearest() -> None:
    with refuses("windw=7", "'window'"):
        vitrail.create_model("swin_tiny", windw=7)


def test_fields_reach_the_config() -> None:
    with unchecked():
        model = vitrail.create_model(
            "swin_nano", num_classes=0, in_channels=1, window=8, drop_path=0.0
        ).eval()
    assert isinstance(model.config, SwinConfig)
    assert model.config.window == (8, 8)
    assert model(torch.randn(2, 1, 16, 16)).shape == (2, 192)
    known = CATALOG["swin_nano"].config
    assert isinstance(known, SwinConfig)
    assert known.window == (4, 4)


def test_an_unknown_attribute_is_one() -> None:
    with pytest.raises(AttributeError, match="creat_model"):
        vitrail.creat_model  # type: ignore[attr-defined]  # noqa: B018
    assert "create_model" in dir(vitrail)
