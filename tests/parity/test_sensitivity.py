"""The weights that parity is tested with: each one matters, so that none can be mixed up."""

import pytest
import torch

from vitrail.models import Swin, SwinConfig, SwinV2, SwinV2Config

SMALL = {"dim": 16, "depths": (2, 2), "num_heads": (2, 4), "num_classes": 5}
MODELS = {
    "swin": lambda: Swin(SwinConfig(window=(7, 7), absolute_position=(14, 14), **SMALL)),
    "swin v2": lambda: SwinV2(SwinV2Config(window=(7, 7), **SMALL)),
    "video": lambda: Swin(
        SwinConfig(window=(2, 7, 7), patch=(2, 4, 4), merge=(1, 2, 2), **SMALL)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_changes_the_logits_and_a_map(draw, name):
    model = draw(MODELS[name]().double()).eval()
    size = (8, 56, 56) if name == "video" else (56, 56)
    x = torch.randn(1, 3, *size, dtype=torch.float64)
    # The norm and the head come after the last map; everything else must show in a map as well.
    late = ("norm.weight", "norm.bias", "head.weight", "head.bias")
    with torch.inference_mode():
        logits, maps = model(x), model.features(x)
        for key, parameter in model.named_parameters():
            before = parameter.clone()
            parameter.add_(0.01 * torch.randn_like(parameter))
            assert (model(x) - logits).abs().max() > 1e-6, key
            changed = max(
                float((a - b).abs().max()) for a, b in zip(model.features(x), maps, strict=True)
            )
            assert changed > 1e-6 or key in late, key
            parameter.copy_(before)
        assert torch.equal(model(x), logits)


@pytest.mark.parametrize("name", MODELS)
def test_scores_stay_where_a_mask_of_minus_100_hides(draw, name):
    model = draw(MODELS[name]().double()).eval()
    spreads = []

    def keep(_, args, kwargs):
        q, k, _ = args
        scores = (q @ k.mT) * kwargs["scale"] + kwargs["bias"]
        spreads.append(float((scores.amax(-1) - scores.amin(-1)).max()))

    for stage in model.stages:
        for block in stage.blocks:
            block.attn.attend.register_forward_pre_hook(keep, with_kwargs=True)
    size = (8, 56, 56) if name == "video" else (56, 56)
    with torch.inference_mode():
        model(torch.randn(1, 3, *size, dtype=torch.float64))
    assert len(spreads) == 4
    assert max(spreads) < 60
