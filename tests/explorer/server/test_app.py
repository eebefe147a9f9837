"""The routes: what they answer, and that no request reaches a file or a name that is not there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

import vitrail.explorer
from tests.explorer.server.conftest import ADDRESS, TOKEN, finish
from tests.support import refuses
from vitrail.explorer.photo import prepare
from vitrail.explorer.server.app import ServerState, create_app, parse_size
from vitrail.explorer.server.guard import TOKEN_HEADER, Guard
from vitrail.models import Swin

STATIC = Path(vitrail.explorer.__file__).parent / "static"
NUMPY = {"u8": np.uint8, "i32": np.int32, "f16": np.float16, "f32": np.float32, "bytes": np.uint8}


def test_the_page_loads_its_own_two_files_and_nothing_else(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert 'data-server="/api"' in page.text and TOKEN not in page.text
    assert "http" not in page.text
    for name, media in (("explorer.js", "text/javascript"), ("explorer.css", "text/css")):
        assert f'"/{name}"' in page.text
        file = client.get(f"/{name}")
        assert file.headers["content-type"].startswith(media)
        assert file.content == (STATIC / name).read_bytes()


def test_a_run_from_photo_to_manifest(client: TestClient, trace: str) -> None:
    (line,) = client.get("/api/traces").json()
    assert line == {
        "id": trace,
        "name": "noise.png",
        "model": "small",
        "weights": "given",
        "size": [24, 40],
    }
    manifest = client.get(f"/api/traces/{trace}").json()
    assert manifest["photo"]["name"] == "noise.png"
    assert manifest["photo"]["input"] == [24, 40]
    assert manifest["model"]["weights"] == "a test"
    assert len(manifest["blocks"]) == 4


def test_every_array_of_the_manifest_is_what_python_has(
    client: TestClient, state: ServerState, trace: str
) -> None:
    kept = state.store.get(trace)
    assert kept is not None
    for name, facts in kept.manifest["arrays"].items():
        answer = client.get(f"/api/traces/{trace}/arrays/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["x-dtype"] == facts["dtype"]
        shape = tuple(map(int, answer.headers["x-shape"].split(",")))
        assert shape == tuple(facts["shape"])
        got = np.frombuffer(answer.content, np.dtype(NUMPY[facts["dtype"]]).newbyteorder("<"))
        assert np.array_equal(got.reshape(shape), kept.arrays.get(name)), name


def test_the_models_answer_is_python_s_own(
    client: TestClient, trace: str, model: Swin, picture: Image.Image
) -> None:
    with torch.no_grad():
        logits = model(prepare(picture, model.preprocessing, (24, 40)).input)[0]
    answer = client.get(f"/api/traces/{trace}").json()["answer"]
    assert answer[0]["probability"] == pytest.approx(logits.softmax(0).max().item(), abs=1e-6)


def test_pictures_can_be_shown_by_their_address(client: TestClient, trace: str) -> None:
    seen = client.get(f"/api/traces/{trace}/arrays/image/seen")
    assert seen.headers["content-type"] == "image/png"
    assert seen.content.startswith(b"\x89PNG")


def test_gzip_where_bytes_travel_far(client: TestClient, state: ServerState, photo: bytes) -> None:
    done = finish(client, client.post("/api/run?size=64", content=photo).json())
    address = f"/api/traces/{done['trace']}/arrays/b0/queries"
    far = client.get(address)
    assert far.headers["content-encoding"] == "gzip"
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    headers = {TOKEN_HEADER: TOKEN}
    guard = Guard(create_app(state), ADDRESS, TOKEN)
    near = TestClient(guard, base_url=ADDRESS.url, headers=headers, client=("127.0.0.1", 5))
    close = near.get(address)
    assert "content-encoding" not in close.headers
    assert close.content == plain.content == far.content


ROOT = "/api/traces"
TRAVERSALS = [
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "b0/mean%00",
    "b0/mean/",
    "b0//mean",
    "B0/mean",
    "b99/mean",
    "b-1/mean",
    "b0",
    "nothing",
    "__class__",
    "by_name",
    "file:///etc/passwd",
    "..\\..\\secret",
    "%F0%9F%90%88",
    "map/nothing/0",
    "b0/rows/x/y/z",
    "b0/rows/0/0",
    "b0/rows/999999/0/1",
    "b0/rows/-1/0/1",
    "erf/x/y/z",
    "x" * 5000,
]


def test_an_array_that_is_none_is_not_found(client: TestClient, trace: str) -> None:
    for name in TRAVERSALS:
        answer = client.get(f"{ROOT}/{trace}/arrays/{name}")
        assert answer.status_code == 404, name
        assert answer.json().keys() == {"given", "allowed", "fix"}
        assert "root:" not in answer.text and len(answer.text) < 1000


@pytest.mark.parametrize(
    "path",
    [
        "/explorer.js/",
        "/explorer.js/../report.html",
        "/..%2fexplorer.js",
        "/report.html",
        "/static/explorer.js",
        "/api",
        "/api/",
        "/api/traces/",
        "/api/traces/nothing",
        "/api/traces/..%2f..%2fjobs",
        "/api/jobs/nothing",
        "/etc/passwd",
        "//etc/passwd",
        "/%2e%2e/pyproject.toml",
        "/favicon.ico",
    ],
)
def test_other_addresses_are_not_found(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json().keys() == {"given", "allowed", "fix"}


def test_names_out_of_nowhere_never_break_the_server(client: TestClient, trace: str) -> None:
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
    def check(name: str) -> None:
        from urllib.parse import quote

        for safe in ("", "/"):
            answer = client.get(f"{ROOT}/{trace}/arrays/x{quote(name, safe=safe)}")
            assert answer.status_code == 404

    check()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", "GET"),
        ("PUT", "/api/traces", "GET"),
        ("DELETE", "/api/traces/x", "GET"),
        ("GET", "/api/run", "POST"),
        ("DELETE", "/api/run", "POST"),
        ("POST", "/api/jobs/x", "GET"),
        ("PATCH", "/explorer.js", "GET"),
        ("TRACE", "/api/models", "GET"),
    ],
)
def test_other_methods_are_refused(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert allowed in answer.headers["allow"]
    assert method in answer.json()["given"]


def test_models_and_limits(client: TestClient) -> None:
    stated = client.get("/api/models").json()
    choices = {entry["name"]: entry["weights"] for entry in stated["models"]}
    assert stated["models"][0] == {"name": "small", "weights": ["given"]}
    assert choices["swin_nano"] == ["bundled", "none"]
    assert choices["pvt_v2_b0"] == ["none"]
    assert not {"video_swin_tiny", "swin1d_tiny"} & set(choices)
    assert stated["limits"] == {"size": 2048, "upload": 32 * 2**20, "queue": 8}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("model=swin_nan", "'swin_nan'"),
        ("model=/etc/passwd", "/etc/passwd"),
        ("model=swin_nano&weights=/etc/passwd", "/etc/passwd"),
        ("model=swin_nano&weights=owner/name", "owner/name"),
        ("model=swin_nano&weights=given", "given"),
        ("weights=bundled", "bundled"),
        ("size=0", "'0'"),
        ("size=224x", "224x"),
        ("size=2049", "2049"),
        ("size=1x1x1", "1x1x1"),
        ("size=²", "²"),
        ("size=99999999999999999999999", "9999"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_anything_is_read(
    client: TestClient, query: str, said: str
) -> None:
    def body() -> Any:
        raise AssertionError("the body was read")
        yield b""

    answer = client.post(f"/api/run?{query}", content=body())
    assert answer.status_code == 422
    assert said in answer.json()["given"] and answer.json()["fix"]


def test_a_photo_once_more_with_another_model_and_size(
    client: TestClient, trace: str, photo: bytes
) -> None:
    job = client.post(f"/api/run?photo={trace}&model=swin_nano&weights=bundled&size=32").json()
    assert job["name"] == "noise.png"
    done = finish(client, job)
    manifest = client.get(f"/api/traces/{done['trace']}").json()
    assert manifest["model"]["name"] == "swin_nano" and manifest["model"]["trained"]
    assert [line["id"] for line in client.get("/api/traces").json()] == [done["trace"], trace]
    assert client.post("/api/run?photo=gone").status_code == 404


def test_what_fails_in_a_run_is_reported_in_three_lines(
    client: TestClient, photo: bytes, model: Swin
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret/folder")

    model.register_forward_pre_hook(broken)
    done = finish(client, client.post("/api/run?size=16", content=photo).json())
    assert done["state"] == "failed" and done["trace"] is None
    assert "RuntimeError" in done["error"]["given"]
    assert "secret" not in json.dumps(done)


def test_a_hostile_name_stays_text(client: TestClient, photo: bytes) -> None:
    hostile = '<script>alert(1)</script>\x1b[31m\u202egpj."\r\nSet-Cookie: a=b'
    job = client.post("/api/run", params={"size": "16", "name": hostile}, content=photo).json()
    done = finish(client, job)
    answer = client.get(f"/api/traces/{done['trace']}")
    assert answer.headers["content-type"] == "application/json"
    name = answer.json()["photo"]["name"]
    assert name.startswith("<script>alert(1)</script>")
    assert not {"\x1b", "\u202e", "\r", "\n"} & set(name)
    long = client.post("/api/run", params={"size": "16", "name": "x" * 4000}, content=photo)
    assert len(long.json()["name"]) <= 80


def test_sizes() -> None:
    assert parse_size(None) is None and parse_size("") is None
    assert parse_size("96x128") == (96, 128)
    assert parse_size("64") == (64, 64)
    with refuses("9x9x9", "224x224"):
        parse_size("9x9x9")
    with refuses("4000", "224x224"):
        parse_size("4000")
