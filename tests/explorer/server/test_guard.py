"""Who may talk to the server: token, Host, Origin, and the headers on every answer."""

import socket
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.explorer.server.conftest import ADDRESS, TOKEN
from vitrail.explorer.server.guard import HEADERS, TOKEN_HEADER, Address, Guard

ROUTES = [
    "/",
    "/explorer.js",
    "/explorer.css",
    "/api/traces",
    "/api/traces/x",
    "/api/traces/x/arrays/b0/mean",
    "/api/models",
    "/api/jobs",
    "/api/jobs/x",
    "/no/such/place",
]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "ü" * 9])
def test_without_the_token_nothing_is_sent(
    stranger: TestClient, route: str, token: str | None
) -> None:
    headers = {} if token is None else {TOKEN_HEADER.encode(): token.encode()}
    answer = stranger.get(route, headers=headers)
    assert answer.status_code == 403
    assert answer.json().keys() == {"given", "allowed", "fix"}


def test_without_the_token_nothing_is_done(stranger: TestClient, photo: bytes) -> None:
    assert stranger.post("/api/run", content=photo).status_code == 403
    assert stranger.delete("/api/jobs/x").status_code == 403
    state: Any = stranger.app
    assert state.app.state.state.jobs.unfinished() == []


def test_a_token_in_the_address_opens_the_page_only(stranger: TestClient) -> None:
    assert stranger.get(f"/api/traces?token={TOKEN}").status_code == 403
    assert stranger.get("/?token=wrong").status_code == 403
    assert stranger.get(f"/?token={TOKEN}").status_code == 303


def test_the_link_leads_to_the_page_with_a_strict_cookie(stranger: TestClient) -> None:
    answer = stranger.get(f"/?token={TOKEN}")
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("vitrail-8123=") and "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert stranger.get("/").status_code == 200
    assert stranger.get("/api/traces").json() == []


def test_a_link_on_another_page_still_gets_a_cookie_that_is_sent(stranger: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    answer = stranger.get(f"/?token={TOKEN}", headers=headers)
    assert answer.status_code == 200 and 'content="0; url=/"' in answer.text
    assert TOKEN not in answer.text and "vitrail-8123=" in answer.headers["set-cookie"]


def test_the_cookie_of_a_server_on_another_port_is_not_ours(stranger: TestClient) -> None:
    assert stranger.get("/api/traces", headers={"Cookie": f"vitrail-1={TOKEN}"}).status_code == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil:8123",
        "127.0.0.1.evil.example:8123",
        "evil:8123",
        "localhost",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.0.0.1:81230",
        "127.0.0.1:8123@evil",
        "127.0.0.1:8123.evil",
        "user@localhost:8123",
        "localhost.:8123",
        "[::2]:8123",
        "0.0.0.0:8123",
        "",
        " ",
    ],
)
def test_a_foreign_host_is_refused_although_the_token_is_right(
    client: TestClient, host: str
) -> None:
    answer = client.get("/api/traces", headers={"Host": host})
    assert answer.status_code == 403
    assert "Host" in answer.json()["given"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8123", "localhost:8123", "LOCALHOST:8123", "[::1]:8123"]
)
def test_the_names_of_this_machine_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/traces", headers={"Host": host}).status_code == 200


def test_two_hosts_are_refused(client: TestClient) -> None:
    headers = [("Host", "127.0.0.1:8123"), ("Host", "evil.example"), (TOKEN_HEADER, TOKEN)]
    assert client.get("/api/traces", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1:8123",
        "http://127.0.0.1:8124",
        "http://127.0.0.1",
        "http://localhost:8123",
        "http://127.0.0.1:8123.evil.example",
        "null",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_request_that_another_page_makes_is_refused(
    client: TestClient, origin: str, method: str
) -> None:
    answer = client.request(method, "/api/jobs/x", headers={"Origin": origin})
    assert answer.status_code == 403
    assert "Origin" in answer.json()["given"]


def test_a_request_of_the_page_itself_is_answered(client: TestClient) -> None:
    headers = {"Origin": "http://127.0.0.1:8123", "Sec-Fetch-Site": "same-origin"}
    assert client.get("/api/traces", headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("route", ["/api/traces", "/explorer.js", "/"])
def test_what_another_page_embeds_is_refused(client: TestClient, site: str, route: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    assert client.get(route, headers=headers).status_code == 403


def test_another_page_may_link_to_the_page_but_to_nothing_else(client: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=headers).status_code == 200
    assert client.get("/api/traces", headers=headers).status_code == 403


@pytest.mark.parametrize("route", [*ROUTES, f"/?token={TOKEN}"])
def test_every_answer_carries_the_headers(client: TestClient, route: str) -> None:
    for answer in (client.get(route), client.get(route, headers={"Host": "evil"})):
        for name, value in HEADERS.items():
            assert answer.headers.get_list(name) == [value], name


def test_the_policy_allows_nothing_from_elsewhere() -> None:
    policy = dict(part.split(" ", 1) for part in HEADERS["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in str(policy) and "http" not in str(policy) and "*" not in str(policy)
    assert HEADERS["Cache-Control"] == "no-store"
    assert HEADERS["X-Content-Type-Options"] == "nosniff"


def test_no_answer_allows_another_origin_to_read_it(client: TestClient) -> None:
    answer = client.get("/api/traces")
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_preflight_is_refused(client: TestClient) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert client.options("/api/run", headers=headers).status_code == 403


def test_there_are_no_web_sockets(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/traces"):
        pass


def test_tokens_are_long_and_never_the_same() -> None:
    async def nothing(*_: object) -> None: ...

    guards = [Guard(nothing, ADDRESS) for _ in range(20)]
    assert len({guard.token for guard in guards}) == 20
    assert all(len(guard.token) >= 43 for guard in guards)
    assert guards[0].token not in repr(guards[0])
    assert guards[0].link == f"http://127.0.0.1:8123/?token={guards[0].token}"


@pytest.mark.parametrize(
    ("host", "named", "answered"),
    [
        ("0.0.0.0", "192.168.1.7:80", True),
        ("0.0.0.0", "evil.example:80", False),
        ("0.0.0.0", "localhost", True),
        ("0.0.0.0", socket.gethostname(), True),
        ("::", "[fe80::1]", True),
        ("192.168.1.7", "192.168.1.7", True),
        ("192.168.1.7", "192.168.1.8", False),
        ("192.168.1.7", "localhost", False),
        ("my-machine", "My-Machine:80", True),
        ("my-machine", "my-machine.evil", False),
    ],
)
def test_a_server_for_others_answers_to_its_own_names(
    host: str, named: str, answered: bool
) -> None:
    assert Address(host, 80).answers_to(named) is answered


def test_addresses_for_a_browser() -> None:
    assert Address("::1", 5).url == "http://[::1]:5/"
    assert Address("0.0.0.0", 5).url == "http://127.0.0.1:5/"
    assert Address("::1", 5).local and not Address("0.0.0.0", 5).local
