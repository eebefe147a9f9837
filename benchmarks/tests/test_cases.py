"""The list of cases, and how a few of them are picked."""

import json

import pytest

from benchmarks.speed.cases import Case, case, choose, on_cpu, on_cuda, quick
from benchmarks.speed.goals import GOALS
from tests.support import refuses


def chosen(**filters: list) -> list[Case]:
    empty: dict = {"models": [], "tasks": [], "sizes": [], "batches": [], "dtypes": []}
    return choose(on_cpu(), **(empty | filters), device="cpu")


def test_every_goal_has_its_case_and_it_comes_early() -> None:
    cpu, cuda = ([one.name for one in listed] for listed in (on_cpu(), on_cuda()))
    for goal in GOALS:
        listed = cuda if goal.case.endswith("-cuda") else cpu
        assert goal.case in listed and listed.index(goal.case) < 12, goal.name
    priorities = [one.priority for one in on_cpu()]
    assert priorities == sorted(priorities)
    assert len(set(cpu)) == len(cpu) > 50 and len(set(cuda)) == len(cuda) > 50


def test_the_list_has_all_that_was_asked_for() -> None:
    models = {"swin_tiny", "swin_base", "swin_v2_tiny", "pvt_v2_b2", "focal_tiny"}
    for size in (512, 1024, 2048):
        assert {c.model for c in chosen(sizes=[size], tasks=["inference"])} == models
    for dtype in ("fp32", "bf16"):
        for batch in (1, 8):
            found = chosen(dtypes=[dtype], batches=[batch], tasks=["inference"])
            assert models <= {c.model for c in found if c.size[-1] in (224, 256)}
    assert {c.batch for c in on_cuda() if c.task == "inference"} >= {1, 64, 256}
    assert any(c.model == "video_swin_tiny" and c.size == (32, 224, 224) for c in on_cpu())


def test_each_list_is_of_its_device() -> None:
    assert {c.device for c in (*on_cuda(), *quick("cuda"))} == {"cuda"}
    assert {c.device for c in (*on_cpu(), *quick())} == {"cpu"}


def test_a_case_survives_json() -> None:
    for one in (*on_cpu(), *on_cuda(), *quick("cuda")):
        assert Case.of(json.loads(json.dumps(one.as_dict()))) == one


def test_names_are_file_names_and_differ() -> None:
    assert case("inference", "swin_tiny", 224, 8, "bf16").name == "swin_tiny-inference-224-b8-bf16"
    assert case("training", "swin_tiny", (224, 448), 1, "fp32", device="cuda").name == (
        "swin_tiny-training-224x448-b1-fp32-cuda"
    )


def test_filters_pick_and_make_cases() -> None:
    (one,) = chosen(
        models=["swin_tiny"], sizes=[224], batches=[8], dtypes=["bf16"], tasks=["training"]
    )
    assert one.name == "swin_tiny-training-224-b8-bf16" and one.priority == 1
    (made,) = chosen(models=["swin_small"], sizes=[320], batches=[2])
    assert made == case("inference", "swin_small", 320, 2, "fp32")
    (own,) = chosen(models=["swin_v2_small"])
    assert own.size == (256, 256) and own.every_setting


@pytest.mark.parametrize(
    ("words", "given", "fix"),
    [
        (("sleep", "swin_tiny", 224, 1, "fp32", "cpu"), "'sleep'", "use 'inference'"),
        (("inference", "swin_tin", 224, 1, "fp32", "cpu"), "'swin_tin'", "use 'swin_tiny'"),
        (("inference", "swin_tiny", 224, 1, "int8", "cpu"), "'int8'", "use 'fp32'"),
        (("inference", "swin_tiny", 224, 1, "fp32", "tpu"), "'tpu'", "use 'cpu'"),
    ],
)
def test_what_is_no_case_is_refused(words: tuple, given: str, fix: str) -> None:
    *first, device = words
    with refuses(given, fix):
        case(*first, device=device)


def test_nothing_that_is_named_is_left_out() -> None:
    few: dict = {"tasks": ["inference"], "batches": [8], "dtypes": ["bf16"]}
    both = chosen(models=["swin_tiny", "swin_small"], sizes=[224], **few)
    assert [(one.model, one.priority) for one in both] == [("swin_tiny", 1), ("swin_small", 1)]
    sizes = chosen(models=["swin_tiny"], sizes=[224, 320], **few)
    assert [one.size for one in sizes] == [(224, 224), (320, 320)]
    (named,) = {one.name for one in chosen(models=["swin_tiny"] * 2, sizes=[224], **few)}
    assert named == both[0].name
    with refuses("swin_tinny", "use 'swin_tiny'"):
        chosen(models=["swin_tiny", "swin_tinny"], **few)


@pytest.mark.parametrize("filters", [{"sizes": [17]}, {"sizes": [224, 17]}, {"dtypes": ["fp16"]}])
def test_filters_that_fit_nothing_are_refused(filters: dict) -> None:
    with refuses("no case", "name a model"):
        chosen(**filters)
