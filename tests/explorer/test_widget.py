"""The widget answers the page's questions in parts, and takes only what can be selected."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import refuses
from vitrail.explorer import explore
from vitrail.explorer import widget as widgets
from vitrail.explorer.page import static
from vitrail.explorer.widget import ExplorerWidget, answer
from vitrail.models import Swin

ROOT = Path(__file__).resolve().parents[2]
Answers = list[tuple[dict[str, Any], bytes]]

MANIFEST = {
    "model": {"classes": 10},
    "outcome": {"kind": "class"},
    "methods": [{"id": "rollout"}],
    "photo": {"name": "cat.png"},
    "blocks": [
        {"heads": 2, "prefix": 0, "spatial": [4, 6]},
        {"heads": 4, "prefix": 1, "spatial": [2, 3]},
    ],
    "arrays": {
        "image/seen": {"dtype": "bytes", "shape": [5]},
        "b0/mean": {"dtype": "u8", "shape": [3, 4]},
    },
}


class Arrays:
    """Arrays by name, and one that is made on demand."""

    def __init__(self) -> None:
        self.known: dict[str, np.ndarray] = {
            "image/seen": np.frombuffer(b"\x89PNG!", np.uint8),
            "b0/mean": np.arange(12, dtype=np.uint8).reshape(3, 4),
            "erf/0/1/1": np.linspace(0, 1, 6, dtype=np.float16).reshape(2, 3).T,
            "big-endian": np.array([1, 256], dtype=">i4"),
            "nothing": np.zeros((0, 4), np.float32),
        }

    def get(self, name: str) -> np.ndarray:
        if name == "broken":
            raise ZeroDivisionError("by a test")
        return self.known[name]


@pytest.fixture
def widget() -> ExplorerWidget:
    return ExplorerWidget([(MANIFEST, Arrays())])


@pytest.fixture
def send(widget: ExplorerWidget, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answers]:
    """Send the widget a message as the page does, and return what it sends back."""
    sent: Answers = []
    monkeypatch.setattr(
        widget, "send", lambda said, buffers=(): sent.append((said, b"".join(map(bytes, buffers))))
    )

    def send(**message: object) -> Answers:
        sent.clear()
        widget._handle_custom_msg(message, [])
        return list(sent)

    return send


@pytest.mark.parametrize("name", ["image/seen", "b0/mean", "erf/0/1/1", "big-endian", "nothing"])
def test_the_bytes_are_the_arrays(send: Callable[..., Answers], name: str) -> None:
    expected = Arrays().get(name)
    ((said, data),) = send(id="7", kind="array", name=name)
    assert said["id"] == "7"
    assert (said["part"], said["parts"]) == (0, 1)
    assert said["shape"] == list(expected.shape)
    kind = {"u8": "u1", "bytes": "u1", "i32": "<i4", "f16": "<f2", "f32": "<f4"}[said["dtype"]]
    assert np.array_equal(np.frombuffer(data, kind).reshape(said["shape"]), expected)


def test_the_manifest_says_which_bytes_are_a_file(send: Callable[..., Answers]) -> None:
    assert send(id="1", kind="array", name="image/seen")[0][0]["dtype"] == "bytes"
    assert send(id="2", kind="array", name="b0/mean")[0][0]["dtype"] == "u8"
    assert send(id="3", kind="array", name="erf/0/1/1")[0][0]["dtype"] == "f16"


def test_the_second_of_two_traces_is_requested_for_by_its_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = Arrays()
    other.known["b0/mean"] = 1 + other.known["b0/mean"]
    smaller = {**MANIFEST, "blocks": MANIFEST["blocks"][:1]}
    widget = ExplorerWidget([(MANIFEST, Arrays()), (smaller, other)])
    sent: list[bytes] = []
    monkeypatch.setattr(widget, "send", lambda _, buffers=(): sent.append(bytes(buffers[0])))
    for side in (0, 1):
        widget._handle_custom_msg({"id": 1, "kind": "array", "side": side, "name": "b0/mean"}, [])
    assert [data[0] for data in sent] == [0, 1]
    widget.selection = {"block": 1}
    with refuses("block=1", "use block=0"):
        widget.selection = {"side": "B", "block": 1}


def test_a_large_array_comes_in_parts_of_at_most_four_megabytes() -> None:
    arrays = Arrays()
    values = np.random.default_rng(0).integers(0, 256, (9, 1_000_001), dtype=np.uint8)
    arrays.known["large"] = values
    messages = list(answer(MANIFEST, arrays, "large"))
    assert [said["part"] for said, _ in messages] == [0, 1, 2]
    assert {said["parts"] for said, _ in messages} == {3}
    assert all(len(part) <= 4_000_000 for _, part in messages)
    whole = hashlib.sha256(b"".join(bytes(part) for _, part in messages)).hexdigest()
    assert whole == hashlib.sha256(values.tobytes()).hexdigest()


@pytest.mark.parametrize("name", ["b9/mean", "../secret", "", None, 3, ["b0/mean"]])
def test_an_unknown_name_is_answered_with_an_error(
    send: Callable[..., Answers], name: object
) -> None:
    ((said, data),) = send(id="8", kind="array", name=name)
    assert said == {"id": "8", "error": f"no such array: {name}"}
    assert data == b""


def test_a_failure_is_reported_to_the_page_and_not_hidden_from_the_kernel(
    send: Callable[..., Answers], widget: ExplorerWidget
) -> None:
    sent: list[dict[str, Any]] = []
    widget.send = lambda said, buffers=(): sent.append(said)  # pyright: ignore
    with pytest.raises(ZeroDivisionError):
        widget._requested(widget, {"id": "9", "kind": "array", "name": "broken"}, [])
    assert sent == [{"id": "9", "error": "ZeroDivisionError: by a test"}]


def test_every_array_of_a_real_trace_arrives_and_more_on_demand(
    model: Swin, picture: Image.Image
) -> None:
    report = explore(model, picture, size=32)
    sides = report.widget._sides
    assert len(json.dumps(report.widget.get_state()["manifests"])) <= 100_000
    assert report.manifest["on_demand"]
    for name, facts in report.manifest["arrays"].items():
        ((words, data),) = answer(*sides[0], name)
        assert (words["dtype"], words["shape"]) == (facts["dtype"], facts["shape"])
        assert hashlib.sha256(data).hexdigest() == facts["sha256"]
    for name in ("b0/rows/1/2/3", "erf/1/0/0", "rollout/3/1/1"):
        assert name not in report.manifest["arrays"]
        ((words, data),) = answer(*sides[0], name)
        made = report.arrays.get(name)
        assert words["shape"] == list(made.shape)
        assert bytes(data) == made.tobytes()


def test_other_messages_are_left_alone(send: Callable[..., Answers]) -> None:
    assert send(id="1", kind="anywidget-command", name="b0/mean") == []


def test_only_the_manifest_and_the_selection_are_traits(widget: ExplorerWidget) -> None:
    own = {"manifests", "selection"}
    state = widget.get_state()
    assert own <= set(state)
    others = {name for name in state if not name.startswith("_")} - own
    assert others <= {"layout", "tabbable", "tooltip"}
    assert not any(isinstance(value, bytes | memoryview) for value in state.values())


def test_what_is_assigned_is_merged_into_the_selection(widget: ExplorerWidget) -> None:
    widget.selection = {"block": 1, "token": 6}
    widget.selection = {"head": 3}
    assert widget.selection == {"block": 1, "token": 6, "head": 3}
    widget.selection = {"block": 0}
    assert widget.selection["block"] == 0


@pytest.mark.parametrize(
    ("chosen", "given", "fix"),
    [
        ({"blok": 1}, "'blok'", "leave it out"),
        ({"block": 2}, "block=2", "use block=1"),
        ({"block": -1}, "block=-1", "use block=0"),
        ({"block": "1"}, "block='1'", "use block=0"),
        ({"block": 1, "head": 4}, "head=4", "use head=3"),
        ({"head": -2}, "head=-2", "use head=-1"),
        ({"token": 24}, "token=24", "use token=23"),
        ({"block": 1, "token": 7}, "token=7", "use token=6"),
        ({"cls": 10}, "cls=10", "use cls=9"),
        ({"view": "outcome"}, "view='outcome'", "use view='canvas'"),  # there is no mask
        ({"block": True}, "block=True", "use block=0"),
        ({"view": "heds"}, "view='heds'", "use view='canvas'"),
        ({"method": "magic"}, "method='magic'", "use method='rollout'"),
        ({"side": "C"}, "side='C'", "use side='A'"),
        ({"sort": "size"}, "sort='size'", "use sort='index'"),
        ({"shift": 1.5}, "shift=1.5", "use shift=0.0"),
    ],
)
def test_what_cannot_be_selected_is_refused(
    widget: ExplorerWidget, chosen: dict[str, Any], given: str, fix: str
) -> None:
    with refuses(given, fix):
        widget.selection = chosen
    assert widget.selection == {}


def test_every_field_of_the_page_can_be_selected(widget: ExplorerWidget) -> None:
    chosen = {
        **{"view": "heads", "block": 1, "head": -1, "token": 0, "cls": 9, "method": "rollout"},
        **{"shift": 0.5, "step": -1, "side": "A", "sort": "entropy", "size": 224, "window": 7},
        "metric": "pairs",
    }
    widget.selection = chosen
    assert widget.selection == chosen
    source = (ROOT / "web" / "src" / "state.ts").read_text()
    interface = source.partition("export interface Selection {")[2].partition("}")[0]
    assert set(re.findall(r"^  (\w+):", interface, flags=re.MULTILINE)) == set(chosen)


def test_the_views_are_the_pages() -> None:
    source = (ROOT / "web" / "src" / "view.ts").read_text()
    union = source.partition("export type ViewId =")[2].partition(";")[0]
    assert set(re.findall(r'"(\w+)"', union)) - {"pyramid"} == set(widgets.VIEWS)


def test_numpys_numbers_are_numbers(widget: ExplorerWidget) -> None:
    widget.selection = {"block": np.int64(1)}
    assert type(widget.selection["block"]) is int


def test_the_page_is_the_one_that_reports_show(widget: ExplorerWidget) -> None:
    state = widget.get_state()
    assert state["_esm"] == static("explorer.js")
    assert "export" in state["_esm"]
    assert ".vitrail" in state["_css"]
