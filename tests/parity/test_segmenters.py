"""Whole segmenters against other libraries', both ways, at odd sizes."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import vitrail
from tests.parity.conftest import drawn
from tests.support import refuses
from vitrail.models import MiT
from vitrail.tasks.segment import Segment
from vitrail.training.recipe import Recipe
from vitrail.weights import convert, to_format

transformers = pytest.importorskip("transformers")

SIZES = [(64, 96), (75, 93), (131, 66)]
NAMES = {0: "wall", 1: "sky", 2: "tree", 3: "road", 4: "grass"}
TINY = {"hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 2, 3, 4],
        "depths": [1, 2, 1, 1], "decoder_hidden_size": 12, "classifier_dropout_prob": 0.2,
        "id2label": NAMES}  # fmt: skip


def segformer() -> nn.Module:
    return transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(**TINY))


def upernet(**fields) -> nn.Module:
    swin = transformers.SwinConfig(
        embed_dim=24, depths=[2, 2, 2, 1], num_heads=[3, 6, 6, 12], window_size=4,
        out_features=[f"stage{n}" for n in range(1, 5)],
    )  # fmt: skip
    settings = {"hidden_size": 12, "auxiliary_channels": 10, "id2label": NAMES} | fields
    return transformers.UperNetForSemanticSegmentation(
        transformers.UperNetConfig(backbone_config=swin, **settings)
    )


PEERS = {"segformer": segformer, "upernet": upernet}


@pytest.fixture(scope="module", params=PEERS)
def peer(request) -> Any:
    """In float64, of weights that float32 holds exactly: those of a file."""
    return drawn(PEERS[request.param]()).double().eval()


@pytest.fixture(scope="module")
def ours(peer) -> Any:
    return vitrail.from_model(peer)


def image(*size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 3, *size, generator=generator, dtype=torch.float64)


def logits(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return a model's logits at the input's size; transformers leaves SegFormer's small."""
    with torch.no_grad():
        out = copy.deepcopy(model)(x)  # its Swin changes with its input
    out = getattr(out, "logits", out)
    return F.interpolate(out, x.shape[2:], mode="bilinear", align_corners=False)


def check(ours: nn.Module, peer: nn.Module, x: torch.Tensor, near: float = 1e-9) -> None:
    theirs = logits(peer, x)
    assert (logits(ours, x) - theirs).abs().max() < near * theirs.abs().max()


@pytest.mark.parametrize("size", SIZES)
def test_logits_equal_transformers(peer, ours, size) -> None:
    check(ours, peer, image(*size))
    assert (ours.task.name, ours.task.classes) == ("segment", 5)
    assert ours.preprocessing.classes == tuple(NAMES.values())


def test_an_auxiliary_head_is_kept_and_has_no_part_in_training() -> None:
    peer: Any = drawn(upernet(auxiliary_num_convs=2, auxiliary_concat_input=True).double()).eval()
    ours, x = vitrail.from_model(peer), image(75, 93)
    with torch.no_grad():
        maps = peer.backbone.forward_with_filtered_kwargs(x).feature_maps
        theirs, mine = peer.auxiliary_head(maps), ours.head.auxiliary(ours.maps(x))
    assert (mine - theirs).abs().max() < 1e-9
    ours.head.requires_grad_(True)
    ours(x).sum().backward()
    without = {name for name, p in ours.named_parameters() if p.requires_grad and p.grad is None}
    assert not without
    assert any(name.startswith("head.auxiliary") for name in ours.state_dict())


@pytest.fixture
def folder(peer, tmp_path):
    copy.deepcopy(peer).float().save_pretrained(tmp_path)
    return tmp_path


def test_folders_load_with_their_classes_and_go_back(peer, folder) -> None:
    """Also after a change of the weights: a converter is not its own inverse's test."""
    model: Any = vitrail.load(folder).double()
    x = image(75, 93)
    check(model, peer, x)
    assert model.preprocessing.classes == tuple(NAMES.values())
    assert model.task.options["background"] is False  # a wall
    drawn(model.float(), seed=1).double()
    vitrail.weights.save(model.float(), folder / "ours.safetensors")
    for name in ("transformers", "transformers-old"):
        done = convert(folder / "ours.safetensors", folder / "model.safetensors", name)
        assert not done.left
        back, found = type(peer).from_pretrained(folder, output_loading_info=True)
        # A backbone of transformers has a last norm that nothing uses.
        assert {*found["missing_keys"]} <= {f"backbone.swin.layernorm.{w}"
                                            for w in ("weight", "bias")}  # fmt: skip
        assert not found["unexpected_keys"] and not found["mismatched_keys"]
        check(model.double(), back.double().eval(), x)


def test_state_dicts_are_whole(peer, ours) -> None:
    theirs, written = peer.state_dict(), to_format(ours, "transformers")
    assert {k for k in theirs if k not in written} <= {"backbone.swin.layernorm.weight",
                                                       "backbone.swin.layernorm.bias"}  # fmt: skip
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in written.items())


def test_our_own_file_predicts_and_starts_others(peer, ours, tmp_path) -> None:
    path = tmp_path / "whole.safetensors"
    vitrail.weights.save(ours, path)
    again: Any = vitrail.load(path)
    assert again.task == ours.task and again.head_facts == ours.head_facts
    check(again.double(), peer, image(64, 96))
    photo = torch.randint(0, 256, (3, 60, 70), dtype=torch.uint8)
    found: Any = vitrail.predict(again.float(), photo)
    assert found.labels.shape == (60, 70)
    assert found.classes == tuple(NAMES.values())
    config = ours.config
    name = "mit_b0" if isinstance(ours.backbone, MiT) else "swin_tiny"
    fields = {key: getattr(config, key) for key in ("depths", "num_heads")}
    fields |= {"dims": config.dims} if name == "mit_b0" else {"dim": 24, "window": (4, 4)}
    theirs = to_format(ours, "transformers")
    same = vitrail.create_model(name, task="segment", weights=theirs, **fields)
    check(same.double(), peer, image(64, 96))
    other = vitrail.create_model(name, task="segment", num_classes=3, weights=path, **fields)
    assert other.head_facts.name == ours.head_facts.name
    assert other.preprocessing.classes is None
    key = "head.fuse.weight" if name == "mit_b0" else "head.fuse.0.weight"
    assert torch.equal(other.state_dict()[key].double(), ours.state_dict()[key])


def test_a_segformer_trains(peer, ours) -> None:
    """Every parameter but the auxiliary head's has a gradient of the task's loss."""
    model = copy.deepcopy(ours).float().train()
    task = Segment.of(model)
    labels = torch.randint(0, 5, (2, 64, 64))
    batch = vitrail.data.batch.Batch(
        torch.randn(2, 3, 64, 64), {"labels": labels}, ("a", "b"), torch.ones(2, dtype=torch.bool)
    )
    loss, _ = task.loss(model, batch, Recipe())
    loss.backward()
    grads = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("name", [f"b{n}" for n in range(6)])
def test_published_shapes_of_segformer(name) -> None:
    config = vitrail.models.CATALOG[f"mit_{name}"].config
    width = 256 if name in ("b0", "b1") else 768
    settings = transformers.SegformerConfig(
        hidden_sizes=config.dims, depths=config.depths, decoder_hidden_size=width, num_labels=150
    )
    head = vitrail.heads.SegFormerConfig(dim=width, align="stretch")
    with torch.device("meta"):
        peer = transformers.SegformerForSemanticSegmentation(settings)
        ours = vitrail.create_model(f"mit_{name}", task="segment", head=head, num_classes=150)
        theirs = vitrail.from_model(peer)
    assert theirs.name == f"mit_{name}"
    shapes = {key: tensor.shape for key, tensor in peer.state_dict().items()}
    assert {k: t.shape for k, t in to_format(ours, "transformers").items()} == shapes


# --- segmentation_models_pytorch ------------------------------------------------------------------


@pytest.fixture(scope="module")
def smp():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("segmentation_models_pytorch", reason="an optional peer")


@pytest.fixture(scope="module")
def unet(smp) -> Any:
    made = smp.Segformer("mit_b0", encoder_weights=None, classes=5,
                         decoder_segmentation_channels=12)  # fmt: skip
    return drawn(made).double().eval()


def test_smp_s_segformer_both_ways(unet, tmp_path) -> None:
    ours: Any = vitrail.from_model(unet, check=False)
    assert ours.name == "mit_b0" and ours.head_facts.config.align == "corners"
    for size in [(64, 96), (160, 32)]:  # it takes multiples of 32 alone
        check(ours, unet, image(*size))
    torch.save(unet.state_dict(), tmp_path / "smp.pth")
    loaded = vitrail.load(tmp_path / "smp.pth").double()
    check(loaded, unet, image(64, 96))
    drawn(loaded, seed=1)
    unet.load_state_dict(to_format(loaded, "smp"), strict=True)
    check(loaded, unet, image(64, 96))
    with torch.no_grad():
        assert loaded(image(75, 93)).shape[2:] == (75, 93)


def test_smp_s_encoder_both_ways(unet) -> None:
    encoder, x = unet.encoder, image(75, 93)
    ours = vitrail.from_model(encoder, check=False)
    with torch.no_grad():
        pairs = zip(ours(x), encoder(x)[2:], strict=True)
        assert all((a.movedim(-1, 1) - b).abs().max() < 1e-9 for a, b in pairs)
    encoder.load_state_dict(to_format(ours, "official"))


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"classes": 1}, "classes"),
        ({"activation": "softmax"}, "activation"),
        ({"upsampling": 2}, "upsampling"),
        ({"aux_params": {"classes": 3}}, "aux_params"),
        ({"encoder_depth": 4}, "encoder_depth"),
    ],
)
def test_what_smp_does_otherwise_is_refused(smp, fields, word) -> None:
    model = smp.Segformer("mit_b0", encoder_weights=None, **{"classes": 5} | fields)
    with refuses(word, f"build it with {word}="):
        vitrail.from_model(model, check=False)


# --- mmsegmentation and the official code ---------------------------------------------------------


def as_mmseg(peer: nn.Module) -> dict[str, torch.Tensor]:
    """Name and order a UPerNet's weights as mmsegmentation does; its merging is ``nn.Unfold``."""
    words = {
        "backbone.swin.": "backbone.", "hidden_states_norms.stage": "norm",
        "embeddings.patch_embeddings": "patch_embed", "embeddings.norm": "patch_embed.norm",
        "encoder.layers": "stages", "layernorm_before": "norm1", "layernorm_after": "norm2",
        "attention.relative_position_bias.": "attn.w_msa.", "attention.o_proj": "attn.w_msa.proj",
        "mlp.fc1": "ffn.layers.0.0", "mlp.fc2": "ffn.layers.1", "batch_norm": "bn",
        "head.classifier": "head.conv_seg",
    }  # fmt: skip
    state = {}
    for key, tensor in peer.state_dict().items():
        if "swin.layernorm." in key or ".k_proj." in key or ".v_proj." in key:
            continue
        if ".q_proj." in key:
            parts = (peer.state_dict()[key.replace("q_proj", f"{part}_proj")] for part in "qkv")
            tensor, key = torch.cat([*parts]), key.replace("attention.q_proj", "attn.w_msa.qkv")
        if ".downsample." in key:
            channels = tensor.shape[-1] // 4
            order = [b * channels + c for c in range(channels) for b in (0, 2, 1, 3)]
            tensor = tensor[..., order]
        for theirs, mm in words.items():
            key = key.replace(theirs, mm)
        if key.startswith("backbone.norm"):
            stage, rest = key.removeprefix("backbone.norm").split(".")
            key = f"backbone.norm{int(stage) - 1}.{rest}"
        state[key] = tensor
    return state


# A stage's first block, its merging, and every part of the heads: names as in the published files.
MMSEG = {
    "backbone.patch_embed.projection.weight": (24, 3, 4, 4),
    "backbone.patch_embed.norm.bias": (24,),
    "backbone.stages.0.blocks.0.norm1.weight": (24,),
    "backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table": (49, 3),
    "backbone.stages.0.blocks.0.attn.w_msa.qkv.weight": (72, 24),
    "backbone.stages.0.blocks.0.attn.w_msa.proj.bias": (24,),
    "backbone.stages.0.blocks.0.ffn.layers.0.0.weight": (96, 24),
    "backbone.stages.0.blocks.0.ffn.layers.1.weight": (24, 96),
    "backbone.stages.0.downsample.norm.weight": (96,),
    "backbone.stages.0.downsample.reduction.weight": (48, 96),
    "backbone.norm3.weight": (192,),
    "decode_head.conv_seg.weight": (5, 12, 1, 1),
    "decode_head.psp_modules.3.1.conv.weight": (12, 192, 1, 1),
    "decode_head.psp_modules.3.1.bn.running_var": (12,),
    "decode_head.bottleneck.conv.weight": (12, 240, 3, 3),
    "decode_head.lateral_convs.2.conv.weight": (12, 96, 1, 1),
    "decode_head.fpn_convs.2.bn.weight": (12,),
    "decode_head.fpn_bottleneck.conv.weight": (12, 48, 3, 3),
    "decode_head.fpn_bottleneck.bn.num_batches_tracked": (),
    "auxiliary_head.conv_seg.bias": (5,),
    "auxiliary_head.convs.0.conv.weight": (10, 96, 3, 3),
    "auxiliary_head.convs.0.bn.running_mean": (10,),
}


@pytest.mark.parametrize("new", [False, True])
def test_mmsegmentation_s_files_are_read_with_classes_and_colours(new, tmp_path) -> None:
    peer = drawn(upernet()).double().eval()
    state = as_mmseg(peer)
    assert {key: tuple(state[key].shape) for key in MMSEG} == MMSEG
    names, colours = [*NAMES.values()], [[n, 2 * n, 255] for n in range(5)]
    meta = {"dataset_meta": {"classes": names, "palette": colours}} if new else {
        "CLASSES": tuple(names), "PALETTE": colours, "epoch": 3}  # fmt: skip
    path = tmp_path / "mm.pth"
    torch.save({"meta": meta, "state_dict": state, "optimizer": {}}, path)
    ours = vitrail.load(path)
    assert ours.preprocessing.classes == tuple(names)
    assert Segment.of(ours).options.colours[1] == "#0102ff"
    check(ours.double(), peer, image(75, 93))
    written = to_format(ours, "mmseg")
    assert {k for k in written if not k.endswith("_index")} == {*state}
    assert all(torch.equal(written[key], state[key]) for key in state)


@pytest.mark.parametrize(("build", "name"), [(upernet, "official"), (segformer, "official")])
def test_the_official_codes_names(build, name) -> None:
    """Swin's segmentation code and SegFormer's name their backbones each in their own way."""
    ours = vitrail.from_model(drawn(build()).double().eval())
    written = to_format(ours, name)
    keys = ["backbone.patch_embed.proj.weight", "backbone.layers.2.downsample.norm.bias",
            "backbone.norm3.weight", "decode_head.fpn_convs.1.bn.weight"]  # fmt: skip
    if build is segformer:
        keys = ["backbone.patch_embed4.proj.weight", "backbone.block2.1.attn.sr.weight",
                "decode_head.linear_c1.proj.weight", "decode_head.linear_fuse.bn.weight",
                "decode_head.linear_pred.bias"]  # fmt: skip
    assert set(keys) <= set(written)
    more = {"num_heads": ours.config.num_heads} if build is segformer else {}
    again = vitrail.create_model(
        "mit_b0", task="segment", weights=written, dims=ours.config.dims, depths=ours.config.depths,
        norm_eps=1e-5, **more,
    ) if more else vitrail.load(written)  # fmt: skip
    assert (logits(again.double(), image(75, 93)) - logits(ours, image(75, 93))).abs().max() < 1e-5


# --- refusals -------------------------------------------------------------------------------------


def test_a_damaged_head_is_refused_and_another_format_named() -> None:
    ours = vitrail.from_model(drawn(upernet()).eval(), check=False)
    state = to_format(ours, "mmseg")
    with refuses("upernet, as timm", "use 'transformers'"):
        to_format(ours, "timm")
    lacking = {k: v for k, v in state.items() if k != "decode_head.lateral_convs.1.bn.weight"}
    with refuses("lateral.1.1.weight", "weights"):
        vitrail.load(lacking)
    wrong = state | {"auxiliary_head.convs.0.conv.weight": torch.zeros(10, 7, 3, 3)}
    with refuses("7 channels", "damaged"):
        vitrail.load(wrong)
    one = {key: t[:1] if "conv_seg" in key else t for key, t in state.items()}
    with refuses("one output", "backbone alone"):
        vitrail.load(one)
    scalar = state | {"decode_head.fpn_bottleneck.conv.weight": torch.tensor(1.0)}
    with refuses("head without fuse.0.weight", "whole model"):
        vitrail.load(scalar)


def test_peers_on_other_backbones_are_not_taken() -> None:
    resnet = transformers.UperNetConfig(hidden_size=8)
    with refuses("UperNetForSemanticSegmentation", "create_model"):
        vitrail.from_model(transformers.UperNetForSemanticSegmentation(resnet))
    with refuses("auxiliary_num_convs=0", "auxiliary_num_convs=1"):
        vitrail.from_model(upernet(auxiliary_num_convs=0))
    squares = transformers.SegformerConfig(**TINY, reshape_last_stage=False)
    with refuses("reshape_last_stage", "reshape_last_stage = True"):
        vitrail.from_model(transformers.SegformerForSemanticSegmentation(squares))
