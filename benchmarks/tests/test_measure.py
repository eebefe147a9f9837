"""One case, measured: equal answers, refusals, times, memory, ratios."""

import copy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.speed import contenders, measure, operations, peers
from benchmarks.speed.cases import Case, case
from benchmarks.speed.goals import curve
from benchmarks.speed.results import in_words
from vitrail.bench.timing import Effort
from vitrail.layers import Attend
from vitrail.models import CATALOG, FocalConfig, SwinConfig, SwinV2Config

LIBRARIES = ("timm", "torchvision", "transformers")
EAGER = frozenset({"eager", "plain"})


def measured(task: str, dtype: str = "fp32", size: int = 112, **options: Any) -> dict[str, Any]:
    one = case(task, "small", size, 2, dtype)
    facts = {"settings": EAGER, "quick": True, **options}
    return measure.measure(one, effort=Effort(3, 3, 0.0), **facts)


def entries(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["library"]: entry for entry in row["contenders"]}


@pytest.mark.parametrize("task", ["inference", "training"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_every_library_answers_alike_and_is_timed(task: str, dtype: str) -> None:
    result = measured(task, dtype)
    (row,) = result["rows"]
    found = entries(row)
    for library in ("vitrail", *LIBRARIES):
        entry = found[library]
        assert entry["difference"] < {"fp32": 5e-6, "bf16": 0.1}[dtype], library
        assert entry["seconds"]["rounds"] == 3 and entry["seconds"]["median"] > 0
        assert entry["first_seconds"] > 0 and entry["peak_bytes"] > 0
    assert set(row["ratios"]) == set(LIBRARIES) and row["best"]["vitrail"] == "eager"
    low, high = row["ratios"]["timm"]["quartiles"]
    assert low <= row["ratios"]["timm"]["median"] <= high
    assert row["over_floor"] > 1 and row["floor"]["flops"] > 0
    assert found["official"]["absent"] == "has no such model"
    assert result["machine"]["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert result["limits"]["flops"] > 0 and result["limits"]["bytes"] > 0


def test_training_remembers_more_than_a_pass() -> None:
    peaks = [
        entries(measured(task, only=frozenset({"timm"}))["rows"][0])["vitrail"]["peak_bytes"]
        for task in ("inference", "training")
    ]
    assert peaks[1] > 2 * peaks[0]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_an_answer_that_differs_is_refused(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_shifts(model: Any, one: Case) -> nn.Module:
        peer = peers.timm(model, one)
        layers: list[Any] = list(peer.modules())
        for module in layers:
            if hasattr(module, "shift_size"):
                module.shift_size = (0, 0)
                module.attn_mask = None
        return peer

    monkeypatch.setitem(peers.LIBRARIES, "timm", without_shifts)
    (row,) = measured("inference", dtype)["rows"]
    entry = entries(row)["timm"]
    assert "differs by" in entry["refused"] and "seconds" not in entry
    assert "timm" not in row["ratios"] and "torchvision" in row["ratios"]


def test_a_peer_that_rolls_before_it_pads_is_refused() -> None:
    (row,) = measured("inference", size=128)["rows"]  # 32 tokens, padded to 35
    assert "refused" in entries(row)["timm"]
    assert set(row["ratios"]) == {"torchvision", "transformers"}


def test_an_answer_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 10, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x).mean((2, 3)) * torch.nan

    monkeypatch.setitem(peers.LIBRARIES, "timm", lambda model, one: Broken())
    (row,) = measured("inference", only=frozenset({"timm"}))["rows"]
    assert "differs by inf" in entries(row)["timm"]["refused"]


def test_a_failure_is_reported_and_raised_where_nothing_of_ours_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> nn.Module:
        raise ValueError("out of order\nmore")

    def silent(*_: Any, **__: Any) -> nn.Module:
        raise AssertionError

    monkeypatch.setitem(peers.LIBRARIES, "timm", broken)
    (row,) = measured("inference", only=frozenset({"timm"}))["rows"]
    assert entries(row)["timm"]["failed"] == "ValueError: out of order"
    assert row["ratios"] == {}
    monkeypatch.setattr(contenders, "optimize", silent)
    settings = frozenset({"eager", "optimize"})
    (row,) = measured("inference", only=frozenset({"timm"}), settings=settings)["rows"]
    facts = {e["setting"]: e for e in row["contenders"] if e["library"] == "vitrail"}
    assert facts["optimize"]["failed"] == "AssertionError: " and "seconds" in facts["eager"]
    assert any("failed: vitrail (optimize)" in line for line in in_words({"rows": [row]}))
    monkeypatch.setattr(contenders, "compiled", broken)
    with pytest.raises(ValueError, match="out of order"):
        measured("inference", only=frozenset({"timm"}))


@pytest.mark.parametrize(("task", "backend"), [("inference", "sdpa"), ("training", "reference")])
def test_a_kernel_is_not_its_own_measure(task: str, backend: str) -> None:
    here = case(task, "small", 112, 2, "fp32")
    model = peers.ours(here)
    assert measure._by_torch(model, here) is model
    made = measure._by_torch(model, replace(here, device="cuda"))
    assert {m.backend for m in made.modules() if isinstance(m, Attend)} == {backend}
    assert {m.backend for m in model.modules() if isinstance(m, Attend)} == {None}


def test_a_package_that_is_not_here_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm.models", None)
    (row,) = measured("inference", only=frozenset({"timm"}))["rows"]
    assert "not installed" in entries(row)["timm"]["absent"]


def test_preparing_times_nothing() -> None:
    (row,) = measured("inference", prepare=True, only=frozenset({"timm"}))["rows"]
    assert "difference" in entries(row)["timm"]
    assert "ratios" not in row and not any("seconds" in e for e in row["contenders"])


@pytest.mark.filterwarnings("ignore")  # of converters about the model they convert
def test_the_runtimes_answer_alike() -> None:
    settings = frozenset({"eager", "timm's graph"})
    both = frozenset({"OpenVINO", "ONNX Runtime"})
    (row,) = measured("inference", settings=settings, only=both)["rows"]
    for library in both:
        entry = entries(row)[library]
        assert "absent" in entry or (entry["difference"] < 1e-5 and entry["peak_bytes"] is None)


def test_what_optimize_makes_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def made(model: nn.Module, example: torch.Tensor, *, dtype: torch.dtype) -> nn.Module:
        asked.append((tuple(example.shape), example.dtype, dtype, model.training))
        return copy.deepcopy(model).to(dtype)

    monkeypatch.setattr(contenders, "optimize", made)
    settings = frozenset({"optimize"})
    (row,) = measured("inference", "bf16", settings=settings, only=frozenset({"none"}))["rows"]
    assert row["best"] == {"vitrail": "optimize"}
    assert asked == [((2, 3, 112, 112), torch.float32, torch.bfloat16, False)]


def test_attention_alone_layer_by_layer() -> None:
    result = measured("attention", size=112)
    labels = [row["label"] for row in result["rows"]]
    assert labels == [f"stage {s}, {k}" for s in (1, 2) for k in ("regular", "shifted")]
    for row in result["rows"]:
        assert set(row["ratios"]) == {"SDPA with mask", "plain products"}
        assert all(e["difference"] < 1e-6 for e in row["contenders"] if "difference" in e)


def test_a_gpu_s_calls_stand_in_line_over_more_than_its_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[set[int]] = []

    def recorded(calls: list[Any]) -> Any:
        lines.append({call.args[0].data_ptr() for call in calls})
        return lambda: [call() for call in calls]

    one = case("attention", "small", 112, 2, "fp32", device="cuda")
    (layer, *_) = operations.layers(one)
    given = operations.inputs(layer, replace(one, device="cpu"))
    monkeypatch.setattr(operations, "recorded", recorded)
    monkeypatch.setattr(operations, "_MORE_THAN_CACHED", 4.5 * given.qkv.nbytes)
    found = [c for c in operations.contenders(one, given) if c.setting in EAGER]
    reference = [operations.composed(given.qkv, layer, operations.by_products(given))]
    ready, _ = measure._prepared(one, found, reference)
    assert set(ready) == {"vitrail (plain)", "SDPA with mask (eager)", "plain products (eager)"}
    assert [len(line) for line in lines] == [5, 5, 5]
    assert all(len(running.call()) == 5 for _, running in ready.values())
    monkeypatch.setattr(measure, "interleave", lambda calls, *_: {name: [10.0] for name in calls})
    monkeypatch.setattr(measure.memory, "peak", lambda *_: 0)
    row = {"contenders": [{"library": c.library, "setting": c.setting} for c in found]}
    measure._race(one, row, ready, Effort(1, 1, 0.0))
    assert entries(row)["vitrail"]["seconds"]["median"] == 2.0


def test_a_layer_without_its_mask_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unmasked(given: Any) -> Any:
        return operations.by_products(replace(given, region=None))

    monkeypatch.setattr(operations, "by_sdpa", unmasked)
    rows = measured("attention", size=112)["rows"]
    facts = ["refused" in entries(row)["SDPA with mask"] for row in rows]
    assert facts == [False, True, False, True]


def test_the_curve_of_equal_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "LINEAR", ((56, 4), (112, 1)))
    result = measured("linear")
    assert [row["label"] for row in result["rows"]] == ["56x56, batch 4", "112x112, batch 1"]
    assert all({e["library"] for e in row["contenders"]} == {"vitrail"} for row in result["rows"])
    points = curve(result)
    best = result["rows"][1]["contenders"][0]["seconds"]["median"]
    assert points[1] == ("112x112, batch 1", pytest.approx(best / 112**2))


NANO = {"depths": (1, 2), "num_heads": (2, 4), "num_classes": 5}


@pytest.mark.parametrize(
    ("like", "config", "size", "libraries"),
    [
        ("swin_v2_tiny", SwinV2Config(dim=16, **NANO), (64, 64), set(LIBRARIES)),
        ("pvt_v2_b2", CATALOG["pvt_v2_b0"].config, (64, 64), {"timm"}),
        ("video_swin_tiny", SwinConfig(dim=24, depths=(1, 2), num_heads=(3, 6), num_classes=5,
                                       patch=(2, 4, 4), window=(8, 7, 7), merge=(1, 2, 2)),
         (16, 56, 56), {"torchvision"}),
    ],
)  # fmt: skip
def test_other_families_get_our_weights(
    like: str, config: Any, size: tuple[int, ...], libraries: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(CATALOG, "small", CATALOG[like]._replace(config=config))
    one = case("inference", "small", size, 1, "fp32")
    model = peers.ours(one).eval()
    x = torch.randn(one.shape)
    answered = set()
    for library, build in peers.LIBRARIES.items():
        with torch.inference_mode():
            try:
                right = model(x)
                difference = build(model, one).eval()(x) - right
            except peers.Absent as reason:
                assert str(reason) == "has no such model"
                continue
        assert float(difference.norm() / right.norm()) < 1e-5, library
        answered.add(library)
    assert answered >= libraries


def test_focal_s_official_code_is_asked_for() -> None:
    one = case("inference", "focal_tiny", 224, 1, "fp32")
    with torch.device("meta"):
        model = CATALOG["focal_tiny"].model(CATALOG["focal_tiny"].config)
    with pytest.raises(peers.Absent, match="--focal"):
        peers.official_focal(model, one, None)
    with pytest.raises(peers.Absent, match="no such model"):
        peers.timm(model, one)


def test_the_machine_s_limits_are_the_best_of_before_and_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = iter([{"flops": 1e9, "bytes": 8e9}, {"flops": 2e9, "bytes": 4e9}])
    monkeypatch.setattr(measure, "limits", lambda *_, **__: next(found))
    result = measured("inference", only=frozenset({"timm"}))
    assert result["limits"] == {"flops": 2e9, "bytes": 8e9}
    (row,) = result["rows"]
    least, mine = row["floor"], entries(row)["vitrail"]["seconds"]["median"]
    assert least["seconds"] == max(least["flops"] / 2e9, least["bytes"] / 8e9)
    assert row["over_floor"] == mine / least["seconds"]


@pytest.mark.parametrize(("size", "alone"), [(224, 1), (256, 0), (512, 0)])
def test_focal_s_halos_are_where_the_official_code_has_them(size: int, alone: int) -> None:
    config = CATALOG["focal_tiny"].config
    assert isinstance(config, FocalConfig)
    found = peers.official_margins(config, (size, size))
    assert found == ((3, 3),) * (4 - alone) + ((0, 0),) * alone


@pytest.mark.parametrize("size", [192, 240])
def test_sizes_that_the_official_focal_cuts_otherwise_are_not_compared(size: int) -> None:
    one = case("inference", "focal_tiny", size, 1, "fp32")
    with torch.device("meta"):
        model = CATALOG["focal_tiny"].model(CATALOG["focal_tiny"].config)
    with pytest.raises(peers.Absent, match="own way"):
        peers.official_focal(model, one, Path("anywhere"))
