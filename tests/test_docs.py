"""Documentation that points somewhere points at something that exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
HANDLED = ROOT / "docs" / "handled.md"
NODE = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?(?:::(\w+))?`")


def links(text: str) -> list[str]:
    """Return the targets of a page's relative links and pictures."""
    text = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    return [t for t in targets if not re.match(r"[a-z]+:", t)]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@cache
def names_in(file: Path) -> set[tuple[str, ...]]:
    """Return the names of a file's tests, each with its class if it has one."""
    names: set[tuple[str, ...]] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add((node.name,))
        elif isinstance(node, ast.ClassDef):
            names.update((node.name, f.name) for f in node.body if isinstance(f, ast.FunctionDef))
    return names


def named_tests() -> list[tuple[str, ...]]:
    """Return (file, names...) of every test that the table of handled troubles names."""
    found = NODE.findall(HANDLED.read_text(encoding="utf-8"))
    return sorted({tuple(part for part in parts if part) for parts in found})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    for link in links(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}, which does not exist"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} links to {link}: no such heading"


@pytest.mark.parametrize("name", named_tests(), ids="::".join)
def test_a_test_that_the_table_names_exists(name: tuple[str, ...]) -> None:
    file = ROOT / name[0]
    assert file.is_file(), f"docs/handled.md names {name[0]}, which does not exist"
    if len(name) > 1:
        assert name[1:] in names_in(file), f"docs/handled.md names {'::'.join(name)}"
        assert name[-1].startswith("test_")


def test_every_row_of_the_table_names_a_test_or_a_command() -> None:
    rows = [line for line in HANDLED.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    rows = [row for row in rows if not row.startswith(("| trouble", "| defect"))]
    assert len(rows) >= 35
    for row in rows:
        how = row.strip().strip("|").split("|")[-1]
        assert NODE.search(how) or re.search(r"`(vitrail|make) ", how), f"nothing shows: {row}"


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs" / "adr").glob("[0-9]*.md"):
        assert f"(adr/{page.name})" in index
