"""Published weights by name: the table agrees with the packages, and a hub on this machine serves.

No test reaches another machine: what a hub and torchvision's server answer is played by one here.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save_file

import vitrail
from tests.conftest import Command
from tests.support import refuses
from vitrail.models import CATALOG
from vitrail.models.aliases import PEER_NAMES
from vitrail.weights import find, published, read_state, usual
from vitrail.weights.named import class_names, imagenet1k, preprocessing_of, source_of
from vitrail.weights.published import PUBLISHED, Published

ROWS = [(name, row) for name, rows in PUBLISHED.items() for row in rows.values()]


def rows_of(source: str) -> Any:
    found = [(name, row) for name, row in ROWS if row.source == source]
    return pytest.mark.parametrize(("name", "row"), found, ids=[row.where for _, row in found])


@rows_of("timm")
def test_a_row_of_timm_s_is_in_its_table(name: str, row: Published) -> None:
    models = pytest.importorskip("timm.models")
    cfg = models.get_pretrained_cfg(row.where.removeprefix("timm/"))
    assert cfg.hf_hub_id == row.where
    assert cfg.architecture in PEER_NAMES[name]
    assert (cfg.license, cfg.num_classes, cfg.input_size) == (
        row.licence, row.classes, (3, row.size, row.size)
    )  # fmt: skip
    assert (cfg.crop_pct, cfg.interpolation) == (row.crop, row.interpolation)
    assert (cfg.mean, cfg.std) == (row.mean, row.std)
    assert row.top1 is None, "its table has no accuracies"


def test_every_weights_of_timm_s_are_in_the_table() -> None:
    timm = pytest.importorskip("timm")
    for name, peers in PEER_NAMES.items():
        architectures = [peer for peer in peers if "/" not in peer and timm.is_model(peer)]
        known = {tag for peer in architectures for tag in timm.list_pretrained(f"{peer}.*")}
        found = {row.where.removeprefix("timm/") for row in published(name) if row.source == "timm"}
        assert found == known, name
        default = timm.models.get_pretrained_cfg(architectures[0]) if architectures else None
        if default is not None and default.num_classes == 1000:
            assert usual(name) == PUBLISHED[name][f"timm:{default.tag}"]


@rows_of("torchvision")
def test_a_row_of_torchvision_s_is_in_its_table(name: str, row: Published) -> None:
    models = pytest.importorskip("torchvision").models
    weights = models.get_weight(row.where)
    preset = weights.transforms()
    assert any(weights in models.get_model_weights(peer) for peer in PEER_NAMES[name]
               if peer in models.list_models())  # fmt: skip
    assert len(weights.meta["categories"]) == row.classes
    assert row.top1 == next(iter(weights.meta["_metrics"].values()))["acc@1"]
    assert {*preset.crop_size} == {row.size}
    assert row.crop is not None
    assert preset.resize_size[0] == math.floor(row.size / row.crop)
    assert preset.interpolation.value == row.interpolation
    assert (tuple(preset.mean), tuple(preset.std)) == (row.mean, row.std)
    # Of a licence, its table has a link; that of SWAG is non-commercial.
    assert ("SWAG" in weights.meta.get("license", "")) == (row.licence == "cc-by-nc-4.0")


def test_every_weights_of_torchvision_s_are_in_the_table() -> None:
    models = pytest.importorskip("torchvision").models
    for name, peers in PEER_NAMES.items():
        known = {
            f"{type(weights).__name__}.{weights.name}"
            for peer in peers
            if peer in models.list_models()
            for weights in models.get_model_weights(peer)
        }
        found = {row.where for row in published(name) if row.source == "torchvision"}
        assert found == known - {"ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1"}  # positions for 384


@rows_of("transformers")
def test_a_row_of_transformers_is_in_its_documentation(name: str, row: Published) -> None:
    transformers = pytest.importorskip("transformers")
    assert row.where in PEER_NAMES[name]
    folder = Path(transformers.__file__).parent / "models"
    family = {
        "swin": "swin",
        "swin_v2": "swinv2",
        "pvt": "pvt",
        "pvt_v2": "pvt_v2",
        "vit": "vit",
        "hiera": "hiera",
    }
    source = (folder / family[name.rpartition("_")[0]]).glob("*.py")
    assert any(f"{row.where}" in file.read_text() for file in source)
    assert (row.licence, row.classes, row.top1) == (None, None, None)


def test_every_row_is_of_a_model_at_its_size() -> None:
    assert {name for name, _ in ROWS} <= set(CATALOG)
    for name, row in ROWS:
        assert row.tag.startswith(f"{row.source}:")
        assert row.size == CATALOG[name].preprocessing.size[-1], row.where


def test_the_names_of_imagenet_s_classes_are_torchvision_s() -> None:
    models = pytest.importorskip("torchvision").models
    assert list(imagenet1k()) == models.Swin_T_Weights.IMAGENET1K_V1.meta["categories"]
    assert len({*imagenet1k()}) == 1000


@pytest.mark.parametrize(
    ("model", "weights", "tag"),
    [
        ("swin_tiny", "imagenet1k", "timm:ms_in1k"),
        ("swin_large", "imagenet1k", "timm:ms_in22k_ft_in1k"),
        ("swin_tiny", "torchvision:IMAGENET1K_V1", "torchvision:IMAGENET1K_V1"),
        ("swin_tiny", "bundled", None),
        ("swin_tiny", "timm/swin_tiny_patch4_window7_224.ms_in1k", None),
        ("swin_tiny", Path("imagenet1k"), None),
        ("swin_tiny", {}, None),
    ],
    ids=str,
)
def test_what_is_a_name_of_weights(model: str, weights: Any, tag: str | None) -> None:
    row = find(model, weights)
    assert (row.tag if row else None) == tag


@pytest.mark.parametrize(
    ("model", "weights", "fix"),
    [
        ("swin_tiny", "timm:ms_in2k", "weights='timm:ms_in1k'"),
        ("swin_t", "torchvision:IMAGENET1K_V2", "weights='timm:ms_in1k'"),
        ("focal_tiny", "imagenet1k", "e.g. 'swin_tiny'"),
        ("swin_v2_base_w12_192", "imagenet1k", "weights='timm:ms_in22k'"),
    ],
)
def test_weights_that_a_model_has_not_are_refused(model: str, weights: str, fix: str) -> None:
    with refuses(f"weights {weights!r} for", fix):
        vitrail.create_model(model, weights=weights)


def test_a_non_commercial_licence_is_said() -> None:
    row = PUBLISHED["vit_base"]["timm:mae"]
    with pytest.warns(UserWarning, match="vit_base_patch16_224.mae.* licensed cc-by-nc-4.0: not"):
        assert source_of(row) == "timm/vit_base_patch16_224.mae"


def test_what_weights_say_about_their_input() -> None:
    row = PUBLISHED["vit_tiny"]["timm:fb_in1k"]
    ours = CATALOG["vit_tiny"].preprocessing
    assert preprocessing_of(row, ours, 3)["mean"] == (0.485, 0.456, 0.406) != ours.mean
    assert "mean" not in preprocessing_of(row, ours, 1)
    video = PUBLISHED["video_swin_tiny"]["torchvision:KINETICS400_V1"]
    usual_input = CATALOG["video_swin_tiny"].preprocessing
    assert preprocessing_of(video, usual_input, 3)["size"] == (32, 224, 224)
    pytest.importorskip("torchvision")
    names = class_names(video)
    assert names is not None and len(names) == 400 and "abseiling" in names


class _Hub(BaseHTTPRequestHandler):
    """Answers like a hub for the files of a folder, ``owner/name/file``, and like a file server."""

    def __init__(self, folder: Path, seen: list[str], *args: Any) -> None:
        self.folder, self.seen = folder, seen
        super().__init__(*args)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.seen.append(f"{self.command} {self.path}")
        file = self.folder / self.path.lstrip("/").replace("/resolve/main/", "/")
        content = file.read_bytes() if file.is_file() else b""
        self.send_response(200 if content else 404)
        if not content:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """The address of a hub on this machine, the folder it serves, and what was requested of it."""
    folder, seen = tmp_path / "served", []
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, folder, seen))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder, seen
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_photo_is_named_with_weights_of_a_hub_which_are_kept(
    hub: tuple[str, Path, list[str]], command: Command, tmp_path: Path
) -> None:
    """The first run fetches; the second runs with no hub there."""
    timm = pytest.importorskip("timm")
    address, folder, seen = hub
    repository = folder / "timm" / "pvt_v2_b0.in1k"
    repository.mkdir(parents=True)
    torch.manual_seed(0)
    peer = timm.create_model("pvt_v2_b0").eval()
    save_file(peer.state_dict(), repository / "model.safetensors", metadata={"format": "pt"})
    pixels = np.random.default_rng(0).integers(0, 255, (260, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    words = ("predict", "photo.png", "-m", "pvt_v2_b0", "-w", "imagenet1k", "--json", "--top", "3")
    env = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    online = {**env, "HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0"}
    first = command(*words, env=online)
    assert first.returncode == 0, first.stderr
    assert any("model.safetensors" in line for line in seen)
    top = json.loads(first.stdout)["photos"][0]["top"]
    assert all(row["class"] == imagenet1k()[row["index"]] for row in top)
    seen.clear()
    again = command(*words, env={**env, "HF_HUB_OFFLINE": "1"})
    assert (again.returncode, again.stdout, seen) == (0, first.stdout, [])
    with refuses("timm/pvt_v2_b1.in1k, with no copy here", "connect and try again"):
        vitrail.create_model("pvt_v2_b1", weights="imagenet1k")


@pytest.fixture
def member(
    hub: tuple[str, Path, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    """Serve a small file in the place of torchvision's, whose name has its hash as there."""
    models = pytest.importorskip("torchvision").models
    address, folder, _ = hub
    torch.save({"features.0.0.weight": torch.ones(2, 2), "head.bias": torch.ones(2)},
               tmp_path / "w.pth")  # fmt: skip
    content = (tmp_path / "w.pth").read_bytes()
    file = folder / f"w-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    file.write_bytes(content)
    weights = models.Swin_T_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(weights, "url", f"{address}/{file.name}")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return file


ROW = PUBLISHED["swin_tiny"]["torchvision:IMAGENET1K_V1"]


def test_torchvision_s_weights_are_fetched_once(
    member: Path, hub: tuple[str, Path, list[str]], tmp_path: Path
) -> None:
    file = source_of(ROW)
    assert file == tmp_path / "torch" / "hub" / "checkpoints" / member.name
    assert read_state(file)["head.bias"].tolist() == [1, 1]
    hub[2].clear()
    assert source_of(ROW) == file
    assert hub[2] == []


def test_a_file_of_another_hash_is_refused(member: Path) -> None:
    member.write_bytes(member.read_bytes() + b"more")
    with refuses("torchvision:IMAGENET1K_V1, whose file is not the published one", "try again"):
        source_of(ROW)


def test_without_a_connection_it_says_what_to_do(
    member: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = member.name
    member.unlink()
    with refuses("no copy here and their server out of reach (HTTP Error 404", f"put {name} there"):
        source_of(ROW)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with refuses("out of reach (HF_HUB_OFFLINE is set)", f"put {name} there"):
        source_of(ROW)


def test_weights_without_torchvision_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with refuses("without torchvision", "install torchvision, or take weights of timm"):
        source_of(ROW)


def test_headless_and_changed_models_keep_to_the_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from vitrail.weights import named

    ours = vitrail.create_model("vit_tiny")
    state = {n: p for n, p in ours.state_dict().items() if not n.startswith("head.")}
    monkeypatch.setattr(named, "source_of", lambda row: state)
    monkeypatch.setitem(
        PUBLISHED["vit_tiny"], "timm:bare",
        Published(tag="timm:bare", source="timm", where="timm/x", size=224, classes=0),
    )  # fmt: skip
    bare = vitrail.create_model("vit_tiny", weights="timm:bare")
    assert bare.num_classes == 0 and bare.preprocessing.classes is None
    assert bare.preprocessing.mean == (0.485, 0.456, 0.406)
    state |= ours.state_dict()
    full = vitrail.create_model("vit_tiny", weights="imagenet1k")
    assert full.preprocessing.classes == imagenet1k() and full.preprocessing.trained
    ten = vitrail.create_model("vit_tiny", weights="imagenet1k", num_classes=10, in_channels=1)
    assert ten.preprocessing.classes is None and ten.num_classes == 10
    maps = vitrail.create_model("vit_tiny", weights="imagenet1k", out_indices=(0,))
    assert maps.bare and maps.preprocessing.classes is None
