"""What `from_model` reads off live peers; that outputs agree is tests/parity's business."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vitrail
from tests.support import unchecked
from vitrail.errors import UsageError
from vitrail.weights import from_model
from vitrail.weights.peers import peer_difference

timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")
transformers = pytest.importorskip("transformers")

NUMBERS = {"depths": (2, 2), "num_heads": (3, 6), "embed_dim": 24}


def from_timm(draw, **fields):
    built = {"img_size": 56, "num_classes": 5, "drop_path_rate": 0.1, **NUMBERS, **fields}
    return draw(timm.models.swin_transformer.SwinTransformer(**built)).eval()


def from_timm_v2(draw, **fields):
    built = {"img_size": 64, "window_size": 8, "num_classes": 5, **NUMBERS, **fields}
    return draw(timm.models.swin_transformer_v2.SwinTransformerV2(**built)).eval()


def from_torchvision(draw, **fields):
    built = {"patch_size": [4, 4], "window_size": [7, 7], "num_classes": 5, **fields}
    numbers = {"embed_dim": 24, "depths": [2, 2], "num_heads": [3, 6]}
    return draw(torchvision.models.SwinTransformer(**built, **numbers)).eval()


def same(ours, peer, size, feature_maps=False):
    x = torch.randn(2, ours.config.in_channels, *size)
    with torch.inference_mode():
        theirs, mine = copy.deepcopy(peer)(x), ours(x)
    theirs = theirs if torch.is_tensor(theirs) or isinstance(theirs, list) else theirs[0]
    for a, b in zip(mine if feature_maps else [mine], theirs if feature_maps else [theirs],
                    strict=True):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_timm(draw):
    peer = from_timm(draw, proj_drop_rate=0.2, attn_drop_rate=0.3, in_chans=1)
    peer.pretrained_cfg = {"mean": (0.5,), "std": (0.25,), "crop_pct": 0.8,
                           "interpolation": "bilinear"}  # fmt: skip
    ours = vitrail.from_model(peer)
    config = ours.config
    assert (config.in_channels, config.num_classes, config.window) == (1, 5, (7, 7))
    assert (config.drop, config.attn_drop) == (0.2, 0.3)
    assert config.drop_path == pytest.approx(0.1)
    assert (config.padding, config.mask_value, config.shift_rule) == ("visible", -100.0, "axis")
    wanted = ours.preprocessing
    assert (wanted.size, wanted.mean, wanted.std) == ((56, 56), (0.5,), (0.25,))
    assert (wanted.crop, wanted.interpolation, wanted.trained) == (0.8, "bilinear", True)
    same(ours, peer, (56, 56))


def test_weights_that_never_left_their_start_are_not_called_trained() -> None:
    peer = timm.create_model("swin_tiny_patch4_window7_224", depths=(1, 1), embed_dim=12,
                             num_heads=(1, 2))  # fmt: skip
    assert not vitrail.from_model(peer).preprocessing.trained
    with torch.no_grad():
        peer.norm.weight[0] = 1.5
    assert vitrail.from_model(peer).preprocessing.trained


@pytest.mark.parametrize("fields", [{"num_classes": 0}, {"global_pool": ""}, {"mlp_ratio": 2.0},
                                    {"qkv_bias": False}, {"window_size": (7, 14)}])  # fmt: skip
def test_timm_s_variants(draw, fields):
    peer = from_timm(draw, **fields)
    same(from_model(peer), peer, (56, 56))


@pytest.mark.parametrize("size", [(56, 56), (112, 168)])
@pytest.mark.parametrize("fields", [{"dynamic_img_size": True}, {"always_partition": True,
                                    "dynamic_img_size": True}])  # fmt: skip
def test_timm_at_other_sizes_shifts_as_it_was_built(draw, fields, size):
    peer = from_timm(draw, **fields)
    with pytest.warns(UserWarning, match=r"windows of \(7, 7\) tokens do not divide \(strict_img"):
        ours = from_model(peer)
    rule = "always" if "always_partition" in fields else ("always", "never")
    assert ours.config.shift_rule == rule
    same(ours, peer, size)


def test_timm_s_features_only(draw):
    peer = timm.create_model("swin_tiny_patch4_window7_224", features_only=True, img_size=56,
                             out_indices=(0, 2), depths=(2, 1, 1, 1), embed_dim=24)  # fmt: skip
    draw(peer).eval()
    ours = from_model(peer)
    assert ours.out_indices == (0, 2)
    same(ours, peer, (56, 56), feature_maps=True)


def test_timm_at_other_sizes_that_shifts_along_one_axis_is_refused(draw):
    with pytest.raises(UsageError, match="strict_img_size=False") as error:
        from_model(from_timm(draw, img_size=(28, 112), window_size=(7, 7), dynamic_img_size=True))
    assert "square img_size" in error.value.fix


@pytest.mark.parametrize("outs", [(1, 3), (-2,)])
def test_timm_s_pvt_v2_with_features_only(draw, outs):
    peer = draw(timm.create_model("pvt_v2_b0", features_only=True, out_indices=outs)).eval()
    ours = from_model(peer)
    assert ours.out_indices == ((1, 3) if outs == (1, 3) else (2,))
    x = torch.randn(1, 3, 75, 64)
    with torch.inference_mode():
        for a, b in zip(ours(x), peer(x), strict=True):
            torch.testing.assert_close(a.movedim(-1, 1), b, rtol=1e-3, atol=1e-4)


def test_timm_s_rolled_padding_is_warned_of(draw):
    peer = from_timm(draw, img_size=60)
    rolled = r"timm rolls a map of \(15, 15\) tokens before padding"
    with pytest.warns(UserWarning, match=rolled) as said:
        vitrail.from_model(peer)
    # The caller of from_model; in the pass that checks shapes, its wrapper.
    assert Path(said[0].filename).name in (Path(__file__).name, "_decorator.py")


def test_timm_v2_keeps_the_window_of_pre_training(draw):
    peer = from_timm_v2(draw, pretrained_window_sizes=(6, 0))
    ours = from_model(peer)
    assert ours.config.normalisers == ((6, 6), (8, 8))
    same(ours, peer, (64, 64))


def test_torchvision(draw):
    peer = from_torchvision(draw, dropout=0.1, attention_dropout=0.2, stochastic_depth_prob=0.3)
    config = from_model(peer).config
    assert (config.drop, config.attn_drop, config.drop_path) == (0.1, 0.2, 0.3)
    assert (config.patch_fit, config.shift_rule, config.window) == ("floor", "axis", (7, 7))
    for size in ((61, 83), (20, 90)):
        same(from_model(peer), peer, size)


def test_torchvision_s_unequal_sides(draw):
    peer = from_torchvision(draw, window_size=[3, 7])
    assert from_model(peer).config.window == (3, 7)
    same(from_model(peer), peer, (61, 83))


def test_a_catalog_model_is_named():
    peer = torchvision.models.swin_t()
    ours = from_model(peer, check=False)
    assert ours.name == "swin_tiny"
    assert ours.preprocessing.size == (224, 224)


def huggingface(draw, name, **fields):
    config_class = transformers.Swinv2Config if "v2" in name else transformers.SwinConfig
    config = config_class(image_size=64, window_size=8, num_labels=5, **NUMBERS | fields)
    return draw(getattr(transformers, name)(config)).eval()


@pytest.mark.parametrize("name", ["SwinForImageClassification", "Swinv2ForImageClassification"])
def test_transformers_classifiers(draw, name):
    peer = huggingface(draw, name, hidden_dropout_prob=0.1, drop_path_rate=0.2,
                       id2label={0: "cat", 1: "dog", 2: "car", 3: "cup", 4: "sea"})  # fmt: skip
    ours = from_model(peer)
    assert (ours.config.drop, ours.config.drop_path) == (0.1, 0.2)
    assert ours.preprocessing.classes == ("cat", "dog", "car", "cup", "sea")
    assert ours.preprocessing.size == (64, 64)
    same(ours, peer, (70, 83))


@pytest.mark.parametrize("name", ["SwinModel", "Swinv2Model"])
def test_transformers_bare_models(draw, name):
    peer = huggingface(draw, name)
    ours = from_model(peer)
    assert ours.num_classes == 0
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        theirs = copy.deepcopy(peer)(x)
        torch.testing.assert_close(ours(x), theirs.pooler_output, rtol=1e-3, atol=1e-4)
        tokens = ours.forward_features(x).flatten(1, 2)
        torch.testing.assert_close(tokens, theirs.last_hidden_state, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["SwinBackbone", "Swinv2Backbone"])
@pytest.mark.parametrize("size", [(64, 64), (90, 75)])
def test_transformers_backbones(draw, name, size):
    peer = huggingface(draw, name, out_features=["stage1", "stage2"])
    ours = from_model(peer)
    assert ours.out_indices == (0, 1)
    x = torch.randn(1, 3, *size)
    with torch.inference_mode():
        theirs = copy.deepcopy(peer)(x).feature_maps
    for a, b in zip(ours(x), theirs, strict=True):
        torch.testing.assert_close(a.movedim(-1, 1), b, rtol=1e-3, atol=1e-4)


def test_transformers_swin_that_an_input_has_changed_is_taken_as_it_was_built(draw):
    fresh = huggingface(draw, "SwinForImageClassification")
    used = copy.deepcopy(fresh)
    with torch.inference_mode():
        used(torch.randn(1, 3, 64, 64))
    with pytest.warns(UserWarning, match="changed the window or shift of 1 of the layers"):
        ours = from_model(used)
    same(ours, fresh, (130, 140))


def test_transformers_pyramid_returns_the_maps_requested(draw):
    config = transformers.PvtV2Config(
        hidden_sizes=(12, 20, 24, 36), num_attention_heads=(1, 2, 3, 4), depths=(1,) * 4,
        mlp_ratios=(2,) * 4, out_features=["stage2", "stage4"],
    )  # fmt: skip
    peer = draw(transformers.PvtV2Backbone(config)).eval()
    ours = from_model(peer)
    x = torch.randn(1, 3, 75, 64)
    with torch.inference_mode():
        for a, b in zip(ours(x), peer(x).feature_maps, strict=True):
            torch.testing.assert_close(a.movedim(-1, 1), b, rtol=1e-3, atol=1e-4)
    assert ours.dims == (20, 36)


PVT = {"hidden_sizes": (12, 20, 24, 36), "num_attention_heads": (1, 2, 3, 4), "num_labels": 5,
       "depths": (1,) * 4, "mlp_ratios": (2,) * 4}  # fmt: skip


@pytest.mark.parametrize(("size", "aspect"), [(64, (32, 128)), (224, (32, 1568))])
@pytest.mark.parametrize("name", ["PvtModel", "PvtForImageClassification"])
def test_transformers_pvt_that_reads_positions_row_by_row_is_warned_of(draw, name, size, aspect):
    settings = transformers.PvtConfig(image_size=size, **PVT)
    peer = draw(getattr(transformers, name)(settings)).double().eval()
    with pytest.warns(UserWarning, match=f"such as {aspect[0]}x{aspect[1]}; Vitrail resizes"):
        ours = from_model(peer)
    differences = []
    for lengths in ((size, size), aspect, (aspect[0] + 1, aspect[1] + 2)):
        difference, largest = peer_difference(peer, ours, torch.randn(1, 3, *lengths).double())
        differences.append(difference / largest)
    assert differences[0] < 1e-9
    assert min(differences[1:]) > 1e-3


@pytest.mark.parametrize(
    "fields",
    [
        {"image_size": 32},
        {"image_size": 144},
        # Two rows of tokens are no key where one stands for four.
        {
            "image_size": 56,
            "num_encoder_blocks": 2,
            "hidden_sizes": (12, 24),
            "sequence_reduction_ratios": (4, 1),
        },
    ],
)
def test_transformers_pvt_that_takes_one_aspect_is_not_warned_of(draw, fields):
    peer = draw(transformers.PvtForImageClassification(transformers.PvtConfig(**PVT | fields)))
    ours = from_model(peer.double().eval())
    size = (fields["image_size"],) * 2
    difference, largest = peer_difference(peer, ours, torch.randn(1, 3, *size).double())
    assert difference < 1e-9 * largest


def test_another_fault_of_positions_is_refused(draw):
    class Half(transformers.models.pvt.modeling_pvt.PvtPatchEmbeddings):
        def interpolate_pos_encoding(self, embeddings, height, width):
            return super().interpolate_pos_encoding(embeddings, height, width) / 2

    peer = draw(transformers.PvtModel(transformers.PvtConfig(image_size=64, **PVT))).eval()
    peer.encoder.patch_embeddings[0].__class__ = Half
    with pytest.warns(UserWarning, match="row by row"), pytest.raises(UsageError, match="Half"):
        from_model(peer)


@pytest.mark.parametrize("name", ["SwinModel", "Swinv2Model"])
def test_transformers_models_without_a_pooler_return_all_tokens(draw, name):
    config = huggingface(draw, name).config
    peer = draw(getattr(transformers, name)(config, add_pooling_layer=False)).eval()
    ours = from_model(peer)
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        theirs = copy.deepcopy(peer)(x).last_hidden_state
    torch.testing.assert_close(ours(x).flatten(1, 2), theirs, rtol=1e-3, atol=1e-4)


def test_transformers_position_table_is_taken_over(draw):
    peer = huggingface(draw, "SwinForImageClassification", use_absolute_embeddings=True)
    ours = from_model(peer)
    assert ours.config.absolute_position == (16, 16)
    same(ours, peer, (64, 64))


def test_the_peer_is_not_changed_and_shares_nothing(draw):
    peer = from_timm(draw)
    before = {key: value.clone() for key, value in peer.state_dict().items()}
    ours = from_model(peer)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()
    assert all(torch.equal(before[key], value) for key, value in peer.state_dict().items())


def test_type_and_mode_are_the_peer_s(draw):
    assert (
        from_model(from_timm(draw).double()).state_dict()["embed.proj.weight"].dtype
        == torch.float64
    )
    assert from_model(from_timm(draw).train()).training
    assert not from_model(from_timm(draw)).training


def test_nothing_is_drawn_or_changed(draw):
    peer = huggingface(draw, "SwinForImageClassification", hidden_dropout_prob=0.1).train()
    peer.swin.eval()
    modes = [module.training for module in peer.modules()]
    layers = [m for m in peer.modules() if hasattr(m, "shift_size")]
    before = [(layer.window_size, layer.shift_size) for layer in layers]
    torch.manual_seed(3)
    state = torch.get_rng_state()
    from_model(peer)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in peer.modules()] == modes
    assert [(layer.window_size, layer.shift_size) for layer in layers] == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_types_are_compared_in_wide_ones(draw, dtype):
    assert from_model(from_timm(draw).to(dtype)).state_dict()["embed.proj.weight"].dtype == dtype


def test_of_several_types_the_widest_is_taken(draw):
    peer = from_timm(draw).to(torch.bfloat16)
    peer.norm.float()
    assert from_model(peer, check=False).state_dict()["embed.proj.weight"].dtype == torch.float32
    ours, theirs = from_model(peer).state_dict(), peer.state_dict()
    assert torch.equal(ours["norm.weight"], theirs["norm.weight"])


def test_quantised_weights_are_refused(draw):
    peer = from_timm(draw)
    peer.norm.weight = nn.Parameter(peer.norm.weight.detach().to(torch.int8), requires_grad=False)
    with pytest.raises(UsageError, match=r"norm\.weight is of torch\.int8") as error:
        from_model(peer)
    assert "before it is quantised" in error.value.fix


@pytest.mark.parametrize("tokens", [{}, {"class_token": False}])
def test_timm_s_vit_that_takes_the_mean_of_normalised_tokens(draw, tokens):
    fields = {"img_size": 64, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
    peer = timm.models.vision_transformer.VisionTransformer(
        **fields, global_pool="avg", fc_norm=False, **tokens
    )
    ours = from_model(draw(peer).eval())
    assert ours.config.global_pool == "avg"
    same(ours, peer, (64, 64))


def test_models_without_numbers_are_not_run():
    with torch.device("meta"):
        peer = torchvision.models.swin_t()
    ours = from_model(peer)
    assert ours.name == "swin_tiny"
    assert ours.state_dict()["norm.weight"].is_meta
    assert not ours.preprocessing.trained


def test_wrappers_are_looked_through(draw):
    peer = from_timm(draw)
    config = from_model(peer).config
    assert from_model(nn.DataParallel(peer)).config == config
    compiled = torch.compile(peer)
    assert isinstance(compiled, nn.Module)
    assert from_model(compiled).config == config


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("build", [lambda: nn.Linear(2, 2), lambda: torchvision.models.resnet18()])
def test_another_module_is_refused(build):
    with pytest.raises(UsageError, match="a module of torch") as error:
        from_model(build())
    assert "timm.SwinTransformer" in error.value.allowed
    assert "create_model" in error.value.fix


def test_what_is_no_peer_at_all_is_refused():
    any_model: Any = "swin_t"
    with unchecked(), pytest.raises(UsageError, match="'swin_t'") as error:
        from_model(any_model)
    assert "create_model" in error.value.fix
    with pytest.raises(UsageError, match="a Vitrail Swin") as error:
        from_model(vitrail.create_model("swin_nano"))
    assert error.value.fix == "use it as it is"


def test_another_family_s_features_are_refused():
    peer = timm.create_model("resnet18", features_only=True)
    with pytest.raises(UsageError, match="FeatureListNet") as error:
        from_model(peer)
    assert "timm.FeatureListNet of a Swin or PVT v2" in error.value.allowed
    assert "create_model" in error.value.fix


def test_other_pooling_is_refused(draw):
    with pytest.raises(UsageError, match="global_pool='max'") as error:
        from_model(from_timm(draw, global_pool="max"))
    assert "global_pool='avg'" in error.value.fix


def test_other_activations_are_refused(draw):
    with pytest.raises(UsageError, match="ReLU activations") as error:
        from_model(from_timm_v2(draw, act_layer="relu"))
    assert "GELU" in error.value.allowed
    with pytest.raises(UsageError, match="hidden_act='relu'") as error:
        from_model(huggingface(draw, "SwinModel", hidden_act="relu"))
    assert "use the model" in error.value.fix


def test_norms_with_several_eps_are_refused(draw):
    with pytest.raises(UsageError, match="several values of layer_norm_eps") as error:
        from_model(huggingface(draw, "SwinModel", layer_norm_eps=1e-6))
    assert "one value" in error.value.fix


def test_a_stem_among_the_features_is_refused(draw):
    peer = huggingface(draw, "SwinBackbone", out_features=["stem", "stage1"])
    with pytest.raises(UsageError, match="'stem'") as error:
        from_model(peer)
    assert "model.embed" in error.value.fix


class Doubled(timm.models.swin_transformer.SwinTransformer):
    def forward(self, x):
        return 2 * super().forward(x)


class Mixed(timm.models.vision_transformer.VisionTransformer):
    def forward_features(self, x, **options):
        tokens = super().forward_features(x, **options)
        return tokens + 1e-3 * tokens.mean(1, keepdim=True)


class Floored(transformers.SwinForImageClassification):
    """Differs where the patch does not divide the input, and nowhere else."""

    def forward(self, pixel_values, **options):
        height, width = (n // 4 * 4 for n in pixel_values.shape[2:])
        return super().forward(pixel_values[..., :height, :width], **options)


class Failing(transformers.Swinv2Backbone):
    def forward(self, pixel_values, more):
        return super().forward(pixel_values)


SUBCLASSES = {
    "forward": lambda: Doubled(img_size=56, num_classes=5, **NUMBERS),
    "features": lambda: Mixed(img_size=64, embed_dim=24, depth=2, num_heads=3),
    "padding": lambda: Floored(transformers.SwinConfig(image_size=64, window_size=8, **NUMBERS)),
    "arguments": lambda: Failing(transformers.Swinv2Config(image_size=64, **NUMBERS)),
}


@pytest.mark.parametrize("name", SUBCLASSES)
def test_a_subclass_that_computes_something_else_is_refused(name):
    peer = SUBCLASSES[name]()  # weights as they are at the start, under which much has no effect
    with pytest.raises(UsageError, match=type(peer).__qualname__) as error:
        from_model(peer)
    assert "from_model(model, check=False)" in error.value.fix
    assert from_model(peer, check=False).config.axes == 2


def test_a_subclass_under_another_name_is_what_its_class_is(draw):
    class Named(transformers.SwinBackbone):
        pass

    config = transformers.SwinConfig(image_size=64, window_size=8, out_features=["stage1"],
                                     **NUMBERS)  # fmt: skip
    assert from_model(draw(Named(config))).out_indices == (0,)


def test_a_hook_that_changes_outputs_is_refused(draw):
    peer = from_timm(draw)
    peer.norm.register_forward_hook(lambda module, args, out: out + 1)
    with pytest.raises(UsageError, match="differ by"):
        from_model(peer)


def test_a_peer_that_cannot_be_copied_is_warned_of(draw):
    peer = from_timm(draw)
    peer.kept = peer.head.fc.weight * 2  # a tensor with a history
    with pytest.warns(UserWarning, match="cannot be copied"):
        from_model(peer)
