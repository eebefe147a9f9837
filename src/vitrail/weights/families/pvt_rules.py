"""The checkpoint formats of PVT, PVT v2 and MiT: what they call the parts, and a list of rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from vitrail.weights.families.base import Format, vitrail
from vitrail.weights.rules import AnyRule, Grids, flat_grid, fuse, rename

OURS = "stages.{i}.blocks.{j}"
# What the official code calls the parts of a block is what they are called here.
_PARTS = ("norm1", "norm2", "attn.q", "attn.kv", "attn.sr", "attn.norm", "attn.proj",
          "mlp.fc1", "mlp.fc2")  # fmt: skip


@dataclass(frozen=True)
class Names:
    """What a format calls the parts of a PVT; the defaults are the official code's.

    ``{i}`` is the stage, ``{j}`` the block.

    Args:
        patch: the convolution of a stage's patch embedding.
        patch_norm: its norm.
        first: both of the first stage, whose name may be another.
        block: a block.
        parts: our names of a block's parts -> theirs, where they differ.
        kv: keys' and values' projections, where they are two.
        dwconv: the convolution in a perceptron.
        position: a stage's table of positions.
        token: the last stage's token for the head.
        stage_norm: the norm that ends a stage.
        norm: the last norm.
        head: the head.
    """

    patch: str = "patch_embed{i+1}.proj"
    patch_norm: str = "patch_embed{i+1}.norm"
    first: tuple[str, str] = ("patch_embed1.proj", "patch_embed1.norm")
    block: str = "block{i+1}.{j}"
    parts: Mapping[str, str] = field(default_factory=dict)
    kv: tuple[str, str] | None = None
    dwconv: str = "mlp.dwconv.dwconv"
    position: str = "pos_embed{i+1}"
    token: str = "cls_token"
    stage_norm: str = "norm{i+1}"
    norm: str = "norm"
    head: str = "head"


def _shared(names: Names) -> list[AnyRule]:
    """Return the rules that both kinds have."""
    proj, norm = names.first
    rules: list[AnyRule] = [
        rename(f"{proj}.{{leaf}}", "embed.proj.{leaf}"),
        rename(f"{norm}.{{leaf}}", "embed.norm.{leaf}"),
        rename(f"{names.patch}.{{leaf}}", "stages.{i}.merge.proj.{leaf}"),
        rename(f"{names.patch_norm}.{{leaf}}", "stages.{i}.merge.norm.{leaf}"),
        rename(f"{names.head}.{{leaf}}", "head.{leaf}"),
    ]
    for part in _PARTS:
        if part == "attn.kv" and names.kv is not None:
            both = [f"{names.block}.{name}.{{leaf}}" for name in names.kv]
            rules.append(fuse(both, f"{OURS}.attn.kv.{{leaf}}"))
            continue
        theirs = names.parts.get(part, part)
        rules.append(rename(f"{names.block}.{theirs}.{{leaf}}", f"{OURS}.{part}.{{leaf}}"))
    return rules


def _first(names: Names, stages: int, grids: Grids | None) -> list[AnyRule]:
    """Return the rules of PVT: each stage has positions, the last one a token for the head."""
    rules = _shared(names)
    for stage in range(stages):
        theirs = names.position.replace("{i+1}", str(stage + 1)).replace("{i}", str(stage))
        table = f"stages.{stage}.position.table"
        if stage == stages - 1:
            prefix = f"stages.{stage}.prefix"
            rules.append(flat_grid(theirs, table, grids, prefix=f"{prefix}.position"))
            rules.append(rename(names.token.replace("{i}", str(stage)), f"{prefix}.tokens"))
        rules.append(flat_grid(theirs, table, grids))
    return [*rules, rename(f"{names.norm}.{{leaf}}", "norm.{leaf}")]


def _second(names: Names, stages: int, grids: Grids | None) -> list[AnyRule]:
    """Return the rules of PVT v2: a convolution in each perceptron, a norm after each stage."""
    del stages, grids
    return [
        *_shared(names),
        rename(f"{names.block}.{names.dwconv}.{{leaf}}", f"{OURS}.mlp.dwconv.{{leaf}}"),
        rename(f"{names.stage_norm}.{{leaf}}", "stages.{i}.norm.{leaf}"),
    ]


OFFICIAL = Names()
TIMM = Names(
    patch="stages.{i}.downsample.proj",
    patch_norm="stages.{i}.downsample.norm",
    first=("patch_embed.proj", "patch_embed.norm"),
    block="stages.{i}.blocks.{j}",
    dwconv="mlp.dwconv",
    stage_norm="stages.{i}.norm",
)
TRANSFORMERS = Names(
    patch="encoder.patch_embeddings.{i}.projection",
    patch_norm="encoder.patch_embeddings.{i}.layer_norm",
    first=("encoder.patch_embeddings.0.projection", "encoder.patch_embeddings.0.layer_norm"),
    block="encoder.block.{i}.{j}",
    parts={
        "norm1": "layer_norm_1",
        "norm2": "layer_norm_2",
        "attn.q": "attention.self.query",
        "attn.sr": "attention.self.sequence_reduction",
        "attn.norm": "attention.self.layer_norm",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "mlp.dense1",
        "mlp.fc2": "mlp.dense2",
    },
    kv=("attention.self.key", "attention.self.value"),
    position="encoder.patch_embeddings.{i}.position_embeddings",
    token="encoder.patch_embeddings.{i}.cls_token",
    norm="encoder.layer_norm",
    head="classifier",
)
TRANSFORMERS_V2 = replace(
    TRANSFORMERS,
    patch="encoder.layers.{i}.patch_embedding.proj",
    patch_norm="encoder.layers.{i}.patch_embedding.layer_norm",
    first=("encoder.layers.0.patch_embedding.proj", "encoder.layers.0.patch_embedding.layer_norm"),
    block="encoder.layers.{i}.blocks.{j}",
    parts={
        **TRANSFORMERS.parts,
        "attn.q": "attention.query",
        "attn.sr": "attention.spatial_reduction",
        "attn.norm": "attention.layer_norm",
        "attn.proj": "attention.proj",
    },
    kv=("attention.key", "attention.value"),
    stage_norm="encoder.layers.{i}.layer_norm",
)
SEGFORMER = Names(
    patch="stages.{i}.patch_embeddings.proj",
    patch_norm="stages.{i}.patch_embeddings.layer_norm",
    first=("stages.0.patch_embeddings.proj", "stages.0.patch_embeddings.layer_norm"),
    block="stages.{i}.blocks.{j}",
    parts={
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.q": "attention.q_proj",
        "attn.sr": "attention.sequence_reduction.sequence_reduction",
        "attn.norm": "attention.sequence_reduction.layer_norm",
        "attn.proj": "attention.o_proj",
    },
    kv=("attention.k_proj", "attention.v_proj"),
    stage_norm="stages.{i}.layer_norm",
    head="classifier",
)
# Before transformers 5.24, and on the hub: what its save_pretrained still writes.
SEGFORMER_OLD = Names(
    patch="encoder.patch_embeddings.{i}.proj",
    patch_norm="encoder.patch_embeddings.{i}.layer_norm",
    first=("encoder.patch_embeddings.0.proj", "encoder.patch_embeddings.0.layer_norm"),
    block="encoder.block.{i}.{j}",
    parts={**TRANSFORMERS.parts, "attn.sr": "attention.self.sr"},
    kv=TRANSFORMERS.kv,
    stage_norm="encoder.layer_norm.{i}",
    head="classifier",
)
# All of its norms have the one eps of its settings; the official code has 1e-5 in embeddings.
_ONE_EPS = {"embed_norm_eps": 1e-6}
# Patches of the first version do not overlap: what they do not divide is left over (ADR 7).
_FLOOR: dict[str, Any] = {"patch_fit": "floor"}
_BLOCKS = r"block(\d+)\."
FIRST = (
    Format("official", "pvt", partial(_first, OFFICIAL), ("", "backbone."), stage=_BLOCKS,
           fields=_FLOOR),
    Format("transformers", "pvt", partial(_first, TRANSFORMERS), ("pvt.", ""), ("classifier.",),
           stage=r"encoder\.block\.(\d+)\.", fields=_ONE_EPS | _FLOOR),
    vitrail("pvt"),
)  # fmt: skip
SECOND = (
    Format("official", "pvt_v2", partial(_second, OFFICIAL), ("", "backbone."), stage=_BLOCKS),
    Format("timm", "pvt_v2", partial(_second, TIMM)),
    Format("transformers", "pvt_v2", partial(_second, TRANSFORMERS_V2), ("pvt_v2.", ""),
           ("classifier.",), stage=r"encoder\.layers\.(\d+)\.", fields=_ONE_EPS),
    vitrail("pvt_v2"),
)  # fmt: skip
# transformers' SegFormer has torch's default eps in every norm, whatever its settings say.
_TORCH_EPS = {"norm_eps": 1e-5, "embed_norm_eps": 1e-5}
MIT = (
    Format("official", "mit", partial(_second, OFFICIAL), ("", "backbone.", "encoder."),
           stage=_BLOCKS),
    Format("transformers", "mit", partial(_second, SEGFORMER), ("segformer.", ""),
           ("classifier.",), stage=r"stages\.(\d+)\.", fields=_TORCH_EPS),
    Format("transformers-old", "mit", partial(_second, SEGFORMER_OLD), ("segformer.", ""),
           ("classifier.",), stage=r"encoder\.block\.(\d+)\.", fields=_TORCH_EPS),
    vitrail("mit"),
)  # fmt: skip
