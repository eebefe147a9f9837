"""Damaged and doctored exported files: each opens, or is refused in three lines; none executes."""

import json
import random
from pathlib import Path

import pytest
import torch

from tests.export.conftest import Written, written  # noqa: F401 (a fixture)
from tests.export.test_safety import CONSTANTS, GRAPH, WEIGHTS, Graph, Parts, parts_of, write
from tests.fuzz import frame
from vitrail.export import open_export

pytestmark = [pytest.mark.compile, frame.LONG]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    path = tmp_path_factory.mktemp("program") / "m.pt2"
    shapes = ({0: torch.export.Dim("batch", max=64)},)
    torch.export.save(
        torch.export.export(Graph(), (torch.ones(3, 4),), dynamic_shapes=shapes), path
    )
    return parts_of(path)


def test_programs(program: Parts, tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    open_export(write(path, program))  # imports what it needs

    def case(rng: random.Random) -> None:
        parts = dict(program)
        for _ in range(rng.choice((1, 1, 2))):
            name = rng.choice((GRAPH, GRAPH, WEIGHTS, CONSTANTS, *parts))
            if name.endswith(".json") and rng.random() < 0.8:
                parts[name] = frame.mutated_json(rng, json.loads(program[name])).encode(
                    "utf-8", "surrogatepass"
                )
            else:
                parts[name] = frame.mutated(rng, parts[name])
        write(path, parts)
        if rng.random() < 0.2:
            path.write_bytes(frame.mutated(rng, path.read_bytes()))
        with frame.nothing_executed():
            open_export(path)

    outcomes = frame.fuzz("programs", case, at_least=5)
    assert outcomes["refused"] > 0


def test_graphs_of_other_runtimes(
    written: Written,  # noqa: F811
    tmp_path: Path,
) -> None:
    import openvino

    openvino.save_model(openvino.Core().read_model(written.path), tmp_path / "whole.xml")
    wholes = {
        ".onnx": {".onnx": written.path.read_bytes()},
        ".xml": {e: (tmp_path / f"whole{e}").read_bytes() for e in (".xml", ".bin")},
    }

    def case(rng: random.Random) -> None:
        ending = rng.choice(tuple(wholes))
        damaged = rng.choice(tuple(wholes[ending]))
        for part, data in wholes[ending].items():
            data = frame.mutated(rng, data) if part == damaged else data
            (tmp_path / f"m{part}").write_bytes(data)
        with frame.nothing_executed():
            open_export(tmp_path / f"m{ending}")

    outcomes = frame.fuzz("graphs", case)
    assert min(outcomes["accepted"], outcomes["refused"]) > 0
