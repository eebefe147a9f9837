"""Numbers for each head: how far it looks, how widely, and what it spends on nothing.

Source: Dosovitskiy et al. 2021, An Image is Worth 16x16 Words, arXiv 2010.11929, figure 7, for the
attention distance. Differs in that keys may be pooled, masked or padding.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitrail.explain.pieces import Piece, pieces
from vitrail.explain.trace import BlockTrace
from vitrail.patterns import Focal
from vitrail.shapes import Size


def attention_stats(block: BlockTrace) -> Float[Tensor, "heads 5"]:
    """Return five numbers for each head of a block, each a mean over real queries.

    In this order:

    - attention distance, in input samples: how far a key lies from its query, weighted by the
      attention among keys that have a place. A pooled key lies at the centre of its box; prefix
      tokens and padding have no place, as queries or as keys.
    - entropy, in nats, of the attention among the keys that the pattern allows, padding that a
      model lets tokens see included.
    - self: what a token gives to its own place.
    - padding: what goes to padding, allowed or not.
    - wrap-around: what goes to tokens that are neighbours only through a roll. It is zero unless
      a model lets it through: a finite ``mask_value``, or Focal's rolled halo.

    Args:
        block: what was captured; its attention is walked through in pieces.
    """
    total = torch.zeros(block.heads, 5, dtype=torch.float64)
    count = torch.zeros(block.heads, 5, dtype=torch.float64)
    for piece in pieces(block):
        real = (piece.q_index >= 0)[:, None]
        distance, placed = _distance(block, piece)
        key = piece.k_index[:, None, None]
        allowed = _allowed(block, piece)[:, None]
        own = (key == piece.q_index[:, None, :, None]) & (key >= 0)
        wrapped = _wrapped(block, piece)[:, None]
        values = (
            (distance, placed),
            (_entropy(piece.weights * allowed), real),
            ((piece.weights * own).sum(-1), real),
            ((piece.weights * (key < 0)).sum(-1), real),
            ((piece.weights * wrapped).sum(-1), real),
        )
        for i, (value, counts) in enumerate(values):
            total[:, i] += torch.where(counts, value, 0).sum((0, 2))
            count[:, i] += counts.expand_as(value).sum((0, 2))
    return (total / count.clamp(min=1)).float()


def attention_distance(block: BlockTrace) -> Float[Tensor, "heads"]:
    """Return how far each head looks, in input samples; see ``attention_stats``."""
    return attention_stats(block)[:, 0]


def entropy(block: BlockTrace) -> Float[Tensor, "heads"]:
    """Return how widely each head spreads its attention, in nats; see ``attention_stats``.

    ``exp`` of it is the number of keys that a head uses, if it used all of them equally.
    """
    return attention_stats(block)[:, 1]


def _entropy(p: Float[Tensor, "*rows keys"]) -> Float[Tensor, "*rows"]:
    p = p / p.sum(-1, keepdim=True).clamp(min=torch.finfo(p.dtype).tiny)
    return -torch.special.xlogy(p, p).sum(-1)


def _distance(
    block: BlockTrace, piece: Piece
) -> tuple[Float[Tensor, "groups heads queries"], Bool[Tensor, "groups heads queries"]]:
    """Return the mean distance of the keys of each query, and for which queries there is one."""
    prefix = block.pattern.prefix
    query_at = _places(piece.q_index - prefix, block.spatial)
    key_at = _places(piece.k_index - prefix, block.spatial)
    has_place = piece.k_index >= prefix
    if block.groups.k_box is not None:
        # A token's own box is that token, so that boxes serve all keys that have one.
        box = block.groups.k_box[piece.groups].unflatten(-1, (-1, 2)).to(torch.float64)
        boxed = box[..., 0, 1] > box[..., 0, 0]
        centre = (box[..., 0] + box[..., 1] - 1) / 2
        key_at = torch.where(boxed[..., None], centre, key_at)
    stride = torch.tensor(block.stride, dtype=torch.float64)
    squared = torch.zeros((), dtype=torch.float64)
    for axis, step in enumerate(stride):
        apart = (query_at[..., :, None, axis] - key_at[..., None, :, axis]) * step
        squared = squared + apart.square()
    weights = piece.weights * has_place[:, None, None]
    given = weights.sum(-1)
    mean = (weights * squared.sqrt()[:, None]).sum(-1) / given.clamp(min=1e-300)
    return mean, (piece.q_index >= prefix)[:, None] & (given > 0)


def _places(index: Int[Tensor, "*tokens"], spatial: Size) -> Float[Tensor, "*tokens axes"]:
    """Return where each token of a row-major grid lies, in tokens."""
    places: list[Tensor] = []
    for n in reversed(spatial):
        places.insert(0, index % n)
        index = index // n
    return torch.stack(places, dim=-1).to(torch.float64)


def _allowed(block: BlockTrace, piece: Piece) -> Bool[Tensor, "groups queries keys"]:
    q_region, k_region = block.groups.labels
    label = q_region[piece.groups, piece.queries]
    return label[:, :, None] == k_region[piece.groups][:, None]


def _wrapped(block: BlockTrace, piece: Piece) -> Bool[Tensor, "groups #queries keys"]:
    """Return which pairs of real tokens are in one group only because the grid was rolled.

    The regions of a shifted window hold such pairs apart. Focal's rolled halo lets them see each
    other: there it is the keys that lie beyond the margin of the query's window.
    """
    real = (piece.k_index >= 0)[:, None]
    pattern = block.pattern
    if not (isinstance(pattern, Focal) and pattern.halo == "rolled"):
        return ~_allowed(block, piece) & real
    tokens = torch.tensor(block.spatial).prod()
    window, margin = torch.tensor(pattern.window), torch.tensor(pattern.margin)
    # The first place of a window is always a token: windows begin within the grid.
    first = _places(block.groups.q_index[piece.groups, :1], block.spatial)
    place = _places(piece.k_index, block.spatial)
    beyond = (place < first - margin) | (place >= first + window + margin)
    return (beyond.any(-1) & (piece.k_index < tokens))[:, None] & real
