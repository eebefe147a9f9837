import dataclasses

import pytest

from vitrail.errors import UsageError
from vitrail.training.recipe import Recipe


def test_defaults_are_the_papers() -> None:
    recipe = Recipe()
    assert (recipe.epochs, recipe.warmup_epochs, recipe.weight_decay) == (300, 20.0, 0.05)
    assert (recipe.clip, recipe.smoothing, recipe.mixup, recipe.cutmix) == (5.0, 0.1, 0.8, 1.0)
    assert (recipe.randaugment, recipe.erase) == (9, 0.25)
    assert Recipe(batch_size=1024).peak_lr == pytest.approx(1e-3)
    assert Recipe(batch_size=1024, lr=0.5).peak_lr == 0.5


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("lr", -1.0),
        ("lr", float("nan")),
        ("layer_decay", 0.0),
        ("smoothing", 1.0),
        ("mix_probability", 1.5),
        ("randaugment", 31),
        ("erase", -0.1),
        ("ema", 1.0),
        ("accumulate", 0),
    ],
)
def test_numbers_out_of_range(name, value) -> None:
    with pytest.raises(UsageError, match=rf"{name}={value}[\s\S]*from[\s\S]*use {name}=.*default"):
        Recipe(**{name: value})


def test_unknown_words() -> None:
    with pytest.raises(
        UsageError, match=r"precision='fp16'[\s\S]*'bf16' or 'fp32'[\s\S]*use precision='bf16'"
    ):
        Recipe(precision="fp16")
    with pytest.raises(UsageError, match=r"crop='centre'[\s\S]*use crop='resized'"):
        Recipe(crop="centre")
