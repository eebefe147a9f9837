"""A call made ready for the kernels: their arguments, and the room for its gradients."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vitrail.attention.call import KernelCall
from vitrail.attention.triton.launch import Tiles, launch, precision, programs

# Offsets beyond this do not fit into 32 bits.
_FARTHEST = 2**31 - 1


class Prepared:
    """What all kernels need to know of a call."""

    def __init__(self, call: KernelCall) -> None:
        self.call = call = replace(
            call,
            qkv=_side_by_side(call.qkv),
            pooled=None if call.pooled is None else _side_by_side(call.pooled),
        )
        self.batch, self.tokens, _, self.heads, self.head_dim = call.qkv.shape
        self.groups, self.queries = call.q_index.shape
        self.keys = call.k_index.shape[1]
        self.cells = 0 if call.pooled is None else call.pooled.shape[1]
        self.items = self.batch * self.groups
        self.tiles = Tiles.of(self.queries, self.keys, self.head_dim, call.qkv.itemsize)
        self._arguments = {
            **_tensors(call),
            **self._strides(),
            "scale": call.scale,
            "mask_value": call.mask_value / math.log(2),
            "heads": self.heads,
            "groups": self.groups,
            "queries": self.queries,
            "keys": self.keys,
            "tokens": self.tokens,
            "items": self.items,
            "HEAD_DIM": self.head_dim,
            "D": self.tiles.channels,
            "BLOCK_Q": self.tiles.block_q,
            "BLOCK_K": self.tiles.block_k,
            "KEY_TILES": self.tiles.key_tiles,
            "HIDE": call.mask_value == -math.inf,
            "WIDE": self._farthest() > _FARTHEST,
            "PRECISION": precision(call.qkv),
        }

    def _strides(self) -> dict[str, int]:
        qkv, pooled, bias = self.call.qkv, self.call.pooled, self.call.bias
        of_pooled = (0, 0, 0, 0) if pooled is None else pooled.stride()
        shared = bias is None or bias.shape[0] == 1
        return {
            **_numbered("qkv", qkv.stride()),
            **_numbered("pooled", of_pooled),
            "HEAD_STRIDE": qkv.stride(3),
            "POOLED_HEAD_STRIDE": of_pooled[3],
            "bias_group": 0 if shared else self.heads * self.queries * self.keys,
        }

    def _farthest(self) -> int:
        """Return the greatest offset, within one image, of all that a kernel touches."""
        width = self.heads * self.head_dim
        rows = [x for x in (self.call.qkv, self.call.pooled) if x is not None]
        farthest = [x.shape[1] * x.stride(1) + self.heads * x.stride(3) for x in rows]
        farthest.append(self.tokens * 3 * width)
        return max(*farthest, self.groups * self.keys * 2 * width)

    def programs(self, blocks: int, *, per_processor: int) -> int:
        """Return how many programs share the items of each head and block."""
        own_bias = self.call.bias is not None and self.call.bias.shape[0] > 1
        return programs(
            self.call.qkv, self.items, self.heads * blocks, per_processor=per_processor,
            groups=self.groups if own_bias else None,
        )  # fmt: skip

    def parts(self, share: int, blocks: int, *shape: int) -> Tensor:
        """Return room for what each program sums up by itself, by head."""
        return self.call.qkv.new_empty(share, blocks, *shape, self.heads, dtype=torch.float32)

    def launch(self, kernel: Any, blocks: int, share: int, **more: Any) -> None:
        """Start a kernel, each of whose programs has a head, a block and a share of the items."""
        arguments = {**self._arguments, "programs": share, "blocks": blocks, **more}
        count = self.heads * blocks * share
        if count > 0:
            launch(kernel, self.call.qkv, count, self.tiles.warps, arguments)


class RowGradients:
    """Room for the gradients of qkv and of pooled rows, and how they come there.

    ``"stores"``: straight to their places, as every key stands in one group. ``"adds"``: added up
    in float32, in no fixed order. ``"places"``: each group's by itself, added up afterwards in a
    fixed order, for deterministic mode.
    """

    def __init__(self, ready: Prepared) -> None:
        self.ready, call = ready, ready.call
        qkv, heads, head_dim = call.qkv, ready.heads, ready.head_dim
        self.write = "stores"
        if not call.unique_keys:
            ordered = torch.are_deterministic_algorithms_enabled()
            self.write = "places" if ordered else "adds"
        # A layer whose queries are its keys says so by one index for both: then each token is a
        # key, as each is a query. Else there may be tokens that none sees.
        all_written = call.unique_keys and _same(call.q_index, call.k_index)
        make = torch.empty if all_written or self.write != "stores" else torch.zeros
        self.d_qkv = make(ready.batch, ready.tokens, 3, heads, head_dim, dtype=qkv.dtype,
                          device=qkv.device)  # fmt: skip
        self.d_pooled = None
        if self.write == "stores":
            self.d_keys = self.d_qkv[:, :, 1:]
            if call.pooled is not None:
                self.d_pooled = torch.zeros_like(call.pooled, memory_format=torch.contiguous_format)
            return
        rows = ready.tokens + ready.cells
        if self.write == "places":
            rows = ready.groups * ready.keys
        make = torch.zeros if self.write == "adds" else torch.empty
        self.d_keys = make(ready.batch, rows, 2, heads, head_dim, dtype=torch.float32,
                           device=qkv.device)  # fmt: skip
        if call.pooled is not None:
            self.d_pooled = self.d_keys[:, ready.tokens :]

    def arguments(self) -> dict[str, Any]:
        """Return what ``keys_backward`` needs to write them."""
        of_pooled = (0, 0, 0) if self.d_pooled is None else self.d_pooled.stride()
        return {
            "d_qkv": self.d_qkv,
            "d_keys": self.d_keys,
            "d_pooled": self.d_pooled if self.write != "places" else None,
            **_numbered("d_keys", self.d_keys.stride()),
            **_numbered("d_pooled", of_pooled),
            "WRITE": self.write,
        }

    def whole(self) -> tuple[Tensor, Tensor | None]:
        """Return both gradients, once the kernels have run."""
        if self.write == "stores":
            return self.d_qkv, self.d_pooled
        ready, rows = self.ready, self.d_keys
        if self.write == "places":
            count = ready.tokens + ready.cells
            k_index = ready.call.k_index
            index = torch.where(k_index < 0, count, k_index).flatten()
            total = rows.new_zeros(ready.batch, count + 1, *rows.shape[2:])
            # index_add_ keeps to one order in deterministic mode; rows of no token were not
            # written and are added to a row of their own.
            rows = total.index_add_(1, index, rows)[:, :-1]
        self.d_qkv[:, :, 1:] = rows[:, : ready.tokens]
        return self.d_qkv, None if ready.call.pooled is None else rows[:, ready.tokens :]


class Sums:
    """Room for what every program adds up over its items, and their sums in a fixed order."""

    def __init__(self, ready: Prepared, share: int, blocks: int, *, wants_bias: bool) -> None:
        call = ready.call
        self.bias = self.d_factor = self.padding_kv = None
        if call.bias is not None and wants_bias:
            # With several tiles of queries a program adds to its part item by item.
            make = torch.empty if ready.tiles.query_tiles == 1 else torch.zeros
            shape = (share, ready.heads, *ready.tiles.scores)
            self.bias = make(shape, dtype=torch.float32, device=call.qkv.device)
        if call.logit_scale is not None and blocks == 1:
            self.d_factor = ready.parts(share, blocks)
        if call.padding_kv is not None:
            shape = (share, blocks, 2, ready.heads, ready.head_dim)
            self.padding_kv = call.qkv.new_empty(shape, dtype=torch.float32)

    def arguments(self) -> dict[str, Any]:
        """Return what ``keys_backward`` needs to write them."""
        return {
            "d_bias": self.bias,
            "d_logit_scale": self.d_factor,
            "d_padding_kv": self.padding_kv,
        }

    def bias_gradient(self, bias: Tensor | None) -> Tensor | None:
        """Return the gradient of the bias; a program with a group's own kept to that group."""
        if self.bias is None or bias is None:
            return None
        groups, _, queries, keys = bias.shape
        shape = (len(self.bias) // groups, groups, *self.bias.shape[1:])
        return self.bias.view(shape).sum(0)[..., :queries, :keys].contiguous()

    def padding_gradient(self) -> Tensor | None:
        """Return the gradient of padding: none for queries, which it never is."""
        if self.padding_kv is None:
            return None
        rows = self.padding_kv.sum((0, 1))
        return torch.cat((torch.zeros_like(rows[:1]), rows))


def _side_by_side(rows: Tensor) -> Tensor:
    """Return rows whose channels lie one behind the other, as the kernels read them."""
    return rows if rows.stride(-1) == 1 else rows.contiguous()


def _same(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are the same numbers in memory."""
    where = [(x.data_ptr(), x.shape, x.stride()) for x in (one, other)]
    return where[0] == where[1]


def _numbered(name: str, strides: tuple[int, ...]) -> dict[str, int]:
    return {f"{name}_batch": strides[0], f"{name}_token": strides[1], f"{name}_part": strides[2]}


def _tensors(call: KernelCall) -> dict[str, Tensor | None]:
    """Return the tensors that kernels read, by the names of their arguments."""
    rows: dict[str, Tensor | None] = {"qkv": call.qkv, "pooled": call.pooled}
    names = ("q_index", "k_index", "q_region", "k_region", "bias", "logit_scale", "padding_kv")
    found: dict[str, Tensor | None] = {name: getattr(call, name) for name in names}
    rows |= {name: None if x is None else x.contiguous() for name, x in found.items()}
    # The interpreter hands arrays to numpy, which refuses what needs a gradient.
    return {name: None if x is None else x.detach() for name, x in rows.items()}
