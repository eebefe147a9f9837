"""The shape checker is on in the pass with its option, in every worker."""

import pytest
import torch

from vitrail.ops.windows import partition


def test_a_wrong_rank_is_seen_by_the_checker(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--jaxtyping-packages"):
        pytest.skip("this pass runs without the shape checker")
    with pytest.raises(Exception) as caught:
        partition(torch.zeros(3), (2, 2))
    assert type(caught.value).__module__.startswith("jaxtyping")
