"""Which format a state dict is in, from its keys alone, whatever prefix they carry."""

import re
from collections import Counter
from dataclasses import dataclass

from torch import Tensor

from vitrail.errors import UsageError
from vitrail.weights.formats import FORMATS, NAMES, Format, Kind
from vitrail.weights.rules import State

# The key of the patch embedding is in every file of a format, and tells most formats apart.
_PATCHES = {
    "embed.proj.weight": "vitrail",
    "patch_embed.projection.weight": "mm",
    "embeddings.patch_embeddings.projection.weight": "transformers",
    "features.0.0.weight": "torchvision",
    "patch_embed.proj.weight": "official",
}
# What else a file may be: a key of another family, what it is, and what to do.
_OTHERS = (
    (r"blocks\.\d+\.attn\.qkv\.weight|cls_token", "a plain vision transformer"),
    (r"layer\d\.\d+\.conv1\.weight|layer\d\.\d+\.bn1", "a ResNet"),
    (r"stages\.\d+\.blocks\.\d+\.(gamma|dwconv|conv_dw)|downsample_layers", "a ConvNeXt"),
    (r"pos_embed\d|block\d\.\d+\.attn\.(q|kv)\.", "a Pyramid Vision Transformer"),
    (r"spatial_mlp", "a Swin-MLP"),
    (r"attn\.meta_mlp", "timm's swinv2_cr, another model than Swin V2"),
    (r"optimizer|param_groups", "the state of an optimiser"),
)


@dataclass(frozen=True)
class Detected:
    """A state dict whose format is known.

    Args:
        format: the format.
        state: its keys without prefixes.
        prefix: what stood before all of them.
        beside: keys that belong to other parts of a larger model (a neck, a detection head).
    """

    format: Format
    state: State
    prefix: str
    beside: tuple[str, ...]

    @property
    def stages(self) -> int:
        """Number of stages."""
        return stages_of(self.state)


def detect(state: State) -> Detected:
    """Recognise the format of a state dict.

    Args:
        state: any mapping of names to tensors.
    Returns:
        The format, and the keys without prefixes.
    Raises:
        UsageError: not a Swin in any known format.
    """
    if not state:
        raise UsageError("an empty state dict", "the weights of a Swin", "pass model.state_dict()")
    prefix, group, patch = _anchor(state)
    inner = {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
    kind = _kind(inner, state[patch])
    name = _name(group, inner, kind)
    if (name, kind) not in FORMATS:
        raise _unknown(state)
    found = FORMATS[name, kind]
    # Some keys stand beside the backbone's prefix: module.backbone.norm, module.head.fc.
    outer = prefix
    for part in sorted(found.inner, key=len, reverse=True):
        if part and prefix.endswith(part):
            outer = prefix.removesuffix(part)
            break
    beside = []
    for key, tensor in state.items():
        if key.startswith(prefix):
            continue
        short = key.removeprefix(outer)
        if key.startswith(outer) and short.startswith(found.outside):
            inner.setdefault(short, tensor)
        else:
            beside.append(key)
    return Detected(found, inner, prefix, tuple(beside))


def stages_of(state: State) -> int:
    """Return how many stages a state dict has, whatever its format calls them."""
    numbered = re.compile(r"(?:\w+\.)?(?:layers|stages)\.(\d+)\.")
    layers = {int(m[1]) for key in state if (m := numbered.match(key))}
    if layers:
        return max(layers) + 1
    # torchvision: features.{n} are the stem, stages and mergings in turn; stages have blocks.
    return len({m[1] for key in state if (m := re.match(r"features\.(\d+)\.\d+\.attn", key))})


def _anchor(state: State) -> tuple[str, str, str]:
    """Return the prefix, the group of formats, and the key of the patch embedding."""
    anchors: list[tuple[str, str, str]] = []
    for key in state:
        for patch, group in _PATCHES.items():
            if key == patch or key.endswith("." + patch):
                anchors.append((key.removesuffix(patch), group, key))
    if not anchors:
        raise _unknown(state)
    # A training checkpoint may hold several copies: the fullest, of equals the first.
    sizes = Counter({a[0]: sum(key.startswith(a[0]) for key in state) for a in anchors})
    return max(anchors, key=lambda anchor: sizes[anchor[0]])


def _kind(state: State, patch: Tensor) -> Kind:
    if patch.ndim == 5:
        return "video"
    return "swin_v2" if any(key.endswith(".logit_scale") for key in state) else "swin"


def _name(group: str, state: State, kind: Kind) -> str:
    """Tell the formats of one group apart."""
    if group == "official":
        if any(re.match(r"features\.\d+\.\d+\.", key) for key in state):
            return "torchvision"
        if kind == "video":
            return "video-official"
        merges = {m[1] for key in state if (m := re.match(r"layers\.(\d+)\.downsample\.", key))}
        # timm moved the merging to the start of the stage that follows it; stage 0 has none.
        moved = merges and "0" not in merges
        return "timm" if moved or any(key.startswith("head.fc.") for key in state) else "official"
    if group == "transformers":
        new = any(".attention.q_proj." in key for key in state)
        return "transformers" if new or kind == "swin_v2" else "transformers-old"
    if group == "mm":
        norms = {int(m[1]) for key in state if (m := re.match(r"norm(\d+)\.", key))}
        detector = bool(norms) and min(norms) < stages_of(state) - 1
        return "mmdet" if detector and kind == "swin" else "mmpretrain"
    return group


def _unknown(state: State) -> UsageError:
    keys = list(state)
    shown = ", ".join(repr(key) for key in keys[:3])
    text = "\n".join(keys)
    other = next((name for pattern, name in _OTHERS if re.search(pattern, text)), None)
    guess = f", which looks like {other}" if other else ""
    return UsageError(
        f"a state dict of {len(keys)} entries ({shown}, ...){guess}",
        "a Swin, Swin V2 or Video Swin in one of the formats " + ", ".join(NAMES),
        "check that the file is of such a model; pass its state dict, not an optimiser's",
    )
