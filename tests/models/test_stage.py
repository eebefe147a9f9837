"""Stages with positions, prefix tokens and norms, in a family made for the test."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from tests.support import drawn, refuses
from vitrail.layers import AbsolutePosition, PrefixTokens
from vitrail.models import Backbone, BackboneConfig
from vitrail.models.stage import Stage
from vitrail.shapes import Size

DIM = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(BackboneConfig):
    depths: tuple[int, ...] = (2,)
    num_heads: tuple[int, ...] = (1,)
    num_classes: int = 3

    @property
    def stage_dims(self) -> tuple[int, ...]:
        return (DIM,) * len(self.depths)

    @property
    def stage_strides(self) -> tuple[Size, ...]:
        return (self.patch,) * len(self.depths)


class Mean(nn.Module):
    """A block in which every token sees every other."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(DIM, DIM))

    def forward(self, x: Tensor) -> Tensor:
        return x + x.mean(dim=tuple(range(1, x.ndim - 1)), keepdim=True) @ self.weight


class Model(Backbone):
    config_class: ClassVar[type[Config]] = Config

    def build_stage(self, stage: int) -> Stage:
        return Stage(
            None,
            [Mean() for _ in range(self.config.depths[stage])],
            position=AbsolutePosition((3, 3), DIM),
            prefix=PrefixTokens(DIM, 2),
            norm=nn.LayerNorm(DIM),
        )


def make(**fields: Any) -> Model:
    return drawn(Model(Config(**fields))).eval()


X = torch.randn(2, 3, 12, 20, generator=torch.Generator().manual_seed(0))


def test_prefix_tokens_are_in_the_tokens_and_not_in_the_maps() -> None:
    model = make(depths=(1, 2), num_heads=(1, 1))
    assert model.num_prefix_tokens == 2
    tokens = model.forward_features(X)
    assert tokens.shape == (2, 2 + 15, DIM)
    maps = model.features(X)
    assert [m.shape for m in maps] == [(2, 3, 5, DIM)] * 2
    assert model.norm is not None
    torch.testing.assert_close(model.norm(maps[-1]).flatten(1, 2), tokens[:, 2:])


def test_what_is_pooled() -> None:
    for pool, pooled in (
        ("token", lambda tokens: tokens[:, 0]),
        ("avg", lambda tokens: tokens[:, 2:].mean(1)),
        ("", lambda tokens: tokens),
    ):
        model = make(global_pool=pool)
        tokens = model.forward_features(X)
        torch.testing.assert_close(model.forward_head(tokens, pre_logits=True), pooled(tokens))
        assert model.head is not None
        torch.testing.assert_close(model(X), model.head(pooled(tokens)))


def test_prefix_tokens_learn_from_the_maps() -> None:
    model = make()
    model.features(X)[0].square().sum().backward()
    prefix = model.get_parameter("stages.0.prefix.tokens")
    assert prefix.grad is not None
    assert bool((prefix.grad.abs() > 0).all())


def test_no_token_to_pool() -> None:
    class Bare(Model):
        def build_stage(self, stage: int) -> Stage:
            return Stage(None, [Mean()])

    with refuses("global_pool='token' for a model without prefix tokens", "global_pool='avg'"):
        Bare(Config(global_pool="token"))
    model = Bare(Config())
    with refuses("global_pool='token' for a model without prefix tokens", "global_pool='avg'"):
        model.reset_classifier(5, global_pool="token")
    assert model.num_classes == 3, "a refusal changes nothing"


def test_layers_and_decay() -> None:
    model = make(depths=(1, 2), num_heads=(1, 1))
    layers = {name: model.layer_index(name) for name, _ in model.named_parameters()}
    assert layers["stages.1.position.table"] == layers["stages.1.prefix.tokens"] == 2
    assert layers["stages.1.norm.weight"] == layers["stages.1.blocks.1.weight"] == 3
    assert layers["head.weight"] == model.num_layers - 1 == 4
    spared = model.no_weight_decay()
    assert {"stages.0.position.table", "stages.0.prefix.tokens"} <= spared
    assert "stages.0.blocks.0.weight" not in spared


@pytest.mark.parametrize("std", [0.02, 0.2])
def test_linear_weights_start_as_wide_as_requested(std: float) -> None:
    model = Model(Config(init_std=std, num_classes=2000))
    assert model.head is not None
    assert float(model.head.weight.detach().std()) == pytest.approx(std, rel=0.1)
    model.reset_classifier(3000)
    assert model.head is not None
    assert float(model.head.weight.detach().std()) == pytest.approx(std, rel=0.1)


def test_a_start_without_width() -> None:
    with refuses("init_std=0", "init_std=0.02"):
        Config(init_std=0.0)
