"""A command in several processes, as torchrun starts them; its imports are done once for all."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Done(NamedTuple):
    """What a process has printed."""

    code: int | None
    out: str
    err: str


def together(folder: Path, processes: int, *words: str) -> list[Done]:
    """Run `vitrail WORDS` in so many processes, which print into files of ``folder``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    source = str(Path(__file__).parents[1] / "src")
    os.environ["PYTHONPATH"] = source
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vitrail.training.loop", "vitrail.weights", "vitrail.api"])
    folder.mkdir(parents=True, exist_ok=True)
    started = []
    for rank in range(processes):
        env = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        env |= {"LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        process = context.Process(target=_run, args=(words, env, str(folder / str(rank))))
        process.start()
        started.append(process)
    for process in started:
        process.join(120)
    return [
        Done(
            process.exitcode,
            (folder / f"{rank}.out").read_text(),
            (folder / f"{rank}.err").read_text(),
        )
        for rank, process in enumerate(started)
    ]


def _run(words: Sequence[str], env: dict[str, str], prefix: str) -> None:
    os.environ.update(env)
    from vitrail.cli import main

    with open(f"{prefix}.out", "w") as out, open(f"{prefix}.err", "w") as err:
        sys.stdout, sys.stderr = out, err
        code = main.run([*words])
    os._exit(code)
