"""Write a JSON by which a rollout in another language can be tested: traces and what follows.

    python -m tests.explain.rollout_fixture > file

Attention is coded in 8 bits, as in a report, and the expected maps follow from the coded rows: a
reader that decodes them alike agrees to rounding.
"""

import json
import sys
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from tests.explorer.decoding import decode_rows
from tests.mechanisms import MECHANISMS
from vitrail.explain import BlockTrace, Trace, capture, rollout_stages
from vitrail.explorer.coding import encode_rows

SIZE = (21, 31)
# Shifted windows with odd merges; pooled keys and a class token; overlapping cells and wrapping.
NETS = ("swin", "pvt", "pvt_v2_linear", "focal_rolled", "vit")


@dataclass(frozen=True)
class Coded:
    """The mean attention of a trace's blocks, as it travels, and as it is read."""

    codes: dict[str, np.ndarray]
    read: dict[str, Tensor]


def coded(trace: Trace) -> Coded:
    codes = {block.name: encode_rows(block.attention.mean(1).numpy()) for block in trace.blocks}
    read = {name: torch.from_numpy(decode_rows(rows)) for name, rows in codes.items()}
    return Coded(codes, read)


def numbers(array: Tensor | None) -> list[int] | None:
    return None if array is None else array.flatten().tolist()


def described(block: BlockTrace, codes: np.ndarray) -> dict[str, Any]:
    groups = block.groups
    return {
        "stage": block.stage,
        "spatial": list(block.spatial),
        "prefix": block.pattern.prefix,
        "groups": len(groups.q_index),
        "queries_per_group": groups.q_index.shape[1],
        "keys_per_group": groups.k_index.shape[1],
        "queries": numbers(groups.q_index),
        "keys": numbers(groups.k_index),
        "boxes": numbers(groups.k_box),
        "codes": codes.flatten().tolist(),
    }


def cases(trace: Trace, read: dict[str, Tensor]) -> list[dict[str, Any]]:
    found = []

    def attention(block: BlockTrace, groups: slice, queries: slice) -> Tensor:
        return read[block.name][groups, None, queries]

    with patch.object(BlockTrace, "part", attention):
        for number, block in enumerate(trace.blocks):
            (height, width), prefix = block.spatial, block.pattern.prefix
            middle = (height // 2, width // 2)
            positions = [(0, 0), middle, (height - 1, width - 1), *range(prefix)]
            for position in positions:
                maps = rollout_stages(trace, number, position)
                group, query = block.locate(position)
                stages = range(block.stage, -1, -1)
                found.append({
                    "block": number,
                    "token": int(block.groups.q_index[group, query]),
                    "maps": [
                        {"stage": stage, "height": map.shape[0], "width": map.shape[1],
                         "values": map.flatten().tolist()}
                        for stage, map in zip(stages, maps, strict=True)
                    ],
                })  # fmt: skip
    return found


def fixture(name: str) -> dict[str, Any]:
    """Return one model's trace, and what its rollout must be."""
    image = torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(0))
    trace = capture(MECHANISMS[name](), image)
    known = coded(trace)
    merges = {
        merge.stage: {
            "before": list(merge.before), "after": list(merge.after), "factor": list(merge.factor)
        }
        for merge in trace.merges
    }  # fmt: skip
    stages = [{"merge": merges.get(stage)} for stage in range(trace.blocks[-1].stage + 1)]
    return {
        "name": name,
        "stages": stages,
        "blocks": [described(block, known.codes[block.name]) for block in trace.blocks],
        "cases": cases(trace, known.read),
    }


def main() -> None:
    json.dump({"nets": [fixture(name) for name in NETS]}, sys.stdout)


if __name__ == "__main__":
    main()
