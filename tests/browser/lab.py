"""A real JupyterLab on this machine, in an empty home, and one notebook worked through its page."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240_000  # ms; a loaded machine is slow, not wrong


@dataclass(frozen=True)
class Lab:
    """A running server.

    Args:
        url: where it listens.
        token: the secret that requests must carry.
        folder: its notebooks.
    """

    url: str
    token: str
    folder: Path


@contextmanager
def running(home: Path) -> Iterator[Lab]:
    """Start JupyterLab on the loopback address, and stop it with its kernels."""
    folder, token = home / "notebooks", secrets.token_hex(16)
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--expose-app-in-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
        *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"),
        *("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",),
        *("--LabApp.news_url=None", "--LabApp.extension_manager=readonly"),
    ]
    lab = Lab(f"http://127.0.0.1:{port}", token, folder)
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            words, cwd=folder, env=_environment(home, token), stdout=log, stderr=log
        )
        try:
            _wait(server, lab, home / "server.log")
            yield lab
        finally:
            server.terminate()  # SIGTERM: it ends its kernels
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _environment(home: Path, token: str) -> dict[str, str]:
    own = {
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_TOKEN": token,  # not on the command line, which other users can see
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
    }
    for name in ("CONFIG", "DATA", "RUNTIME"):
        own[f"JUPYTER_{name}_DIR"] = str(home / name.lower())
    for name in ("SETTINGS", "WORKSPACES"):
        own[f"JUPYTERLAB_{name}_DIR"] = str(home / name.lower())
    return {**os.environ, **own}


def _wait(server: subprocess.Popen[bytes], lab: Lab, log: Path) -> None:
    end = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < end and server.poll() is None:
        try:
            send = Request(f"{lab.url}/api/status", headers={"Authorization": f"token {lab.token}"})
            with urlopen(send, timeout=5):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@dataclass
class Notebook:
    """An open notebook.

    Args:
        page: Playwright's.
        folder: where it lies, and what it writes.
        outside: addresses that were requested beyond this machine.
        errors: what the page complained about.
        looks: how the notebook's own elements looked before anything was shown.
    """

    page: Any
    folder: Path
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    looks: list[dict[str, str]] = field(default_factory=list)

    def run(self, cell: int) -> str:
        """Run a cell, and return what it printed once it has ended."""
        self.page.evaluate(
            """async (cell) => {
                const panel = jupyterapp.shell.currentWidget;
                await panel.sessionContext.ready;
                panel.content.activeCellIndex = cell;
                await jupyterapp.commands.execute('notebook:run-cell');
            }""",
            cell,
        )
        outputs = json.loads(
            self.page.evaluate(
                """(cell) => JSON.stringify(jupyterapp.shell.currentWidget.content
                    .widgets[cell].model.outputs.toJSON())""",
                cell,
            )
        )
        failed = [o for o in outputs if o["output_type"] == "error"]
        assert not failed, "\n".join(failed[0]["traceback"])
        return "".join("".join(o["text"]) for o in outputs if o["output_type"] == "stream")


def open_notebook(context: Any, lab: Lab, name: str, sources: list[str]) -> Notebook:
    """Write a notebook of code cells, and open it with its kernel started."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [new_code_cell(source) for source in sources]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab.folder / name)
    context.set_default_timeout(PATIENCE)
    notebook = Notebook(context.new_page(), lab.folder)

    def allow(route: Any) -> None:
        if route.request.url.startswith((lab.url, "data:", "blob:")):
            route.continue_()
        else:
            notebook.outside.append(route.request.url)
            route.abort()

    notebook.page.route("**/*", allow)
    notebook.page.on("pageerror", lambda error: notebook.errors.append(str(error)))
    notebook.page.goto(f"{lab.url}/lab/tree/{name}?token={lab.token}")
    notebook.page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    notebook.page.evaluate(
        """async () => {
            await jupyterapp.restored;
            await jupyterapp.shell.currentWidget.sessionContext.ready;
        }"""
    )
    return notebook
