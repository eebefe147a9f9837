"""What a notebook is offered: the widget beside a report in a frame, or the frame alone."""

import importlib.util
import sys
from collections.abc import Mapping
from functools import cached_property
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from tests.support import refuses
from vitrail.explorer import display
from vitrail.explorer.display import WIDGET, bundle, frame, make_widget

PAGE = "<!doctype html><title>a \"report\" & 'more'</title>"


class Arrays:
    def get(self, name: str) -> np.ndarray:
        raise KeyError(name)


class Shown:
    """As much of a report as a notebook needs."""

    def __init__(self, *manifests: Mapping[str, Any]) -> None:
        self.sides = [(manifest, Arrays()) for manifest in manifests]

    @cached_property
    def widget(self) -> Any:
        return make_widget(self.sides)

    def offered(self) -> dict[str, Any]:
        return bundle(self.sides, lambda: PAGE, lambda: self.widget)[0]


def manifest(values: int = 100, name: str = "cat.png") -> dict[str, Any]:
    return {
        "photo": {"name": name},
        "model": {"name": "swin_nano", "classes": 10},
        "answer": [{"class": 3, "label": "cat", "probability": 0.9312}],
        "blocks": [{"heads": 2, "prefix": 0, "spatial": [4, 6]}],
        "arrays": {"b0/mean": {"dtype": "i32", "shape": [values, 4]}},
    }


@pytest.fixture
def no_anywidget(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(display, "find_spec", lambda n: None if n == "anywidget" else find(n))


def attributes(html: str) -> dict[str, str | None]:
    found: list[dict[str, str | None]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append({"tag": tag, **dict(attrs)})

    Tags().feed(html)
    (one,) = found
    return one


def test_a_frame_is_sealed_and_holds_the_page_unchanged() -> None:
    said = attributes(frame(PAGE))
    assert said["tag"] == "iframe"
    assert said["sandbox"] == "allow-scripts"
    assert said["srcdoc"] == PAGE


def test_the_widget_is_offered_with_the_framed_report_beside_it() -> None:
    shown = Shown(manifest())
    data = shown.offered()
    assert data[WIDGET]["model_id"] == shown.widget.model_id
    assert attributes(data["text/html"])["srcdoc"] == PAGE
    assert data["text/plain"] == "Vitrail: swin_nano on cat.png, cat 93.1%"


def test_two_traces_are_compared_in_one_widget() -> None:
    shown = Shown(manifest(), manifest(name="dog.png"))
    assert shown.offered()["text/plain"].endswith(
        "cat.png, cat 93.1% against swin_nano on dog.png, cat 93.1%"
    )
    assert [m["photo"]["name"] for m in shown.widget.manifests] == ["cat.png", "dog.png"]


def test_showing_twice_shows_one_widget() -> None:
    shown = Shown(manifest())
    assert shown.offered()[WIDGET] == shown.offered()[WIDGET]


def test_a_large_report_is_not_kept_in_the_notebook_beside_the_widget() -> None:
    data = Shown(manifest(values=200_000, name="<b>cat</b>")).offered()
    assert PAGE not in data["text/html"]
    assert "report.save(" in data["text/html"]
    assert "&lt;b&gt;cat" in data["text/html"]
    assert WIDGET in data


@pytest.mark.usefixtures("no_anywidget")
def test_without_anywidget_the_report_is_framed_whatever_its_size() -> None:
    data = Shown(manifest(values=200_000)).offered()
    assert WIDGET not in data
    assert attributes(data["text/html"])["srcdoc"] == PAGE


@pytest.mark.usefixtures("no_anywidget")
def test_without_anywidget_a_widget_is_refused() -> None:
    with refuses("anywidget", "pip install"):
        _ = Shown(manifest()).widget


def test_a_broken_anywidget_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vitrail.explorer.widget", None)
    with pytest.raises(ImportError, match=r"vitrail\.explorer\.widget"):
        Shown(manifest()).offered()


def test_a_model_without_an_answer_is_named_all_the_same() -> None:
    assert Shown({**manifest(), "answer": []}).offered()["text/plain"].endswith("on cat.png")
