"""Every format against what its own package makes of it: never against our inverse alone."""

import re

import pytest
import torch
from torch import nn

from tests.weights.conftest import fields_of
from vitrail.errors import UsageError
from vitrail.models import SwinConfig
from vitrail.ops.merging import merge
from vitrail.weights import formats, load, rules, to_format
from vitrail.weights.detect import detect
from vitrail.weights.families import family_of
from vitrail.weights.formats import FORMATS, NAMES
from vitrail.weights.head_formats import HEAD_FORMATS

SIZES = {"swin": (56, 56), "swin_v2": (64, 64), "video": (4, 56, 56)}


def with_size(model, size):
    """Say which input a model is for: what the official files' masks are made for."""
    model._set_preprocessing(size=size)
    return model


# --- formats whose package is not installed: keys and shapes -------------------------------------


@pytest.mark.parametrize(
    "name",
    ["official swin", "timm-old swin", "mmpretrain swin", "transformers-old swin",
     "video-official video", "official swin_v2", "timm-old swin_v2", "mmpretrain swin_v2"],
)  # fmt: skip
def test_a_classifier_is_written_with_exactly_the_format_s_keys(build, manifests, name):
    to, kind = name.split()
    model = with_size(build(kind), SIZES.get(kind, (56, 56)))
    assert {k: list(v.shape) for k, v in to_format(model, to).items()} == manifests[name]


@pytest.mark.parametrize(
    ("name", "to"), [("mmdet swin", "mmdet"), ("official detector", "official")]
)
def test_a_detector_s_backbone_is_written_with_exactly_the_format_s_keys(
    build, manifests, name, to
):
    model = build(out_indices=(0, 1), feature_norms=True)
    written = {k: list(v.shape) for k, v in to_format(model, to).items()}
    # A detector's masks are made anew for every image: its files have none.
    assert {k: s for k, s in written.items() if not k.endswith("attn_mask")} == manifests[name]


@pytest.mark.parametrize("name", ["official detector", "mmdet swin", "mmpretrain swin",
                                  "official swin", "transformers-old swin",
                                  "video-official video", "official swin_v2",
                                  "mmpretrain swin_v2"])  # fmt: skip
def test_a_file_with_the_format_s_keys_fills_every_parameter(build, manifests, name):
    state = {key: torch.randn(shape) for key, shape in manifests[name].items()}
    found = detect(state)
    expected = {"official detector": "official", "timm-old swin": "official"}
    assert found.format.name == expected.get(name, name.split()[0])
    kind = found.format.kind
    detector = name in ("official detector", "mmdet swin")
    fields = {"out_indices": (0, 1), "feature_norms": True} if detector else {}
    model = build(kind, **fields)
    reading = rules.read(found.state, found.rules())
    assert not reading.unknown
    assert {k: v.shape for k, v in reading.state.items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


# --- official: read by timm's own converter ------------------------------------------------------


@pytest.mark.parametrize("kind", ["swin", "swin_v2"])
@pytest.mark.parametrize("to", ["official", "timm-old"])
def test_timm_s_converter_reads_our_official_files(build, draw, kind, to):
    module = pytest.importorskip(
        "timm.models.swin_transformer" + ("_v2" if kind == "swin_v2" else "")
    )
    size = SIZES[kind]
    peer_class = module.SwinTransformerV2 if kind == "swin_v2" else module.SwinTransformer
    numbers = {"embed_dim": 24, "depths": (2, 2), "num_heads": (3, 6), "num_classes": 5}
    peer = peer_class(img_size=size, window_size=size[0] // 8, **numbers).eval()
    model = with_size(build(kind), size)
    converted = module.checkpoint_filter_fn(to_format(model, to), peer)
    peer.load_state_dict(converted, strict=True)
    x = torch.randn(2, 3, *size)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), peer(x), rtol=1e-4, atol=1e-5)


def test_the_official_mask_is_the_one_timm_computes(build):
    timm = pytest.importorskip("timm.models.swin_transformer")
    peer = timm.SwinTransformer(
        img_size=(56, 112), embed_dim=24, depths=(2, 2), num_heads=(3, 6), num_classes=5
    )
    written = to_format(with_size(build(), (56, 112)), "official")
    masks = {key: value for key, value in written.items() if key.endswith("attn_mask")}
    # Stage 1 is 7 tokens high: the official code clamps both axes there, and shifts neither.
    assert list(masks) == ["layers.0.blocks.1.attn_mask"]
    assert torch.equal(masks["layers.0.blocks.1.attn_mask"], peer.layers[0].blocks[1].attn_mask)


# --- transformers: its own conversion of the layout of 2022 --------------------------------------


def test_transformers_reads_our_files_of_its_old_layout(build, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = build(shift_rule="shortest", padding="visible", mask_value=-100.0)
    written = to_format(model, "transformers-old")
    torch.save(written, tmp_path / "pytorch_model.bin")
    config = transformers.SwinConfig(
        image_size=56, embed_dim=24, depths=(2, 2), num_heads=(3, 6), num_labels=5
    )
    config.save_pretrained(tmp_path)
    peer = transformers.SwinForImageClassification.from_pretrained(tmp_path).eval()
    x = torch.randn(2, 3, 56, 56)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), peer(x).logits, rtol=1e-4, atol=1e-5)


# --- mmdet, mmpretrain: merging by nn.Unfold -----------------------------------------------------


class UnfoldMerging(nn.Module):
    """Merging as a framework with ``nn.Unfold`` does it: channel-major, rows first."""

    def __init__(self, dim: int, post_norm: bool) -> None:
        super().__init__()
        self.sampler = nn.Unfold(2, stride=2)
        self.norm = nn.LayerNorm(2 * dim if post_norm else 4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.post_norm = post_norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        columns = self.sampler(x.movedim(-1, 1)).transpose(1, 2)
        if self.post_norm:
            return self.norm(self.reduction(columns))
        return self.reduction(self.norm(columns))


@pytest.mark.parametrize("to", ["mmdet", "mmpretrain"])
@pytest.mark.parametrize("kind", ["swin", "swin_v2"])
def test_permuted_merging_agrees_with_unfold(build, kind, to):
    if (to, kind) == ("mmdet", "swin_v2"):
        pytest.skip("mmdet has no Swin V2")
    model = build(kind).double()
    written = to_format(model, to)
    oracle = UnfoldMerging(24, post_norm=kind == "swin_v2").double()
    stage = 1 if kind == "swin_v2" else 0  # mmpretrain's Swin V2 merges first
    prefix = f"backbone.stages.{stage}.downsample."
    oracle.load_state_dict({k.removeprefix(prefix): v for k, v in written.items() if prefix in k})
    x = torch.randn(2, 6, 4, 24, dtype=torch.float64)
    with torch.inference_mode():
        ours = model.stages[1].merge(x)
        torch.testing.assert_close(oracle(x), ours.flatten(1, 2), rtol=0, atol=1e-12)


def test_without_the_permutation_the_columns_are_others():
    x = torch.arange(2.0 * 2 * 3).reshape(1, 2, 2, 3)
    unfolded = nn.Unfold(2, stride=2)(x.movedim(-1, 1))[0, :, 0]
    assert not torch.equal(unfolded, merge(x, (2, 2)).flatten())


# --- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), sorted(FORMATS))
def test_there_and_back_again(build, name, kind):
    model = with_size(build(kind, **fields_of(name, kind)), SIZES.get(kind, (56, 56)))
    if name == "mmdet":
        model = with_size(
            build(kind, out_indices=(0, 1), feature_norms=True), SIZES.get(kind, (56, 56))
        )
    written = to_format(model, name)
    found = detect(written)
    reading = rules.read(found.state, found.rules())
    assert not reading.unknown
    state = model.state_dict()
    assert sorted(reading.state) == sorted(state)
    assert all(torch.equal(reading.state[key], state[key]) for key in state)


@pytest.mark.parametrize(("name", "kind"), sorted(FORMATS))
def test_no_two_of_our_keys_become_one_of_theirs(build, name, kind):
    model = build(kind, **fields_of(name, kind))
    found, config = formats.get(name, kind), model.config
    listed = found.rules(len(config.depths), family_of(config).grids(config))
    _, left = rules.write(model.state_dict(), listed, config)
    assert set(left) == ({"head.weight", "head.bias"} if name == "mmdet" else set())
    total = sum(v.numel() for k, v in to_format(model, name).items() if not _made(k))
    wanted = sum(v.numel() for k, v in model.state_dict().items() if k not in left)
    # torchvision stores a bias of zeros for the keys of Swin V2.
    zeros = 2 * 24 + 2 * 48 if (name, kind) == ("torchvision", "swin_v2") else 0
    assert total == wanted + zeros


def _made(key: str) -> bool:
    return bool(
        re.search(
            r"relative_position_index|relative_coords_table|attn_mask|valid_ind|window_c", key
        )
    )


def test_old_names_of_the_bias_network_are_read(build):
    model = build("swin_v2")
    written = to_format(with_size(model, (64, 64)), "official")
    old = {key.replace("cpb_mlp", "rpe_mlp"): value for key, value in written.items()}
    assert old.keys() != written.keys()
    other = build("swin_v2")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    load(other, old)
    pairs = zip(other.parameters(), model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", ["swin", "swin_v2"])
def test_masked_pre_training_leaves_nothing_behind(build, kind):
    written = to_format(with_size(build(kind), SIZES.get(kind, (56, 56))), "official")
    simmim = {"encoder." + key: value for key, value in written.items() if "head" not in key}
    simmim["encoder.mask_token"] = torch.zeros(1, 1, 24)
    simmim["decoder.0.weight"] = torch.zeros(3, 3)
    model = build(kind, num_classes=0)
    report = load(model, simmim)
    assert not report.problems
    assert len(report.loaded) == len(model.state_dict())


def test_an_absolute_position_keeps_its_places(build):
    model = build(absolute_position=(14, 7))
    written = to_format(model, "official")
    assert written["absolute_pos_embed"].shape == (1, 98, 24)
    other = build(absolute_position=(14, 7))
    with torch.no_grad():
        other.position.table.zero_()
    load(other, written)
    assert torch.equal(other.position.table, model.position.table)


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(UsageError, match=r"format 'timmm'") as error:
        formats.get("timmm", "swin")
    assert "'timm'" in error.value.fix
    assert "torchvision" in error.value.allowed


def test_a_format_without_such_models_is_refused():
    with pytest.raises(UsageError, match="'mmdet' for the weights of a Swin V2") as error:
        formats.get("mmdet", "swin_v2")
    assert "mmdet" not in error.value.allowed
    assert "mmpretrain" in error.value.fix


def test_every_name_has_a_format_and_every_format_a_name():
    wholes = {found.name for found in HEAD_FORMATS}
    assert {name for name, _ in FORMATS} | wholes == set(NAMES)


def test_buffers_follow_the_windows_of_stages(build):
    model = build("swin_v2", window=((8, 4), (4, 4)), pretrained_window=(6, 6))
    written = to_format(with_size(model, (64, 64)), "torchvision")
    assert written["features.1.0.attn.relative_coords_table"].shape == (1, 15, 7, 2)
    assert written["features.3.1.attn.relative_position_index"].shape == (16 * 16,)
    expected = torch.log2(torch.tensor(8 * 7 / 5 + 1)) / 3
    torch.testing.assert_close(
        written["features.1.0.attn.relative_coords_table"][0, -1, 0, 0], expected
    )
    assert isinstance(model.config, SwinConfig)
