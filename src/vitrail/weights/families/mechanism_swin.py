"""One body with several mechanisms: our own models, which no other format holds."""

from typing import Any

from vitrail.models import BackboneConfig
from vitrail.models.mechanism_swin import MechanismSwin, MechanismSwinConfig
from vitrail.weights.families.base import Family, Hints, vitrail
from vitrail.weights.families.shapes import depths_of, has, needed, outputs_of
from vitrail.weights.rules import Reading, State

_BIAS = r"\.attn\.bias\.mlp\."


def _recognise(state: State) -> str | None:
    """Return our format, for a bias by offset without what Swin V2 has besides."""
    ours = "embed.proj.weight" in state and has(state, _BIAS)
    return "vitrail" if ours and not has(state, r"\.logit_scale$") else None


def _infer(reading: Reading, hints: Hints) -> BackboneConfig:
    """Return the configuration that the shapes imply, with the given model's mechanism."""
    state, like = reading.state, hints.like
    patch = state["embed.proj.weight"]
    axes, depths = patch.ndim - 2, depths_of(state)
    biases = [needed(state, f"stages.{i}.blocks.0.attn.bias.mlp.2.weight")
              for i in range(len(depths))]  # fmt: skip
    reduction = state.get("stages.1.merge.reduction.weight")
    neighbours = 2**axes if reduction is None else 2 * reduction.shape[1] // reduction.shape[0]
    rows = state[needed(state, "stages.0.blocks.0.mlp.fc1.weight")].shape[0]
    own: dict[str, Any] = {"window": (7,) * axes}
    if isinstance(like, MechanismSwinConfig) and like.axes == axes:
        own = {name: getattr(like, name) for name in ("mechanism", "window", "sparse", "block")}
    return MechanismSwinConfig(
        in_channels=patch.shape[1],
        dim=patch.shape[0],
        patch=tuple(patch.shape[2:]),
        depths=depths,
        num_heads=tuple(state[key].shape[0] for key in biases),
        merge=(1, 2, 2) if axes == 3 and neighbours == 4 else (2,) * axes,
        mlp_ratio=rows / patch.shape[0],
        qkv_bias=has(state, r"\.attn\.qkv\.bias$"),
        embed_norm="embed.norm.weight" in state,
        **outputs_of(state) | own,
    )


def _holds(config: BackboneConfig) -> bool:
    return isinstance(config, MechanismSwinConfig)


FAMILIES = (
    Family(
        kind="tiny",
        title="model of one mechanism",
        model=MechanismSwin,
        formats=(vitrail("tiny"),),
        anchors=("embed.proj.weight",),
        recognise=_recognise,
        infer=_infer,
        identity=("mechanism", "dim", "depths", "num_heads", "window", "sparse", "block", "patch",
                  "merge", "mlp_ratio", "out_indices"),
        advised=("mechanism", "dim", "depths", "num_heads", "patch", "merge", "mlp_ratio"),
        holds=_holds,
    ),
)  # fmt: skip
