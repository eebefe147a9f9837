"""Put fused modules in the place of a model's own."""

from collections import Counter
from typing import TypeGuard

from torch import nn

from vitrail.errors import UsageError
from vitrail.fused.inference.attention import PackedAttention, packs
from vitrail.fused.inference.batch_norms import fold_batch_norms
from vitrail.fused.inference.blocks import (
    FusedBlock,
    FusedPostNormBlock,
    PostNormWindowBlock,
    ReductionBlock,
    WindowBlock,
)
from vitrail.fused.inference.layers import (
    ChannelsFirst,
    PackedConvolution,
    PackedDepthwiseMlp,
    PackedLinear,
    PackedMlp,
    PackedNorm,
    PackedPatchEmbed,
)
from vitrail.fused.parts import (
    DROPS,
    known_merging,
    known_parts,
    of_one_type,
    plain_convolution,
)
from vitrail.layers import (
    Attend,
    ConvMerging,
    CosineWindowAttention,
    DepthwiseMlp,
    GroupedAttention,
    Mlp,
    PatchEmbed,
    PatchMerging,
    PostNormBlock,
    PostNormPatchMerging,
    PreNormBlock,
    ReductionAttention,
    WindowAttention,
)
from vitrail.patterns import Pooled, Reduced


def fuse(model: nn.Module) -> Counter[str]:
    """Replace a model's blocks and linear layers by fused ones, in place.

    The model is for inference from then on, in the type that its weights have now.

    Args:
        model: in evaluation mode, on the CPU.
    Returns:
        How many modules of each kind were made.
    Raises:
        UsageError: a type that the kernel does not serve, or no compiler.
    """
    model.register_state_dict_pre_hook(_refuse_state)
    fold_batch_norms(model)
    for parent in list(model.modules()):
        if isinstance(parent, Attend):
            parent.backend = "cpp"
        for name, child in list(parent.named_children()):
            served = type(child) is PreNormBlock and type(child.mlp) in (Mlp, DepthwiseMlp)
            if served and known_parts(child):
                setattr(parent, name, _fused_block(child))  # type: ignore[arg-type]
            elif type(child) is PostNormBlock and type(child.mlp) is Mlp and known_parts(child):
                setattr(parent, name, _post_norm_block(child))
            elif type(child) in (PatchEmbed, ConvMerging) and _of_all_channels(child.proj):  # type: ignore[arg-type]
                setattr(parent, name, PackedPatchEmbed(child))  # type: ignore[arg-type]
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if packs(child):
                setattr(parent, name, PackedAttention(child))
    for module in list(model.modules()):
        _pack_linears(module)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.LayerNorm and child.weight is not None and child.weight.ndim == 1:
                setattr(parent, name, PackedNorm(child))
    return Counter(type(m).__name__ for m in model.modules() if type(m).__module__ in _HOMES)


def _refuse_state(model: nn.Module, prefix: str, keep_vars: bool) -> None:
    """Refuse to hand out the few weights that are not packed as if they were all.

    Raises:
        UsageError: always.
    """
    del prefix, keep_vars
    raise UsageError(
        f"weights of a {type(model).__name__} that optimize made, packed for this machine",
        "those of the model that it was made from",
        "save that one: vitrail.weights.save(model, 'model.safetensors') or model.state_dict(); "
        "and keep the copy outside of modules that are saved",
    )


_HOMES = (PackedLinear.__module__, PackedAttention.__module__, FusedBlock.__module__)


def _fused_block(block: PreNormBlock) -> FusedBlock:
    """Return a block that computes the same, with its second branch in one piece."""
    attn, norm, whole = block.attn, block.norm1, of_one_type(block)
    mlp: PackedMlp | PackedDepthwiseMlp
    if isinstance(block.mlp, DepthwiseMlp):
        mlp = PackedDepthwiseMlp(block.mlp, block.norm2)
    else:
        mlp = PackedMlp(block.mlp, block.norm2, residual=True)
    if whole and _goes_to_a_grid(attn):
        return ReductionBlock(block.norm1, attn, mlp)
    if not packs(attn):
        return FusedBlock(norm, attn, mlp)
    tiles, joined = whole and _goes_in_tiles(attn), _reads_only_qkv(attn)
    packed = PackedAttention(attn, norm if joined else None)
    if tiles and isinstance(mlp, PackedMlp):
        return WindowBlock(norm, packed, mlp, normed=joined)
    return FusedBlock(nn.Identity() if joined else norm, packed, mlp)


def _post_norm_block(block: PostNormBlock) -> FusedPostNormBlock:
    """Return a block that computes the same, with each norm and sum in one pass."""
    attn, whole = block.attn, of_one_type(block)
    if not packs(attn):
        return FusedPostNormBlock(block)
    tiles = whole and _goes_in_tiles(attn)
    block.attn = PackedAttention(attn)
    return (PostNormWindowBlock if tiles else FusedPostNormBlock)(block)


def _goes_in_tiles(attn: GroupedAttention) -> bool:
    """Return whether a block of this attention can: windows, and a projection that is packed."""
    known = type(attn) in (WindowAttention, CosineWindowAttention)
    return known and type(attn.proj) is nn.Linear


def _goes_to_a_grid(attn: nn.Module) -> TypeGuard[ReductionAttention]:
    """Return whether tokens attend to a convolution's cells or to themselves, and nothing else."""
    if type(attn) is not ReductionAttention or isinstance(attn.pattern, Pooled):
        return False
    linears = all(type(layer) is nn.Linear for layer in (attn.q, attn.kv, attn.proj))
    plain = type(attn.act) is nn.Identity and type(attn.proj_drop) in DROPS
    return linears and plain and (attn.sr is None or _makes_cells(attn.sr, attn.norm))


def _of_all_channels(
    convolution: nn.Module | None,
) -> TypeGuard[nn.Conv1d | nn.Conv2d | nn.Conv3d]:
    """Return whether a convolution's patches can be cut out and projected."""
    return plain_convolution(convolution) and convolution.groups == 1


def _makes_cells(convolution: nn.Module, norm: nn.Module | None) -> bool:
    """Return whether a convolution goes from cell to cell, with a norm behind it."""
    return (
        _of_all_channels(convolution)
        and convolution.stride == convolution.kernel_size
        and set(convolution.padding) == {0}
        and type(norm) is nn.LayerNorm
    )


def _reads_only_qkv(attn: GroupedAttention) -> bool:
    """Return whether a layer's input goes nowhere but through ``qkv``, so that a norm may join it.

    Visible padding is made after the norm, which it must not see; cells are pooled before it.
    """
    return type(attn) in (GroupedAttention, WindowAttention) and attn.pattern.padding == "masked"


def _pack_linears(module: nn.Module) -> None:
    """Pack the linear layers of an attention or merging layer."""
    if isinstance(module, GroupedAttention):
        # What reads the weights of ``qkv`` beside calling it keeps them.
        reads = type(module).project is not GroupedAttention.project or hasattr(module, "pool")
        names = ("proj",) if reads else ("qkv", "proj")
    elif isinstance(module, ReductionAttention):
        names = ("q", "kv", "proj")
        if _of_all_channels(module.sr) and isinstance(module.pattern, Reduced):
            module.sr = ChannelsFirst(PackedConvolution(module.sr))  # type: ignore[assignment]
    elif isinstance(module, PatchMerging) and known_merging(module):
        module.reduction = PackedLinear(module.reduction, module.norm)  # type: ignore[assignment]
        module.norm = nn.Identity()  # type: ignore[assignment]
        return
    elif isinstance(module, PatchMerging | PostNormPatchMerging):
        names = ("reduction",)
    else:
        return
    for name in names:
        linear = getattr(module, name, None)
        if type(linear) is nn.Linear:
            setattr(module, name, PackedLinear(linear))
