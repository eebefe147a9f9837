"""Models of other libraries with the weights of ours, so that all must give the same answer."""

import copy
import importlib
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.speed.cases import Case
from vitrail.models import (
    CATALOG,
    Backbone,
    FocalConfig,
    PVTV2Config,
    SwinConfig,
    SwinV2Config,
)
from vitrail.shapes import Size
from vitrail.weights import to_format


class Absent(Exception):
    """A contender that cannot take part; says why."""


def ours(case: Case) -> Backbone:
    """Return our model for a case, with drawn weights and nothing dropped.

    It is as the peers have it, else answers would differ: padding is visible to other tokens, and
    Focal's halo comes from rolling, in every stage whose map is larger than a window.
    """
    entry = CATALOG[case.model]
    config = replace(entry.config, drop_path=0.0)
    if isinstance(config, SwinConfig | FocalConfig):
        config = replace(config, padding="visible")
    if isinstance(config, FocalConfig):
        config = replace(config, halo="rolled", margins=official_margins(config, case.size))
    return drawn(entry.model(config, preprocessing=entry.preprocessing, name=case.model))


def official_margins(config: FocalConfig, size: Size) -> tuple[Size, ...]:
    """Return each stage's halo in the official code: none where a map is no larger than a window.

    Args:
        config: of our model.
        size: of the input, which patches and merges divide.
    """
    grid, margins = size, []
    for stage, window in enumerate(config.windows):
        step = config.merge if stage else config.patch
        grid = tuple(n // s for n, s in zip(grid, step, strict=True))
        around = all(n > w for n, w in zip(grid, window, strict=True))
        margins.append(config.margins[0] if around else (0,) * config.axes)
    return tuple(margins)


def drawn(model: Any, seed: int = 0) -> Any:
    """Fill every parameter with numbers of a size at which it matters and nothing overflows.

    Those of a fresh model hide mistakes: biases of zero, tables of 0.02. Queries are long, so that
    scores spread over about 4: where every token sees all keys alike, it matters little which.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "logit_scale" in name:
                noise = math.log(10) + 0.2 * noise
            elif name.endswith("bias.table"):
                noise = 0.5 * noise
            elif parameter.ndim > 1:
                noise = noise / math.sqrt(parameter[0].numel())
                if name.endswith(("qkv.weight", ".q.weight")):
                    noise[: parameter.shape[1]] *= 4  # the rows of queries
            elif name.endswith("weight"):
                noise = 1 + 0.1 * noise
            else:
                noise = 0.3 * noise
            parameter.copy_(noise)
    return model


def image(case: Case, seed: int = 1) -> Tensor:
    """Draw an input with large shapes in it: in noise alone, every window looks like the next."""
    generator = torch.Generator().manual_seed(seed)
    axes = len(case.size)
    coarse = torch.randn(case.batch, 3, *(7,) * axes, generator=generator)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[axes]
    shapes = F.interpolate(coarse, size=case.size, mode=mode)
    return 1.5 * shapes + 0.3 * torch.randn(case.shape, generator=generator)


def timm(model: Backbone, case: Case) -> nn.Module:
    """Return timm's model."""
    models = _package("timm.models")
    config = model.config
    if isinstance(config, PVTV2Config):
        peer = models.pvt_v2.PyramidVisionTransformerV2(
            depths=config.depths, embed_dims=config.dims, num_heads=config.num_heads,
            mlp_ratios=config.mlp_ratios, linear=config.pooled is not None,
            num_classes=config.num_classes,
        )  # fmt: skip
    elif isinstance(config, SwinV2Config) and config.axes == 2:
        peer = models.swin_transformer_v2.SwinTransformerV2(
            img_size=case.size, window_size=config.windows[0][0], **_swin(config)
        )
    elif isinstance(config, SwinConfig) and config.axes == 2:
        peer = models.swin_transformer.SwinTransformer(
            img_size=case.size, window_size=config.windows[0][0], patch_size=config.patch[0],
            **_swin(config),
        )  # fmt: skip
    else:
        raise Absent("has no such model")
    return _loaded(peer, model, "timm")


def _swin(config: SwinConfig) -> dict[str, Any]:
    return {"embed_dim": config.dim, "depths": config.depths, "num_heads": config.num_heads,
            "num_classes": config.num_classes, "drop_path_rate": 0.0}  # fmt: skip


def torchvision(model: Backbone, case: Case) -> nn.Module:
    """Return torchvision's model."""
    config = model.config
    if not isinstance(config, SwinConfig) or config.axes == 1:
        raise Absent("has no such model")
    options: dict[str, Any] = {
        "patch_size": list(config.patch), "embed_dim": config.dim, "depths": list(config.depths),
        "num_heads": list(config.num_heads), "window_size": list(config.windows[0]),
        "num_classes": config.num_classes, "stochastic_depth_prob": 0.0,
    }  # fmt: skip
    if config.axes == 3:
        kind = _package("torchvision.models.video.swin_transformer").SwinTransformer3d
    else:
        swin = _package("torchvision.models.swin_transformer")
        kind = swin.SwinTransformer
        if isinstance(config, SwinV2Config):
            options |= {"block": swin.SwinTransformerBlockV2,
                        "downsample_layer": swin.PatchMergingV2}  # fmt: skip
    return _loaded(kind(**options), model, "torchvision")


def transformers(model: Backbone, case: Case) -> nn.Module:
    """Return transformers' model."""
    package, config = _package("transformers"), model.config
    if isinstance(config, PVTV2Config) and config.pooled is None:
        facts = package.PvtV2Config(
            hidden_sizes=config.dims, num_attention_heads=config.num_heads, depths=config.depths,
            mlp_ratios=[int(r) for r in config.mlp_ratios], num_labels=config.num_classes,
            drop_path_rate=0.0,
        )  # fmt: skip
        peer = package.PvtV2ForImageClassification(facts)
    elif isinstance(config, SwinConfig) and config.axes == 2:
        second = isinstance(config, SwinV2Config)
        facts = (package.Swinv2Config if second else package.SwinConfig)(
            image_size=case.size[0], patch_size=config.patch[0], embed_dim=config.dim,
            depths=list(config.depths), num_heads=list(config.num_heads), drop_path_rate=0.0,
            window_size=config.windows[0][0], num_labels=config.num_classes,
        )  # fmt: skip
        kinds = package.Swinv2ForImageClassification, package.SwinForImageClassification
        peer = kinds[0 if second else 1](facts)
    else:
        raise Absent("has no such model")
    return Logits(_loaded(peer, model, "transformers"))


class Logits(nn.Module):
    """Returns the logits alone of a model of transformers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.model(x, return_dict=False)[0]


def official_focal(model: Backbone, case: Case, checkout: Path | None) -> nn.Module:
    """Return the official Focal Transformer out of a checkout of its repository."""
    config: Any = model.config
    if not case.model.startswith("focal"):
        raise Absent("has no such model")
    if checkout is None:
        raise Absent("not here: --focal names a checkout of the official code")
    if any(n % 32 or n < 224 for n in case.size):
        raise Absent("cuts other sizes than multiples of 32 from 224 on in its own way")
    sys.path.insert(0, str(checkout / "classification"))
    # It imports a name that timm no longer has, and does not use it.
    _package("timm.data.transforms")._pil_interp = None
    fast = "fast" in case.model
    kind = _package("focal_transformer_v2" if fast else "focal_transformer").FocalTransformer
    options = {"use_conv_embed": True, "focal_topK": 128} if fast else {}
    with ties_by_place():  # else which of two equally near tokens it sees is left open
        peer = kind(
            img_size=case.size[0], embed_dim=config.dim, depths=list(config.depths),
            num_heads=list(config.num_heads), window_size=7, focal_levels=[2] * 4,
            focal_windows=[7, 5, 3, 1], expand_sizes=[3] * 4, num_classes=config.num_classes,
            drop_path_rate=0.0, **options,
        )  # fmt: skip
    return _loaded(peer, model, "official")


@contextmanager
def ties_by_place() -> Iterator[None]:
    """Let ``torch.topk`` settle ties by place, which it leaves open otherwise."""
    right = torch.topk

    def topk(x: torch.Tensor, k: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
        values, indices = x.sort(dim=dim, descending=True, stable=True)
        return values.narrow(dim, 0, k), indices.narrow(dim, 0, k).contiguous()

    torch.topk = topk
    try:
        yield
    finally:
        torch.topk = right


def plain(model: nn.Module) -> nn.Module:
    """Return a copy of timm's model that writes its attention as products and a softmax.

    Under inductor on a CPU this is the faster of its two ways.

    Raises:
        Absent: the model has one way only.
    """
    switched = copy.deepcopy(model)
    layers = [m for m in switched.modules() if hasattr(m, "fused_attn")]
    if not layers:
        raise Absent("has one way to attend")
    for layer in layers:
        layer.fused_attn = False  # type: ignore[assignment]
    return switched


def _loaded(peer: nn.Module, model: Backbone, name: str) -> nn.Module:
    state = to_format(model, name)
    own = peer.state_dict()
    # Buffers of indices and masks follow from the configuration.
    missing, unexpected = peer.load_state_dict(
        {key: value for key, value in state.items() if key in own}, strict=False
    )
    parameters = dict(peer.named_parameters())
    assert not unexpected and not [key for key in missing if key in parameters], missing
    return peer


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Absent(f"not installed ({error})") from None


Build = Callable[[Backbone, Case], nn.Module]
LIBRARIES: dict[str, Build] = {
    "timm": timm, "torchvision": torchvision, "transformers": transformers,
}  # fmt: skip
