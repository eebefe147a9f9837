import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from vitrail.data.batch import Batch, Sample, Unreadable, collate


def batch_of(count: int) -> Batch:
    return collate([Sample(torch.full((2, 3), float(n)), n, f"{n}.png") for n in range(count)])


def test_collate_stacks_inputs_and_numbers() -> None:
    batch = batch_of(4)
    assert batch.inputs.shape == (4, 2, 3)
    assert batch.targets.tolist() == [0, 1, 2, 3]
    assert batch.targets.dtype == torch.int64
    assert (len(batch), batch.names[3], batch.real.all().item()) == (4, "3.png", True)
    masks = collate([Sample(torch.zeros(1, 2), torch.ones(2), name) for name in "ab"])
    assert masks.targets.shape == (2, 2)


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_chunks_put_together_are_the_batch(parts: int) -> None:
    batch = batch_of(6)
    chunks = batch.chunk(parts)
    assert {len(chunk) for chunk in chunks} == {6 // parts}
    assert torch.equal(torch.cat([chunk.inputs for chunk in chunks]), batch.inputs)
    assert torch.cat([chunk.targets for chunk in chunks]).tolist() == batch.targets.tolist()
    assert sum((chunk.names for chunk in chunks), ()) == batch.names
    assert torch.cat([chunk.real for chunk in chunks]).all()


def test_chunks_of_lists_and_dicts() -> None:
    """Detection's inputs differ in size, and its targets are dicts."""
    batch = Batch(
        [torch.zeros(3, n + 1) for n in range(4)],
        {"boxes": [torch.zeros(n, 4) for n in range(4)], "count": torch.arange(4)},
        ("a", "b", "c", "d"),
        torch.tensor([True, True, True, False]),
    )
    second = batch.chunk(2)[1]
    assert [x.shape[1] for x in second.inputs] == [3, 4]
    assert [len(boxes) for boxes in second.targets["boxes"]] == [2, 3]
    assert second.targets["count"].tolist() == [2, 3]
    assert second.real.tolist() == [True, False]


def test_a_rest_is_refused() -> None:
    with pytest.raises(AssertionError, match="5 samples in 2 parts"):
        batch_of(5).chunk(2)


def test_a_loader_pins_all_its_tensors(monkeypatch) -> None:
    """On a machine without a GPU nothing can be pinned: what would be is counted."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x, *_: (pinned.append(x), x)[1])
    batch, bad = pin_memory((batch_of(3), [Unreadable("a", "b")]))
    assert isinstance(batch, Batch)
    assert (len(pinned), bad) == (3, [Unreadable("a", "b")])


def test_moves_all_its_tensors() -> None:
    batch = Batch([torch.zeros(2)], {"boxes": (torch.zeros(1, 4),)}, ("a",), torch.ones(1) > 0)
    moved = batch.to("meta")
    assert moved.inputs[0].device.type == moved.targets["boxes"][0].device.type == "meta"
    assert moved.real.device.type == "meta"
    assert moved.names == ("a",)
