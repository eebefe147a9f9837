import pytest
import torch
from safetensors import safe_open

from vitrail import create_model
from vitrail.errors import UsageError
from vitrail.models import SwinV2Config
from vitrail.weights import convert, load, load_model, read_state, to_format
from vitrail.weights.convert import kind_of


def test_a_file_is_converted_to_a_package_s_own(build, tmp_path):
    timm = pytest.importorskip("timm.models.swin_transformer")
    source = build()
    torch.save(to_format(source, "torchvision"), tmp_path / "in.pth")
    done = convert(tmp_path / "in.pth", tmp_path / "out.safetensors", "timm")
    assert (done.source, done.target, done.left, done.unknown) == ("torchvision", "timm", (), ())
    peer = timm.SwinTransformer(
        img_size=56, embed_dim=24, depths=(2, 2), num_heads=(3, 6), num_classes=5
    ).eval()
    peer.load_state_dict(read_state(tmp_path / "out.safetensors"), strict=True)
    x = torch.randn(1, 3, 56, 56)
    with torch.inference_mode():
        torch.testing.assert_close(peer(x), source(x), rtol=1e-4, atol=1e-5)


def test_transformers_reads_our_files_itself(build, tmp_path):
    transformers = pytest.importorskip("transformers")
    source = build("swin_v2")
    convert(source.state_dict(), tmp_path / "model.safetensors", "transformers", window=8)
    transformers.Swinv2Config(
        image_size=64, window_size=8, embed_dim=24, depths=(2, 2), num_heads=(3, 6), num_labels=5
    ).save_pretrained(tmp_path)
    peer = transformers.Swinv2ForImageClassification.from_pretrained(tmp_path).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(peer(x).logits, source(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("to", "wrapper"), [("official", "model"), ("mmpretrain", "state_dict"),
                                             ("timm", None)])  # fmt: skip
def test_a_pickle_is_wrapped_as_its_readers_expect(build, tmp_path, to, wrapper):
    convert(build().state_dict(), tmp_path / "w.pth", to)
    content = torch.load(tmp_path / "w.pth", weights_only=True)
    assert (list(content) == [wrapper]) if wrapper else len(content) > 10


def test_a_file_of_ours_can_be_built_again(build, tmp_path):
    source = build()
    convert(to_format(source, "timm"), tmp_path / "w.safetensors", "vitrail")
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        assert file.metadata()["format"] == "vitrail"
    model = load_model(tmp_path / "w.safetensors")
    key = "head.weight"
    assert torch.equal(model.state_dict()[key], source.state_dict()[key])
    assert model.preprocessing.trained


def test_a_swin_v2_needs_its_window_only_where_it_is_written(build, tmp_path):
    state = to_format(build("swin_v2", window=(4, 4)), "timm")
    done = convert(state, tmp_path / "a.pth", "transformers")
    assert done.weights == len(state) + 2 * 2 * 2  # q, k and v apart
    for to in ("official", "torchvision", "vitrail"):
        with pytest.raises(UsageError, match="does not show the window") as error:
            convert(state, tmp_path / "b.safetensors", to)
        assert "name the model" in error.value.fix
        assert not (tmp_path / "b.safetensors").exists()
    convert(state, tmp_path / "b.safetensors", "torchvision", window=4)
    table = read_state(tmp_path / "b.safetensors")["features.1.0.attn.relative_coords_table"]
    assert table.shape == (1, 7, 7, 2)


def test_naming_the_model_says_the_rest(tmp_path):
    with torch.device("meta"):
        model = create_model("swin_v2_tiny_w16", num_classes=3)
    state = {key: torch.zeros(value.shape) for key, value in model.state_dict().items()}
    timm = to_format_of(model, state)
    done = convert(timm, tmp_path / "w.safetensors", "official", model="swin_v2_tiny_w16")
    assert done.model == "swin_v2_tiny_w16"
    written = read_state(tmp_path / "w.safetensors")
    assert written["layers.3.blocks.0.attn.relative_coords_table"].shape == (1, 15, 15, 2)
    # Masks are for the model's own input of 256 pixels: 64 x 64 tokens in windows of 16.
    assert written["layers.0.blocks.1.attn_mask"].shape == (16, 256, 256)
    assert "layers.3.blocks.1.attn_mask" not in written


def to_format_of(model, state):
    from vitrail.weights import formats, rules

    listed = formats.get("timm", kind_of(model.config)).rules(4, None)
    return rules.write(state, listed, model.config)[0]


def test_a_model_that_the_weights_are_not_of_is_refused(build, tmp_path):
    state = to_format(build(), "timm")
    with pytest.raises(UsageError, match="for a conversion as swin_tiny") as error:
        convert(state, tmp_path / "w.pth", "official", model="swin_tiny")
    assert "dim=24" in error.value.fix
    with pytest.raises(UsageError, match="weights of a Swin for swin_v2_tiny"):
        convert(state, tmp_path / "w.pth", "official", model="swin_v2_tiny")
    with pytest.raises(UsageError, match="model 'swin_tny'") as error:
        convert(state, tmp_path / "w.pth", "official", model="swin_tny")
    assert "'swin_tiny'" in error.value.fix
    with pytest.raises(UsageError, match="model 'zzzzzz'") as error:
        convert(state, tmp_path / "w.pth", "official", model="zzzzzz")
    assert "vitrail list" in error.value.fix
    assert not list(tmp_path.iterdir())


def test_a_target_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path):
    missing = tmp_path / "missing.pth"
    for name in ("w" * 300 + ".pth", "no/w.pth", "w.txt"):
        with pytest.raises(UsageError, match="w") as error:
            convert(missing, tmp_path / name, "timm")
        assert name in error.value.given
    assert not list(tmp_path.iterdir())


def test_what_has_no_place_is_listed(build, tmp_path):
    done = convert(build().state_dict(), tmp_path / "w.pth", "mmdet")
    assert done.left == ("head.weight", "head.bias")
    extra = to_format(build(), "timm") | {"something.else": torch.zeros(1)}
    assert convert(extra, tmp_path / "w.pth", "official").unknown == ("something.else",)


def test_masks_that_cannot_be_made_are_noted(build, tmp_path):
    done = convert(build().state_dict(), tmp_path / "w.pth", "official")
    assert any("attn_mask was not written" in note for note in done.notes)


def test_a_named_model_keeps_the_file_s_classes(tmp_path):
    small = create_model("swin_nano", num_classes=3)
    convert(small.state_dict(), tmp_path / "w.safetensors", "vitrail", model="swin_nano")
    model = load_model(tmp_path / "w.safetensors")
    assert (model.name, model.num_classes) == ("swin_nano", 3)
    assert model.preprocessing.size == (32, 32)
    assert not load(small, tmp_path / "w.safetensors").entries


def test_overlapping_patches_have_no_place_in_other_formats(tmp_path):
    model = create_model("swin_nano")
    with pytest.raises(UsageError, match=r"patch_overlap=\(1, 1\)\) as timm") as error:
        to_format(model, "timm")
    assert "'vitrail'" in error.value.fix
    with pytest.raises(UsageError, match="overlapping patches"):
        convert(model.state_dict(), tmp_path / "w.pth", "official")
    assert not list(tmp_path.iterdir())


def test_kinds(build):
    assert [kind_of(build(kind).config) for kind in ("swin", "swin_v2", "video")] == [
        "swin", "swin_v2", "video",
    ]  # fmt: skip
    assert kind_of(SwinV2Config()) == "swin_v2"
