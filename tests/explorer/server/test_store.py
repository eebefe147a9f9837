"""Traces are kept as long as there is room; the longest unused go first."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from starlette.testclient import TestClient

from tests.explorer.server.conftest import finish
from vitrail.explorer.server.app import ServerState
from vitrail.explorer.server.store import Kept, Store, size_of
from vitrail.models import Swin


class Held:
    """Arrays of a given weight."""

    def __init__(self, size: int, shared: object = None) -> None:
        self.inner = {"a": [np.zeros(size, np.uint8)]}
        self.shared = shared

    def get(self, name: str) -> np.ndarray:
        return self.inner[name][0]


def kept(size: int, shared: object = None) -> Kept:
    manifest: Mapping[str, Any] = {"model": {"name": "m"}, "photo": {"input": [1, 1]}, "arrays": {}}
    return Kept(manifest=manifest, arrays=Held(size, shared), photo=b"", name="n", weights="none")


def test_the_longest_unused_make_room() -> None:
    store = Store(budget=3500)
    first, second, third, fourth = (kept(1000) for _ in range(4))
    for trace in (first, second, third):
        store.add(trace)
    assert store.get(first.id) is first  # a use
    store.add(fourth)
    assert store.get(second.id) is None
    assert store.newest() == [fourth, first, third]


def test_the_newest_stays_even_if_it_is_larger_than_all_the_room() -> None:
    store = Store(budget=10)
    store.add(kept(5))
    large = kept(1000)
    store.add(large)
    assert store.newest() == [large]


def test_a_trace_that_is_more_complete_takes_the_place_of_itself() -> None:
    store = Store(budget=2500)
    first, second = kept(1000), kept(1000)
    store.add(first)
    store.add(second)
    fuller = replace(first, name="fuller")
    assert store.add(fuller) == first.id
    assert store.newest() == [fuller, second]
    store.add(kept(1000))
    assert store.get(first.id) is fuller, "it was used last"


def test_ids_cannot_be_guessed() -> None:
    assert len({kept(1).id for _ in range(100)}) == 100
    assert len(kept(1).id) == 16


def test_what_traces_share_counts_once(model: Swin) -> None:
    parameters = size_of([model])
    numbers = sum(p.numel() * 4 for p in model.parameters())
    assert numbers <= parameters <= numbers + 20_000  # and some index buffers
    assert size_of([kept(100, model), kept(100, model)]) == parameters + 200


def test_sizes_of_things() -> None:
    tensor, array = torch.zeros(10), np.zeros(7, np.float64)
    assert size_of([tensor]) == size_of([tensor, tensor.view(2, 5), {"again": tensor}]) == 40
    assert size_of([(array, b"abc", "text", None, 3, {"deep": [array]})]) == 59


def test_a_trace_that_made_room_is_not_found(
    client: TestClient, state: ServerState, trace: str, photo: bytes
) -> None:
    state.store.budget = 1
    done = finish(client, client.post("/api/run?size=16", content=photo).json())
    assert client.get(f"/api/traces/{trace}").status_code == 404
    assert client.get(f"/api/traces/{trace}/arrays/b0/mean").status_code == 404
    assert [line["id"] for line in client.get("/api/traces").json()] == [done["trace"]]
