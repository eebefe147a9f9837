"""What every backbone answers, one small model of every mechanism and rank, at sizes of its own.

Sizes are no multiple of any patch, window, merge or reduction, and no axis is another: what holds
here holds for a picture of any size. What one mechanism alone does is tested in its own file.
"""

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.mechanisms import MECHANISMS, small_hiera, small_maxvit
from tests.pyramids import small_pyramid
from tests.support import drawn, refuses, small, unchecked
from vitrail.layers import Attend
from vitrail.models import (
    Backbone,
    Focal,
    FocalConfig,
    FocalFast,
    FocalFastConfig,
    MechanismSwin,
    MechanismSwinConfig,
    ViT,
    ViTConfig,
    place_of,
)
from vitrail.models.levels import in_format
from vitrail.models.mechanism_swin import Mechanism


def _tiny(mechanism: Mechanism, axes: int, block: int | None = None) -> Backbone:
    config = MechanismSwinConfig(
        mechanism=mechanism, dim=8, depths=(2, 2), num_heads=(2, 4), patch=(2,) * axes,
        window=(2,) * axes, merge=(2,) * axes, block=block, num_classes=5,
    )  # fmt: skip
    return MechanismSwin(config)


def _focal(axes: int, *, fast: bool) -> Backbone:
    fields: dict[str, Any] = {
        "dim": 8, "depths": (1, 1), "num_heads": (2, 2), "num_classes": 5, "conv_embed": True,
        "patch": (2,) * axes, "merge": (2,) * axes, "windows": ((3,) * axes, (2,) * axes),
    }  # fmt: skip
    if fast:
        return FocalFast(FocalFastConfig(count=5, **fields))
    one, three = (1,) * axes, (3,) * axes
    return Focal(FocalConfig(margins=(one, one), levels=((three,), (one,)), **fields))


def _vit(axes: int, **changes: Any) -> Backbone:
    fields: dict[str, Any] = {
        "dim": 8, "depths": (2,), "num_heads": (2,), "patch": (3,) * axes, "positions": (3,) * axes,
        "num_classes": 5, **changes,
    }  # fmt: skip
    return ViT(ViTConfig(**fields))


MODELS: dict[str, Callable[[], Backbone]] = {
    **MECHANISMS,
    "swin 1-D": lambda: small("1-D"),
    "swin 3-D": lambda: small("3-D"),
    "pvt 1-D": lambda: small_pyramid("v1 1-D"),
    "pvt 3-D": lambda: small_pyramid("v1 3-D"),
    "pvt_v2 1-D": lambda: small_pyramid("v2 1-D"),
    "pvt_v2 3-D": lambda: small_pyramid("v2 3-D"),
    "pvt_v2_linear 1-D": lambda: small_pyramid("linear 1-D"),
    "focal 1-D": lambda: _focal(1, fast=False),
    "focal 3-D": lambda: _focal(3, fast=False),
    "focal_fast 1-D": lambda: _focal(1, fast=True),
    "focal_fast 3-D": lambda: _focal(3, fast=True),
    "axial 3-D": lambda: _tiny("axial", 3),
    "sparse 1-D": lambda: _tiny("sparse", 1),
    "sparse blocks": lambda: _tiny("sparse", 2, block=5),
    "global 3-D": lambda: _tiny("global", 3),
    "hiera 1-D": lambda: small_hiera(1),
    "hiera 3-D": lambda: small_hiera(3),
    "hiera of windows": lambda: small_hiera(windowed=(True,) * 3, window=(4, 9)),
    "maxvit 1-D": lambda: small_maxvit(1),
    "maxvit 3-D": lambda: small_maxvit(3),
    "maxvit of torchvision": lambda: small_maxvit(
        act="gelu",
        conv_padding="symmetric",
        shortcut_pool="kernel",
        shortcut_proj=True,
        stem_bias=False,
        head_bias=False,
        scale="dim",
    ),
    "vit 1-D": lambda: _vit(1),
    "vit 3-D": lambda: _vit(3),
    "vit avg": lambda: _vit(2, prefix=0, global_pool="avg"),
}
every = pytest.mark.parametrize("name", MODELS)


def made(name: str, *, seed: int = 0, **changes: Any) -> Backbone:
    """Return a model with drawn weights, in evaluation mode; ``changes`` are fields."""
    model = MODELS[name]()
    if changes:
        model = type(model)(replace(model.config, **changes))
    return drawn(model, seed).eval()


def photo(model: Backbone, batch: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return an input whose size nothing divides."""
    size = {1: (43,), 2: (21, 31), 3: (5, 15, 9)}[model.config.axes]
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, model.config.in_channels, *size, generator=generator, dtype=dtype)


def levels_of(model: Backbone) -> tuple[int, ...]:
    return tuple(range(len(model.config.depths)))


def without_gradient(model: nn.Module) -> list[str]:
    return [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def backward(out: Tensor | list[Tensor]) -> None:
    sum((o**2).sum() for o in (out if isinstance(out, list) else [out])).backward()  # type: ignore[union-attr]


@every
def test_the_forward_pass_in_its_parts(name: str) -> None:
    model = made(name)
    x = photo(model)
    before = x.clone()
    logits, tokens = model(x), model.forward_features(x)
    assert torch.equal(x, before), "an input is not changed"
    assert logits.shape == (2, 5) and logits.isfinite().all()
    assert torch.equal(model.forward_head(tokens), logits)
    pooled = model.forward_head(tokens, pre_logits=True)
    assert pooled.shape == (2, model.num_features)
    assert model.num_features == model.head_hidden_size == model.dims[-1] == tokens.shape[-1]
    assert model.head is not None and model.get_classifier() is model.head
    torch.testing.assert_close(model.head(pooled), logits)


@every
def test_features_are_the_stages_grids(name: str) -> None:
    model = made(name)
    x = photo(model)
    maps = model.features(x)
    assert len(maps) == len(model.dims) == len(model.strides) == len(levels_of(model))
    for out, dim, stride in zip(maps, model.dims, model.strides, strict=True):
        lengths = [-(-n // s) for n, s in zip(x.shape[2:], stride, strict=True)]
        assert out.shape == (2, *lengths, dim)
    first = model.features(x, channels_first=True)
    assert all(torch.equal(a.movedim(1, -1), b) for a, b in zip(first, maps, strict=True))
    with refuses("norm=True", "feature_norms=True"):
        model.features(x, norm=True)


@every
def test_intermediates_are_the_features(name: str) -> None:
    model = made(name)
    x = photo(model)
    tokens, maps = model.forward_intermediates(x)
    assert torch.equal(tokens, model.forward_features(x))
    assert len(maps) == model.num_levels
    features = model.features(x, channels_first=True)
    if model.num_levels == len(features):
        assert all(torch.equal(a, b) for a, b in zip(maps, features, strict=True))
    assert torch.equal(maps[-1], features[-1])
    only = model.forward_intermediates(x, intermediates_only=True)
    assert all(torch.equal(a, b) for a, b in zip(only, maps, strict=True))
    for indices, chosen in ((1, maps[-1:]), ([0], maps[:1]), ([-1, 0], [maps[0], maps[-1]])):
        found = model.forward_intermediates(x, indices, intermediates_only=True)
        assert all(torch.equal(a, b) for a, b in zip(found, chosen, strict=True))


@every
def test_intermediates_in_other_layouts_normed_and_stopped(name: str) -> None:
    model = made(name)
    x = photo(model)
    last = model.features(x)[-1]
    options: dict[str, Any] = {"intermediates_only": True}
    for layout in ("NCHW", "NHWC", "NLC"):
        found = model.forward_intermediates(x, 1, output_fmt=layout, **options)[0]
        assert torch.equal(found, in_format(last, layout))
    normed = model.forward_intermediates(x, 1, norm=True, output_fmt="NHWC", **options)[0]
    ends = model.norm is None or model.norm_pooled
    torch.testing.assert_close(normed, last if ends else model.norm(last))  # type: ignore[misc]
    run: list[int] = []
    for index, stage in enumerate(model.stages):
        for block in stage.blocks:  # type: ignore[union-attr]
            block.register_forward_hook(lambda *_, index=index: run.append(index))
    _, (first,) = model.forward_intermediates(x, [0], stop_early=True)
    assert torch.equal(first, model.forward_intermediates(x, [0])[1][0])
    assert len(run) - sum(model.config.depths) == (
        model.config.depths[0] if len(model.stages) > 1 else 1
    )


@pytest.mark.parametrize(
    ("options", "given", "fix"),
    [
        ({"indices": 0}, "indices=0 of a model with 2 levels", "indices=2"),
        ({"indices": 3}, "indices=3", "indices=2"),
        ({"indices": [2]}, "indices=[2]", "indices=2"),
        ({"indices": [-3, 0]}, "indices=[-3, 0]", "indices=2"),
        ({"output_fmt": "NHCW"}, "output_fmt='NHCW'", "output_fmt='NCHW'"),
    ],
)
def test_levels_and_layouts_that_there_are_not(
    options: dict[str, Any], given: str, fix: str
) -> None:
    model = made("swin")
    with refuses(given, fix):
        model.forward_intermediates(photo(model), **options)


@every
def test_any_size(name: str) -> None:
    model = made(name)
    x = photo(model)
    for length in (1, 2, 7) if model.config.axes == 3 else (1, 2, 13):
        samples = (length, *(3 * length + axis for axis in range(1, model.config.axes)))
        x = torch.randn(2, 3, *samples)
        logits = model(x)
        assert logits.shape == (2, 5) and logits.isfinite().all()
        torch.testing.assert_close(model(x[:1]), logits[:1], rtol=1e-4, atol=1e-5)
        model.zero_grad()
        backward(logits)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model(x[:0]).shape == (0, 5)
    assert [len(out) for out in model.features(x[:0])] == [0] * len(model.dims)


@every
def test_evaluation_is_deterministic_and_keeps_nothing(name: str) -> None:
    model = made(name, drop=0.3, attn_drop=0.3, drop_path=0.3)
    x = photo(model)
    with torch.no_grad():
        before = model(x)
        for lengths in ([1] * model.config.axes, [2 * n for n in x.shape[2:]]):
            model(torch.zeros(1, 3, *lengths))
        assert torch.equal(model(x), before)


@every
@pytest.mark.parametrize("fields", ["head", "first", "all"])
def test_no_parameter_is_unused(name: str, fields: str) -> None:
    levels = levels_of(MODELS[name]())
    changes: dict[str, dict[str, Any]] = {
        "head": {},
        "first": {"out_indices": (0,)},
        "all": {"out_indices": levels, "feature_norms": True},
    }
    model = made(name, **changes[fields])
    backward(model(photo(model)))
    assert not without_gradient(model)


@every
@pytest.mark.parametrize("frozen", [0, 1])
def test_checkpointing_changes_no_gradient(name: str, frozen: int) -> None:
    gradients: list[Any] = []
    statistics: list[Any] = []
    for checkpointing in (False, True):
        model = made(name, frozen_stages=frozen, drop_path=0.2)
        model.set_grad_checkpointing(checkpointing)
        model.train()
        torch.manual_seed(3)  # stochastic depth draws the same
        backward(model(photo(model)))
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
        statistics.append(dict(model.named_buffers()))
    for plain, recomputed in (gradients, statistics):
        assert plain.keys() == recomputed.keys()
        for key, value in plain.items():
            torch.testing.assert_close(recomputed[key], value, msg=key)


@every
def test_frozen_stages_do_not_train(name: str) -> None:
    model = made(name, frozen_stages=1, drop_path=0.5).train()
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    parts = ("embed.", "position.", "stages.0.")
    assert frozen == {n for n, _ in model.named_parameters() if n.startswith(parts)}
    assert [stage.training for stage in model.stages] == [i > 0 for i in levels_of(model)]
    assert not model.eval().stages[-1].training


@every
def test_bare_backbones_return_their_features(name: str) -> None:
    model = made(name)
    x, levels = photo(model), levels_of(model)
    expected = model.features(x)
    for chosen in {levels, levels[:1], levels[-1:]}:
        bare = made(name, out_indices=chosen)
        bare.load_state_dict({n: model.state_dict()[n] for n in bare.state_dict()})
        assert bare.head is None and bare.norm is None
        assert len(bare.stages) == chosen[-1] + 1
        assert bare.dims == tuple(model.dims[level] for level in chosen)
        found = bare(x)
        assert all(torch.equal(a, expected[i]) for a, i in zip(found, chosen, strict=True))
        with refuses("num_classes=7 for a backbone with out_indices", "without out_indices"):
            bare.reset_classifier(7)
    normed = made(name, out_indices=levels, feature_norms=True)
    last = normed.features(x)[-1]
    torch.testing.assert_close(normed(x)[-1], normed.feature_norms[str(levels[-1])](last))
    found = normed.forward_intermediates(
        x, 1, norm=True, output_fmt="NHWC", intermediates_only=True
    )
    torch.testing.assert_close(found[-1], normed(x)[-1])


@every
def test_the_head_can_be_replaced(name: str) -> None:
    model = made(name).double().train()
    x = photo(model, dtype=torch.float64)
    model.reset_classifier(9)
    assert model(x).shape == (2, 9)
    assert model.num_classes == model.config.num_classes == 9
    model.eval().reset_classifier(0)
    assert model.get_classifier() is None
    assert torch.equal(model(x), model.forward_head(model.forward_features(x), pre_logits=True))
    again = type(model)(model.config).double().eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(model(x), again(x))
    tokens = model.forward_features(x)
    model.reset_classifier(4, global_pool="")
    assert model(x).shape == (*tokens.shape[:-1], 4)
    assert model.global_pool == ""


@every
@pytest.mark.parametrize("channels", [1, 5])
def test_other_channels(name: str, channels: int) -> None:
    model = made(name, in_channels=channels)
    assert model(photo(model)).shape == (2, 5)
    with refuses("3, ", "in_channels"):
        model(photo(made(name)))


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(name: str, dtype: torch.dtype) -> None:
    model = made(name).to(dtype)
    logits = model(photo(model, dtype=dtype))
    assert logits.dtype == dtype and logits.isfinite().all()


@every
def test_weights_and_config_make_the_model_again(name: str, tmp_path: Path) -> None:
    model = made(name)
    x = photo(model)
    logits = model(x)
    other = made(name, seed=5)
    assert not torch.equal(other(x), logits)
    assert not any(other.load_state_dict(model.state_dict()))
    assert torch.equal(other(x), logits)
    model._set_preprocessing(classes=tuple("abcde"), trained=True)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert (again.config, again.preprocessing) == (model.config, model.preprocessing)
    assert torch.equal(again(x), logits)
    with unchecked():  # JSON knows lists only
        assert type(model.config)(**json.loads(json.dumps(asdict(model.config)))) == model.config


@every
def test_copies_and_pickles(name: str) -> None:
    model = made(name)
    x = photo(model)
    twins = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    logits = model(x)
    drawn(model, seed=5)
    assert not torch.equal(model(x), logits)
    assert all(torch.equal(twin(x), logits) for twin in twins)


@every
def test_a_model_from_the_meta_device_is_whole(name: str) -> None:
    real = made(name)
    with torch.device("meta"):
        model = type(real)(real.config)
    model = model.to_empty(device="cpu").eval()
    model.load_state_dict(real.state_dict())
    x = photo(real)
    assert torch.equal(model(x), real(x))
    model.reset_parameters()
    assert all(p.isfinite().all() for p in model.parameters())
    beside = model.state_dict().keys() - {n for n, _ in model.named_parameters()}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert all(n.endswith(statistics) for n in beside), "no buffers but running statistics"


@every
def test_every_parameter_has_its_layer_and_may_be_spared(name: str) -> None:
    model = made(name)
    layers = {n: model.layer_index(n) for n, _ in model.named_parameters()}
    assert {*layers.values()} == {*range(model.num_layers)}
    assert layers["embed.proj.weight"] == 0
    assert layers["head.weight"] == model.num_layers - 1
    assert model.no_weight_decay() <= layers.keys()
    assert "head.weight" not in model.no_weight_decay()


@every
def test_blocks_and_attention_layers_are_found(name: str) -> None:
    model = made(name)
    blocks, layers = model.blocks(), model.attention_layers()
    assert [(b.stage, b.index) for b in blocks] == [
        (stage, index) for stage, depth in enumerate(model.config.depths) for index in range(depth)
    ]
    assert all(model.get_submodule(b.name) is b.module for b in blocks)
    attends = [m for m in model.modules() if isinstance(m, Attend)]
    assert [layer.module.attend for layer in layers] == attends
    for layer in layers:
        assert model.get_submodule(layer.name) is layer.module
        assert layer.name.startswith(f"stages.{layer.stage}.blocks.{layer.block}")
        assert layer.name.startswith(layer.around)
        assert place_of(layer.name) == ("blocks", layer.stage, layer.block)
    assert len({layer.around for layer in layers}) == len(layers)


@every
def test_what_it_prints_names_every_pattern(name: str) -> None:
    model = made(name)
    text = repr(model)
    patterns = {str(m.pattern) for m in model.modules() if hasattr(m, "attend")}
    assert patterns and all(pattern in text for pattern in patterns)
