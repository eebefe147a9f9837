"""The server as a process: the link it prints, whom it answers, and how it ends."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import refuses
from vitrail.explorer.server.app import make_state
from vitrail.explorer.server.models import Models
from vitrail.explorer.server.serve import bind, make_server

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., "tuple[subprocess.Popen[str], str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `vitrail explore ... --serve --json` and return the process and its link."""
    processes: list[subprocess.Popen[str]] = []
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"}

    def run(*words: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "vitrail.cli.main", "explore", *words, "--serve", "--json"],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        return process, json.loads("".join(lines))["url"]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    """Return status and body; only this machine is contacted, whatever proxies there are."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(
        url, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_from_the_link_to_ctrl_c(start: Start, tmp_path: Path) -> None:
    Image.new("RGB", (60, 40), (200, 30, 30)).save(tmp_path / "red.jpg")
    process, link = start("red.jpg", "--size", "32x48")
    base, _, token = link.partition("?token=")
    assert base.startswith("http://127.0.0.1:") and len(token) >= 43
    assert fetch(f"{base}api/traces")[0] == 403
    assert fetch(base)[0] == 403
    assert fetch(f"{base}api/traces", X_Vitrail_Token=token, Host="localhost.evil")[0] == 403
    traces: list[dict] = []
    for _ in range(600):
        status, body = fetch(f"{base}api/traces", X_Vitrail_Token=token)
        assert status == 200
        traces = json.loads(body)
        if traces:
            break
        time.sleep(0.1)
    (line,) = traces
    assert (line["name"], line["model"], line["size"]) == ("red.jpg", "swin_nano", [32, 48])
    manifest = json.loads(fetch(f"{base}api/traces/{line['id']}", X_Vitrail_Token=token)[1])
    name = manifest["blocks"][0]["mean"]
    status, data = fetch(f"{base}api/traces/{line['id']}/arrays/{name}", X_Vitrail_Token=token)
    assert status == 200
    assert len(data) == np.prod(manifest["arrays"][name]["shape"])
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode in (0, 130), err
    assert "Traceback" not in out + err and token not in err


def test_ctrl_c_while_a_model_runs(start: Start, tmp_path: Path) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "black.png")
    process, link = start("black.png", "--model", "swin_tiny", "--weights", "none")
    base, _, token = link.partition("?token=")
    for _ in range(600):
        _, body = fetch(f"{base}api/jobs", X_Vitrail_Token=token)
        if any(job["state"] == "running" for job in json.loads(body)):
            break
        if json.loads(body) == []:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode in (0, 130), err
    assert "Traceback" not in err


def test_without_a_photo_the_page_waits_for_one(start: Start) -> None:
    process, link = start()
    base, _, token = link.partition("?token=")
    assert fetch(f"{base}api/traces", X_Vitrail_Token=token) == (200, b"[]")
    assert fetch(base, X_Vitrail_Token=token)[0] == 200
    with socket.socket() as other, pytest.raises(OSError):
        other.bind(("127.0.0.1", int(base.rsplit(":", 1)[1].strip("/"))))
    assert process.poll() is None


def test_a_port_that_is_taken() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with refuses(f"--port {port}", "--port 0"):
            bind("127.0.0.1", port)


def test_ports_and_hosts_that_are_none() -> None:
    with refuses("--port 70000", "--port 0"):
        bind("127.0.0.1", 70000)
    with refuses("no such host.invalid", "leave --host out"):
        bind("no such host.invalid", 0)
    with refuses("192.0.2.1", "--port 0"):
        bind("192.0.2.1", 0)


def test_only_this_machine_by_default() -> None:
    with bind("127.0.0.1", 0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_handlers_of_other_logs_stay_open() -> None:
    """Some close the stream that they write to, which may be the caller's standard error."""

    class Watched(logging.Handler):
        closed = False

        def close(self) -> None:
            self.closed = True
            super().close()

    handler = Watched()
    with bind("127.0.0.1", 0) as listener:
        make_server(make_state(Models()), listener, "127.0.0.1")
    assert not handler.closed
