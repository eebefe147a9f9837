"""The page is whole, sealed, and treats every name as text."""

import base64
import gzip
import hashlib
import json
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image

import vitrail
from vitrail.errors import UsageError
from vitrail.explorer import Report, blocks, explore
from vitrail.models import Swin

HOSTILE = "</script><img src=x onerror=alert(1)> & \"'.jpg"


class Page(HTMLParser):
    """What a browser would take from the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._inside: str | None = None
        self.html_size = len(html)
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag in ("script", "style", "title"):
            self._inside = f"{tag} {dict(attrs).get('id', '')}".strip()

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside] = self.texts.get(self._inside, "") + data

    @property
    def manifest(self) -> dict:
        return json.loads(self.texts["script manifest:0"])


@pytest.fixture
def report(model: Swin, picture: Image.Image) -> Report:
    return explore(model, picture, size=(28, 44), name=HOSTILE)


def test_the_policy_allows_this_script_and_style_and_nothing_else(report: Report) -> None:
    page = Page(report.html)
    (policy,) = [a["content"] for t, a in page.tags if a.get("http-equiv")]
    rules = dict(rule.strip().split(" ", 1) for rule in (policy or "").split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data: blob:"
    for directive, text in (("script-src", "script"), ("style-src", "style")):
        digest = base64.b64encode(hashlib.sha256(page.texts[text].encode()).digest()).decode()
        assert rules[directive] == f"'sha256-{digest}'"
    assert "unsafe" not in (policy or "")


def test_nothing_points_outside(report: Report) -> None:
    page = Page(report.html)
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
    assert "http" not in re.sub(r"http-equiv|http://www\.w3\.org/\d{4}/", "", report.html)


def test_names_and_labels_are_text(report: Report, model: Swin, picture: Image.Image) -> None:
    page = Page(report.html)
    assert page.manifest["photo"]["name"] == HOSTILE
    assert not set("<>&") & set(page.texts["script manifest:0"])
    assert HOSTILE in page.texts["title"]
    assert not any("onerror" in attributes for _, attributes in page.tags)
    model.preprocessing = replace(model.preprocessing, classes=(HOSTILE, "b", "c", "d", "e"))
    labelled = Page(explore(model, picture, size=16).html)
    assert HOSTILE in [answer["label"] for answer in labelled.manifest["answer"]]
    assert "img" not in [tag for tag, _ in labelled.tags]


def test_a_place_holder_in_a_name_stays_text(model: Swin, picture: Image.Image) -> None:
    html = explore(model, picture, size=16, name="{{script}}{{manifest}}").html
    assert Page(html).manifest["photo"]["name"] == "{{script}}{{manifest}}"


def test_control_and_direction_marks_do_not_get_through(model: Swin, picture: Image.Image) -> None:
    name = "a\u202egnp.exe\n\x1b[31m" + "x" * 200
    shown = Page(explore(model, picture, size=16, name=name).html).manifest["photo"]["name"]
    assert shown.startswith("a\ufffdgnp.exe")
    assert "\x1b" not in shown
    assert len(shown) <= 80


def test_the_same_input_gives_the_same_page(model: Swin, picture: Image.Image) -> None:
    one, other = (
        re.sub(r'"ms":[\d.e-]+', "", explore(model, picture, size=32).html) for _ in range(2)
    )
    assert one == other  # but for the time that this machine took


def test_saving_is_whole_or_not_at_all(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a page.html"
    assert report.save(path) == path
    assert path.read_text(encoding="utf-8") == report.html
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600
    path.write_text("older")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UsageError, match=r"-o report\.html") as error:
        report.save(path)
    assert "No space left" in error.value.given
    assert path.read_text() == "older"
    assert [p.name for p in tmp_path.iterdir()] == ["a page.html"]


def test_saving_makes_the_folder_and_refuses_a_file_in_its_place(
    report: Report, tmp_path: Path
) -> None:
    path = report.save(tmp_path / "new" / "report.html")
    assert path.is_file()
    with pytest.raises(UsageError, match=r"report\.html") as error:
        report.save(path / "report.html")
    assert "report.html" in error.value.fix


def test_every_array_of_the_manifest_is_there_and_is_what_it_says(report: Report) -> None:
    page = Page(report.html)
    for name, facts in page.manifest["arrays"].items():
        data = gzip.decompress(base64.b64decode(page.texts[f"script array:0/{name}"]))
        assert hashlib.sha256(data).hexdigest() == facts["sha256"], name
    assert sum(name.startswith("script array:") for name in page.texts) == len(report.arrays.stored)
    assert page.manifest["on_demand"] is False


def test_a_bias_too_large_to_store_is_not_named_in_a_file(
    model: Swin, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BIASES", 0)
    report = explore(model, picture, size=(28, 44))
    assert all(block["bias"] for block in report.manifest["blocks"]), "a host with a server may"
    assert not any(block["bias"] for block in Page(report.html).manifest["blocks"])


def test_two_sides_share_what_is_equal(model: Swin, picture: Image.Image) -> None:
    one, other = (explore(model, picture, size=size) for size in ((28, 44), (28, 40)))
    page = Page(one.against(other).html)
    second = json.loads(page.texts["script manifest:1"])
    assert page.manifest["photo"]["input"] == [28, 44]
    assert second["photo"]["input"] == [28, 40]

    def key(facts: dict) -> tuple:
        return facts["dtype"], tuple(facts["shape"]), facts["sha256"]

    written: dict[tuple, str] = {}
    for i, manifest in enumerate((page.manifest, second)):
        for name, facts in manifest["arrays"].items():
            if f"script array:{i}/{name}" in page.texts:
                assert key(facts) not in written, name
                written[key(facts)] = name
            else:
                assert key(facts) in written, name
    assert one.other is None
    assert Page(one.against(one).html).html_size < Page(one.html).html_size * 1.1


def test_a_notebook_gets_a_sealed_frame(report: Report) -> None:
    ((tag, attributes),) = Page(report._repr_html_()).tags
    assert tag == "iframe"
    assert attributes["sandbox"] == "allow-scripts"
    assert attributes["srcdoc"] == report.html


def test_a_report_at_224_stays_under_four_megabytes() -> None:
    """Sharp attention packs worst; all heads of Swin-T are kept."""
    model = vitrail.create_model("swin_tiny")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "attn" in name:
                parameter.normal_(std=0.1)
    noise = Image.fromarray(torch.randint(0, 256, (300, 300, 3), dtype=torch.uint8).numpy())
    report = explore(model, noise)
    assert all(block["attention"] for block in Page(report.html).manifest["blocks"])
    assert len(report.html.encode()) <= 4_000_000, len(report.html)
