"""The committed page is what its sources build, small, and sealed."""

import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
STATIC = ROOT / "src" / "vitrail" / "explorer" / "static"
BUNDLE = ("explorer.js", "explorer.css")
BUDGET = 150_000  # bytes of script and style together, compressed as they travel
READABLE = 400_000  # bytes as they lie in a report


@pytest.fixture
def node() -> str:
    """Node with the packages of the lock file; missing, tests are skipped, but in CI they fail."""
    found = shutil.which("node")
    if found and (WEB / "node_modules" / "esbuild").is_dir():
        return found
    reason = "the page's sources need Node 20 and `npm ci` in web/; sh scripts/need_node.sh must"
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(reason)
    pytest.skip(reason)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=WEB, check=False, capture_output=True, text=True)


def test_the_bundle_is_what_the_sources_build(node: str, tmp_path: Path) -> None:
    done = run(node, "build.mjs", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for name in BUNDLE:
        same = (tmp_path / name).read_bytes() == (STATIC / name).read_bytes()
        assert same, f"{name} is not what web/src builds; run `make web` and commit it"


def test_the_sources_pass_their_checks(node: str) -> None:
    for words in (
        [node, "node_modules/typescript/bin/tsc", "--noEmit"],
        [node, "lint.mjs"],
        [node, "types.mjs", "--check"],
    ):
        done = run(*words)
        assert done.returncode == 0, done.stdout + done.stderr


def test_script_and_style_keep_to_their_budget(record_property) -> None:
    texts = [(STATIC / name).read_bytes() for name in BUNDLE]
    sent, raw = sum(len(gzip.compress(text, 9)) for text in texts), sum(map(len, texts))
    record_property("bundle_bytes", raw)
    record_property("bundle_bytes_compressed", sent)
    print(f"bundle: {raw / 1000:.1f} kB, {sent / 1000:.1f} kB compressed")
    assert sent <= BUDGET
    assert raw <= READABLE


def test_the_script_can_be_read() -> None:
    lines = (STATIC / "explorer.js").read_text("utf-8").splitlines()
    assert len(lines) > 1000
    text = "\n".join(lines)
    assert "decodeRow" in text
    assert "rolloutStages" in text


def test_nothing_of_the_bundle_points_outside() -> None:
    for name in BUNDLE:
        text = (STATIC / name).read_text("utf-8")
        found = set(re.findall(r"(?:https?:)?//[\w-]+\.[\w./-]+", text))
        assert all("www.w3.org" in address for address in found), found
        assert "</script" not in text.lower()
        assert "</style" not in text.lower()


def test_every_style_stays_under_the_pages_own_class() -> None:
    """A notebook's page must not change."""
    text = re.sub(r"/\*.*?\*/", "", (STATIC / "explorer.css").read_text("utf-8"), flags=re.S)
    depth, start, selectors = 0, 0, []
    for at, sign in enumerate(text):
        if sign == "{":
            head = text[start:at].strip()
            if not head.startswith("@"):
                if depth == 0:
                    selectors += head.split(",")
                depth += 1
            start = at + 1
        elif sign in "};":
            depth = max(0, depth - (sign == "}"))
            start = at + 1
    assert len(selectors) > 5
    strange = [s for s in selectors if not s.strip().startswith((".vitrail", "from", "to"))]
    assert not strange


def test_the_lock_file_names_no_addresses() -> None:
    lock = (WEB / "package-lock.json").read_text("utf-8")
    assert "resolved" not in lock
    assert "http" not in re.sub(r'"url": "[^"]*"', "", lock)
    assert "omit-lockfile-registry-resolved=true" in (WEB / ".npmrc").read_text("utf-8")


def test_at_run_time_the_page_needs_little() -> None:
    package = json.loads((WEB / "package.json").read_text("utf-8"))
    assert set(package["dependencies"]) == {"preact", "@preact/signals", "d3-scale"}
    versions = {**package["dependencies"], **package["devDependencies"]}.values()
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
