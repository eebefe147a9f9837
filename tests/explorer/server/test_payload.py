"""Arrays on the wire: little-endian, made once, and never by two threads in one model."""

import threading
from typing import Any

import numpy as np
import pytest

from vitrail.explorer.server import payload
from vitrail.explorer.server.answers import Refused
from vitrail.explorer.server.payload import Payloads, squeezed
from vitrail.explorer.server.store import Kept


class Counted:
    """Arrays that count how often each is made."""

    def __init__(self, **arrays: np.ndarray) -> None:
        self.arrays, self.made = arrays, list[str]()

    def get(self, name: str) -> np.ndarray:
        self.made.append(name)
        return self.arrays[name.split("/")[0]]


def kept(arrays: Counted, **facts: dict[str, Any]) -> Kept:
    return Kept(manifest={"arrays": facts}, arrays=arrays, photo=b"", name="n", weights="none")


@pytest.mark.parametrize("dtype", ["u1", "<i4", ">i4", "<f2", ">f2", "<f4", ">f4"])
def test_bytes_are_little_endian_whatever_the_machine_has(dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)[:, ::-1]
    made = Payloads().get(kept(Counted(a=array)), "a")
    names = {"u8": "u1", "i32": "<i4", "f16": "<f2", "f32": "<f4"}
    got = np.frombuffer(made.data, names[made.dtype]).reshape(2, 3)
    assert np.array_equal(got, array)
    assert made.headers() == {"X-Dtype": made.dtype, "X-Shape": "2,3"}


def test_bytes_have_their_media_type() -> None:
    facts = {"dtype": "bytes", "shape": [3], "type": "image/png"}
    made = Payloads().get(kept(Counted(p=np.zeros(3, np.uint8)), p=facts), "p")
    assert (made.dtype, made.media) == ("bytes", "image/png")


def test_an_array_is_made_once() -> None:
    arrays, payloads = Counted(a=np.zeros(9, np.uint8)), Payloads()
    trace, other = kept(arrays), kept(arrays)
    assert payloads.get(trace, "a/0") is payloads.get(trace, "a/0")
    assert arrays.made == ["a/0"]
    payloads.get(other, "a/0")
    payloads.get(trace, "a/1")
    assert arrays.made == ["a/0", "a/0", "a/1"]


def test_what_is_longest_unused_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = Counted(a=np.zeros(10, np.uint8), big=np.zeros(90, np.uint8))
    trace, payloads = kept(arrays), Payloads(budget=25)
    for name in ("a/0", "a/1", "a/0", "a/2", "a/0", "a/1"):
        payloads.get(trace, name)
    assert arrays.made == ["a/0", "a/1", "a/2", "a/1"]
    monkeypatch.setattr(payload, "LARGEST", 80)
    payloads.get(trace, "big")
    payloads.get(trace, "a/0")
    assert arrays.made[4:] == ["big"], "what is too large to keep drives nothing out"


def test_a_name_that_means_nothing() -> None:
    with pytest.raises(Refused) as caught:
        Payloads().get(kept(Counted()), "b0/none")
    assert caught.value.status == 404
    assert "b0/none" in caught.value.error.given and caught.value.error.fix


def test_arrays_of_the_model_wait_for_its_run_and_others_do_not() -> None:
    running = threading.Lock()
    arrays = Counted(map=np.zeros(1, np.uint8), erf=np.zeros(1, np.uint8), b0=np.zeros(1, np.uint8))
    trace, payloads = kept(arrays, **{"map/stored": {"dtype": "u8"}}), Payloads(running)
    with running:
        thread = threading.Thread(target=payloads.get, args=(trace, "map/gradcam/3"))
        thread.start()
        payloads.get(trace, "b0/rows/0/0/1")
        payloads.get(trace, "map/stored")
        thread.join(0.05)
        assert arrays.made == ["b0/rows/0/0/1", "map/stored"]
    thread.join(10)
    payloads.get(trace, "erf/0/1/1")
    assert arrays.made[2:] == ["map/gradcam/3", "erf/0/1/1"]


def test_gzip_where_it_pays() -> None:
    noise = np.random.default_rng(0).bytes(5000)
    assert squeezed(bytes(1000)) is None
    assert squeezed(noise) is None
    small = squeezed(bytes(5000))
    assert small is not None and len(small) < 100
