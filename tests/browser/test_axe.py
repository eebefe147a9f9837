"""axe, the accessibility checker, finds nothing serious in any view, light or dark."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser.pages import VIEWS, choose, put

AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture
def axe() -> str:
    """The checker's script; without Node's packages these tests cannot run."""
    import os

    if AXE.is_file():
        return AXE.read_text(encoding="utf-8")
    reason = "axe-core is not installed: sh scripts/need_node.sh must"
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(reason)
    pytest.skip(reason)


def serious(page: Any, axe: str) -> list[tuple[str, str, str]]:
    """Return rule, element and reason of every serious or critical finding."""
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run({resultTypes: ['violations']})).violations")
    return [
        (rule["id"], node["html"][:120], node["failureSummary"][:200])
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_in_any_view(saved, open_page, axe: str, scheme: str) -> None:
    path, _ = saved((27, 43), scored=True)
    page = open_page(path, color_scheme=scheme, bypass_csp=True).page
    choose(page, 1, 0)
    findings = {}
    for view in VIEWS:
        put(page, view=view)
        page.locator(f'[data-view="{view}"]').wait_for()
        for kind in ("python", "table"):
            for tool in page.locator(f'[data-view="{view}"] [data-tool="{kind}"]').all():
                tool.click()
        page.wait_for_timeout(300)
        findings[view] = serious(page, axe)
    # The tour's first step, and two sides.
    put(page, step=0)
    page.wait_for_timeout(200)
    findings["tour"] = serious(page, axe)
    assert not any(findings.values()), findings


def test_axe_would_find_a_fault(saved, open_page, axe: str) -> None:
    path, _ = saved((2, 2))
    page = open_page(path, bypass_csp=True).page
    page.evaluate("document.querySelector('main').insertAdjacentHTML('afterbegin', '<button/>')")
    assert "button-name" in {rule for rule, *_ in serious(page, axe)}
