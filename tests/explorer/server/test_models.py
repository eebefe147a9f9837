"""A page chooses models by name; it can name no file and no address."""

import pytest
import torch

from tests.support import refuses
from vitrail.explorer.server.models import LOADED, Models
from vitrail.models import CATALOG, Swin


def test_the_bundled_model_is_the_default() -> None:
    assert Models().choose(None, None) == ("swin_nano", "bundled")
    assert Models().choose("swin_nano", "none") == ("swin_nano", "none")
    assert Models().choose("swin_tiny", None) == ("swin_tiny", "none")


def test_a_given_model_comes_first(model: Swin) -> None:
    models = Models(model, "a file")
    assert models.choose(None, None) == ("small", "given")
    assert models.load("small", "given") == (model, "a file")


def test_a_given_model_of_the_catalog_has_its_other_weights_too() -> None:
    with torch.device("meta"):
        given = Swin(CATALOG["swin_nano"].config, name="swin_nano")
    assert Models(given).choices["swin_nano"] == ["given", "bundled", "none"]


@pytest.mark.parametrize("weights", ["/etc/passwd", "owner/name", "given", "w.safetensors"])
def test_weights_that_are_no_choice(weights: str) -> None:
    with refuses(repr(weights), "--weights FILE"):
        Models().choose("swin_nano", weights)


def test_a_model_that_is_no_choice() -> None:
    with refuses("'../secret'", "/api/models"):
        Models().choose("../secret", None)
    with refuses("'video_swin_tiny'", "/api/models"):
        Models().choose("video_swin_tiny", None)


def test_models_are_loaded_once_and_the_longest_unused_make_room() -> None:
    models = Models()
    before = torch.get_rng_state()
    nano, source = models.load("swin_nano", "none")
    assert "random" in source
    assert torch.equal(torch.get_rng_state(), before), "nobody else's random numbers change"
    assert models.load("swin_nano", "none")[0] is nano
    other, source = models.load("swin_nano", "bundled")
    assert source == "bundled" and other.preprocessing.trained
    assert LOADED == 2
    models.load("swin_nano", "none")
    third, _ = models.load("axial_tiny", "none")
    assert not third.training
    assert models.load("swin_nano", "none")[0] is nano
    again, _ = models.load("swin_nano", "bundled")
    assert again is not other
    assert all(a.equal(b) for a, b in zip(again.parameters(), other.parameters(), strict=True))
