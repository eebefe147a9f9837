"""The fewest bytes that attention by groups moves: what a memory-bound kernel is measured by."""

from typing import NamedTuple


class Traffic(NamedTuple):
    """Bytes that must leave or reach a device's memory, each number once."""

    forward: int
    backward: int


def least_bytes(
    batch: int,
    tokens: int,
    heads: int,
    head_dim: int,
    itemsize: int,
    *,
    groups: int,
    queries: int,
    keys: int,
    cells: int = 0,
    bias: int = 0,
    bias_sets: int = 1,
) -> Traffic:
    """Return what one call moves at least, whoever computes it, forward and backward.

    Forward: q, k, v and pooled rows in, answers and logarithms of sums out. Backward: those rows,
    the gradients of answers and the logarithms in, the rows' gradients out. Places and the bias
    count once.

    Args:
        batch: images.
        tokens: of an image.
        heads: attention heads.
        head_dim: channels of a head.
        itemsize: bytes of a number of q, k and v.
        groups: of an image.
        queries: places of queries in a group.
        keys: places of keys in a group.
        cells: pooled keys of an image.
        bias: bytes of a number of the bias; 0: none.
        bias_sets: 1, or as many as there are groups.
    Returns:
        Bytes; over a measured copy bandwidth (of reads and writes together) they are a floor in
        time.
    """
    row = batch * heads * head_dim * itemsize
    read = (3 * tokens + 2 * cells) * row
    sums = batch * groups * heads * queries * 4
    table = bias_sets * heads * queries * keys * bias
    index = groups * (queries + keys) * 4
    return Traffic(
        forward=read + tokens * row + sums + table + index,
        backward=2 * read + tokens * row + sums + 2 * table + index,
    )
