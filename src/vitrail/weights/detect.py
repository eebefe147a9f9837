"""Which format a state dict is in, from its keys alone, whatever prefix they carry."""

import re
from collections import Counter
from dataclasses import dataclass

from vitrail.errors import UsageError
from vitrail.weights.families import FAMILIES, Family
from vitrail.weights.formats import FORMATS, NAMES, Format
from vitrail.weights.rules import AnyRule, Grids, State

# What else a file may be: a key of another family, what it is.
_OTHERS = (
    (r"blocks\.\d+\.attn\.qkv\.weight|cls_token", "a plain vision transformer"),
    (r"layer\d\.\d+\.conv1\.weight|layer\d\.\d+\.bn1", "a ResNet"),
    (r"stages\.\d+\.blocks\.\d+\.(gamma|dwconv|conv_dw)|downsample_layers", "a ConvNeXt"),
    (r"pos_embed\d|block\d\.\d+\.attn\.(q|kv)\.", "a Pyramid Vision Transformer"),
    (r"spatial_mlp", "a Swin-MLP"),
    (r"attn\.meta_mlp", "timm's swinv2_cr, another model than Swin V2"),
    (r"optimizer|param_groups", "the state of an optimiser"),
)
_CHILDREN = re.compile(r"((?:.*\.)?body\.)1\.0\.attn\.relative_position_bias_table")
_ANCHORS = tuple(dict.fromkeys(anchor for family in FAMILIES for anchor in family.anchors))


@dataclass(frozen=True)
class Detected:
    """A state dict whose format is known.

    Args:
        family: the family of its model.
        format: the format.
        state: its keys without prefixes.
        prefix: what stood before all of them.
        beside: keys that belong to other parts of a larger model (a neck, a detection head).
    """

    family: Family
    format: Format
    state: State
    prefix: str
    beside: tuple[str, ...]

    @property
    def stages(self) -> int:
        """Number of stages."""
        pattern = re.compile(self.format.stage)
        return len({m[1] for key in self.state if (m := pattern.match(key))})

    def rules(self, grids: Grids | None = None) -> list[AnyRule]:
        """Return the rules of its format.

        Args:
            grids: grids of its position tables, by our key, where they are known.
        """
        known = {**(grids or {}), **self.format.layout(self.state)}
        return self.format.rules(self.stages, known)


def detect(state: State, *, like: Family | None = None) -> Detected:
    """Recognise the format of a state dict.

    Args:
        state: any mapping of names to tensors.
        like: the family that is tried first: some share every name.
    Returns:
        The format, and the keys without prefixes.
    Raises:
        UsageError: not a model in any known format.
    """
    if not state:
        raise UsageError("an empty state dict", "the weights of a Swin", "pass model.state_dict()")
    state = _with_features(state)
    prefix = _prefix(state)
    inner = {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
    family, name = _recognised(inner, like)
    if family is None or name is None:
        raise _unknown(state)
    found = FORMATS[name, family.kind]
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
    return Detected(family, found, inner, prefix, tuple(beside))


def _recognised(state: State, like: Family | None) -> tuple[Family | None, str | None]:
    for family in (*([like] if like else []), *FAMILIES):
        recognise = (family is like and family.recognise_named) or family.recognise
        name = recognise(state)
        if name is not None and (name, family.kind) in FORMATS:
            return family, name
    return None, None


def _with_features(state: State) -> State:
    """Restore a torchvision Swin's own names: its detectors drop ``features.`` before its stages.

    ``BackboneWithFPN`` takes the children of ``model.features`` by name.
    """
    bare = next((m for key in state if (m := _CHILDREN.fullmatch(key))), None)
    if bare is None:
        return state
    start = bare[1]
    inner = re.compile(re.escape(start) + r"\d+\.")
    return {
        start + "features." + key.removeprefix(start) if inner.match(key) else key: tensor
        for key, tensor in state.items()
    }


def _prefix(state: State) -> str:
    """Return what stands before the key of the patch embedding."""
    prefixes: list[str] = []
    for key in state:
        for anchor in _ANCHORS:
            if key == anchor or key.endswith("." + anchor):
                prefixes.append(key.removesuffix(anchor))
    if not prefixes:
        raise _unknown(state)
    # A training checkpoint may hold several copies: the fullest, of equals the first.
    sizes = Counter({p: sum(key.startswith(p) for key in state) for p in prefixes})
    return max(prefixes, key=lambda prefix: sizes[prefix])


def _unknown(state: State) -> UsageError:
    keys = list(state)
    shown = ", ".join(repr(key) for key in keys[:3])
    text = "\n".join(keys)
    other = next((name for pattern, name in _OTHERS if re.search(pattern, text)), None)
    guess = f", which looks like {other}" if other else ""
    titles = [family.title for family in FAMILIES]
    return UsageError(
        f"a state dict of {len(keys)} entries ({shown}, ...){guess}",
        f"a {', '.join(titles[:-1])} or {titles[-1]} in one of the formats " + ", ".join(NAMES),
        "check that the file is of such a model; pass its state dict, not an optimiser's",
    )
