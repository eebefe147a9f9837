"""Rollout in the page is rollout in Python, on the same trace."""

import numpy as np
import pytest

from tests.browser.pages import APP
from tests.mechanisms import MECHANISMS
from vitrail.explain import rollout, rollout_stages

PAGE = f"""async ([block, token]) => {{
  const map = await {APP}.trace.value.rollout(block, token);
  return {{ shape: [map.height, map.width], values: [...map.values] }};
}}"""


@pytest.mark.parametrize("name", ["swin", "pvt", "vit", "focal", "axial_tiny"])
@pytest.mark.parametrize("size", [(32, 48), (21, 31)])
def test_a_map_is_the_one_that_python_makes(saved, open_page, name: str, size) -> None:
    path, report = saved(size, model=MECHANISMS[name]())
    page = open_page(path).page
    trace = report.trace
    for index in {0, len(trace.blocks) // 2, len(trace.blocks) - 1}:
        block = trace.blocks[index]
        for position in ((0, 0), tuple(n // 2 for n in block.spatial)):
            token = block.pattern.prefix + position[0] * block.spatial[1] + position[1]
            shown = page.evaluate(PAGE, [index, token])
            expected = rollout(trace, index, position).numpy()
            assert shown["shape"] == list(expected.shape)
            values = np.array(shown["values"]).reshape(expected.shape)
            assert values.sum() == pytest.approx(1, abs=1e-5)
            assert np.abs(values - expected).max() <= 1e-3, (index, position)
            # What no weight reaches is dark in both.
            assert (values[expected == 0] == 0).all()


def test_the_stages_between_are_right_too(saved, open_page) -> None:
    path, report = saved((27, 43))
    page = open_page(path).page
    block = report.trace.blocks[-1]
    position = tuple(n - 1 for n in block.spatial)
    token = position[0] * block.spatial[1] + position[1]
    page.locator('[data-tab="reach"]').click()
    expected = rollout_stages(report.trace, len(report.trace.blocks) - 1, position)
    shown = page.evaluate(PAGE, [len(report.trace.blocks) - 1, token])
    assert np.abs(np.array(shown["values"]) - expected[-1].numpy().ravel()).max() <= 1e-3
    assert len(expected) == 2
