"""Tiny data and real processes for the tests of training."""

import io
import multiprocessing
import os
import runpy
import zipfile
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHILD = Path(__file__).with_name("child.py")
CLASSES = ("blue", "green", "red", "white")
COLOURS = ((40, 40, 200), (40, 200, 40), (200, 40, 40), (230, 230, 230))

Launch = Callable[..., BaseProcess]


def picture(kind: int, number: int, size: int = 16) -> bytes:
    """A noisy PNG of one colour."""
    noise = np.random.default_rng(1000 * kind + number).integers(-40, 40, (size, size, 3))
    pixels = np.clip(np.array(COLOURS[kind]) + noise, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="session")
def tiny_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of 4 classes of 20 pictures of 16 x 16 pixels."""
    path = tmp_path_factory.mktemp("data") / "tiny.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for kind, name in enumerate(CLASSES):
            for number in range(20):
                archive.writestr(f"{name}/{number:02d}.png", picture(kind, number))
    return path


@pytest.fixture(scope="session")
def launch() -> Launch:
    """Start a training run in a process of its own; its imports are done once for all of them."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2] / "src")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vitrail.training.loop", "vitrail.weights", "vitrail.api"])

    def start(**job: object) -> BaseProcess:
        process = context.Process(
            target=runpy.run_path,
            args=(str(CHILD),),
            kwargs={"init_globals": {"job": job}, "run_name": "child"},
        )
        process.start()
        return process

    return start
