"""Put fused modules in the place of a model's own."""

from collections import Counter
from typing import TypeGuard

from torch import nn

from vitrail.errors import UsageError
from vitrail.fused.blocks import (
    FusedBlock,
    FusedPostNormBlock,
    PostNormWindowBlock,
    ReductionBlock,
    WindowBlock,
)
from vitrail.fused.memo import FixedBias, Memo
from vitrail.fused.modules import (
    ChannelsFirst,
    PackedConvolution,
    PackedDepthwiseMlp,
    PackedLinear,
    PackedMlp,
    PackedNorm,
    PackedPatchEmbed,
    linear_of,
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
    FocalAttention,
    GroupedAttention,
    Mlp,
    NearestAttention,
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
    for parent in list(model.modules()):
        if isinstance(parent, Attend):
            parent.backend = "cpp"
        for name, child in list(parent.named_children()):
            served = type(child) is PreNormBlock and type(child.mlp) in (Mlp, DepthwiseMlp)
            if served and known_parts(child):
                setattr(parent, name, _fused_block(child))  # type: ignore[arg-type]
            elif type(child) is PostNormBlock and type(child.mlp) is Mlp and known_parts(child):
                strips = of_one_type(child) and _goes_in_strips(child.attn)
                kind = PostNormWindowBlock if strips else FusedPostNormBlock
                setattr(parent, name, kind(child))
            elif type(child) in (PatchEmbed, ConvMerging) and _of_all_channels(child.proj):  # type: ignore[arg-type]
                setattr(parent, name, PackedPatchEmbed(child))  # type: ignore[arg-type]
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


_HOMES = (PackedLinear.__module__, FusedBlock.__module__)


def _fused_block(block: PreNormBlock) -> FusedBlock:
    """Return a block that computes the same, with its second branch in one piece."""
    attn, norm, whole = block.attn, block.norm1, of_one_type(block)
    if _reads_only_qkv(attn):
        attn.qkv = PackedLinear(attn.qkv, norm)  # type: ignore[arg-type]
        norm = nn.Identity()
    mlp: PackedMlp | PackedDepthwiseMlp
    if isinstance(block.mlp, DepthwiseMlp):
        mlp = PackedDepthwiseMlp(block.mlp, block.norm2)
    else:
        mlp = PackedMlp(block.mlp, block.norm2, residual=True)
    if whole and _goes_to_a_grid(attn):
        return ReductionBlock(block.norm1, attn, mlp)
    if whole and _goes_in_strips(attn) and isinstance(mlp, PackedMlp):
        return WindowBlock(block.norm1, attn, mlp, normed=norm is not block.norm1)
    return FusedBlock(norm, attn, mlp)


def _goes_in_strips(attn: nn.Module) -> TypeGuard[WindowAttention]:
    """Tell whether a block of this attention can: windows, and a projection that is packed."""
    return (
        type(attn) in (WindowAttention, CosineWindowAttention)
        and type(attn.proj) is nn.Linear
        and type(attn.proj_drop) in DROPS
    )


def _goes_to_a_grid(attn: nn.Module) -> TypeGuard[ReductionAttention]:
    """Tell whether tokens attend to what a convolution makes of them, or to themselves, plainly."""
    if type(attn) is not ReductionAttention or isinstance(attn.pattern, Pooled):
        return False
    linears = all(type(layer) is nn.Linear for layer in (attn.q, attn.kv, attn.proj))
    plain = type(attn.act) is nn.Identity and type(attn.proj_drop) in DROPS
    return linears and plain and (attn.sr is None or _makes_cells(attn.sr, attn.norm))


def _of_all_channels(
    convolution: nn.Module | None,
) -> TypeGuard[nn.Conv1d | nn.Conv2d | nn.Conv3d]:
    """Tell whether what a convolution looks at can be cut out and projected."""
    return plain_convolution(convolution) and convolution.groups == 1


def _makes_cells(convolution: nn.Module, norm: nn.Module | None) -> bool:
    """Tell whether a convolution goes from cell to cell, with a norm behind it."""
    return (
        _of_all_channels(convolution)
        and convolution.stride == convolution.kernel_size
        and set(convolution.padding) == {0}
        and type(norm) is nn.LayerNorm
    )


def _reads_only_qkv(attn: nn.Module) -> bool:
    """Tell whether a layer's input goes nowhere but through ``qkv``, so that a norm may join it.

    Visible padding is made after the norm, which it must not see.
    """
    if type(attn) is WindowAttention:
        return attn.pattern.padding == "masked"
    # Kinds of it differ in the order of tokens; a user's own forward may read the input too.
    return isinstance(attn, GroupedAttention) and type(attn).forward is GroupedAttention.forward


def _pack_linears(module: nn.Module) -> None:
    """Pack the linear layers of an attention or merging layer, and remember what is constant."""
    if isinstance(module, WindowAttention | GroupedAttention):
        names = ("qkv", "proj")
        if isinstance(module, CosineWindowAttention):
            if type(module.qkv) is nn.Linear:  # its bias stands beside it
                qkv = PackedLinear(linear_of(module.qkv.weight, module.padding_vector()))
                module.qkv = qkv  # type: ignore[assignment]
                module.project = qkv.__call__  # type: ignore[method-assign]
            module.temperature = Memo(module.temperature)  # type: ignore[method-assign]
        if isinstance(module, WindowAttention):
            module.places = Memo(module.places)  # type: ignore[method-assign]
            module.bias = FixedBias(module.bias)  # type: ignore[assignment]
        else:
            module.who = Memo(module.who)  # type: ignore[method-assign]
            module.pair_bias = Memo(module.pair_bias)  # type: ignore[method-assign]
    elif isinstance(module, ReductionAttention):
        names = ("q", "kv", "proj")
        module.who = Memo(module.who)  # type: ignore[method-assign]
        if _of_all_channels(module.sr) and isinstance(module.pattern, Reduced):
            module.sr = ChannelsFirst(PackedConvolution(module.sr))  # type: ignore[assignment]
    elif isinstance(module, FocalAttention | NearestAttention):
        names = ("qkv", "proj")
        if type(module.qkv) is nn.Linear:
            dim, bias = module.qkv.in_features, module.qkv.bias
            bias = None if bias is None else bias[dim:]
            module.kv = PackedLinear(linear_of(module.qkv.weight[dim:], bias))
            module.project_cells = module.kv.__call__  # type: ignore[method-assign]
        module.keys = Memo(module.keys)  # type: ignore[method-assign]
        # A number for each pair that meets: up to a gigabyte in all for an input of 1024 pixels.
        module.position_bias = Memo(module.position_bias, 1, most=2)  # type: ignore[method-assign]
        module.who = Memo(module.who, 1)  # type: ignore[method-assign]
    elif isinstance(module, PatchMerging) and known_merging(module):
        module.reduction = PackedLinear(module.reduction, module.norm)  # type: ignore[assignment]
        module.norm = nn.Identity()  # type: ignore[assignment]
        return
    elif isinstance(module, PatchMerging | PostNormPatchMerging):
        names = ("reduction",)
    else:
        return
    for name in names:
        linear = getattr(module, name)
        if type(linear) is nn.Linear:
            setattr(module, name, PackedLinear(linear))
