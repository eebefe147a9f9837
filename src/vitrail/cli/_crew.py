"""The processes that torchrun started, where they share out inputs and not tensors."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")
_LONGEST = timedelta(days=30)  # that one process waits for the others' shares


class Crew:
    """This process among those of a command; alone where nothing started several."""

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.processes = int(os.environ.get("WORLD_SIZE", "1"))

    def device(self, chosen: Any) -> Any:
        """The device of this process, where all chose the same kind."""
        import torch

        if self.processes == 1 or chosen.type != "cuda":
            return chosen
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))

    def from_first(self, make: Callable[[], T]) -> T:
        """What ``make`` returns in the first process, in all of them."""
        if self.processes == 1:
            return make()
        import torch

        self._meet()
        held: list[Any] = [make() if self.rank == 0 else None]
        torch.distributed.broadcast_object_list(held)
        return held[0]

    def gather(self, own: T) -> list[T]:
        """What each process has, in their order."""
        if self.processes == 1:
            return [own]
        import torch

        self._meet()
        held: list[Any] = [None] * self.processes
        torch.distributed.all_gather_object(held, own)
        return held

    def part(self) -> None:
        """Leave the others, once no process needs this one any more."""
        import torch

        if self.processes > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def _meet(self) -> None:
        import torch

        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("gloo", timeout=_LONGEST)
