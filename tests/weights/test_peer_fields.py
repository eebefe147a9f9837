"""Every field of every class that ``from_model`` takes: reproduced, or refused by its name."""

import copy
import warnings

import pytest
import torch

from tests.weights.peer_tables import CASES, Refused, Warned, maps
from vitrail.errors import UsageError
from vitrail.weights import from_model


def _plain(case):
    """Return the fields that can all be changed at once: each is seen, as none is reproduced."""
    hidden = {*case.alone, *case.beside}
    return {
        field: value
        for field, value in case.fields.items()
        if field not in hidden and not isinstance(value, (Refused, Warned))
    }


ALONE = [
    (name, field) for name, case in CASES.items() for field in case.fields
    if field not in _plain(case)
]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_field_is_in_the_table(name):
    assert {*CASES[name].fields} == CASES[name].declared()


def _sizes(case, fields, ours):
    names = ("img_size", "image_size", "input_size")
    size = next((fields[name] for name in names if name in fields), 64)
    native = (size, size) if isinstance(size, int) else tuple(size)
    dynamic = fields.get("dynamic_img_size") or fields.get("strict_img_size") is False
    if ours.config.axes == 3:
        return [(9, 45, 62)]
    if case.any_size and not fields.get("use_absolute_embeddings"):
        return [native, (75, 102)]
    if fields.get("dynamic_img_pad"):
        return [native, (90, 51)]
    return [native, (native[0] * 2, native[1])] if dynamic else [native]


def _check(draw, name, fields, warned=""):
    case = CASES[name]
    fields = {key: value for key, value in fields.items() if value is not None}
    peer = draw(case.build(**fields).double()).eval()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ours = from_model(peer)
    assert bool(warned) == any(f"{warned or 'rate'}=" in str(w.message) for w in said)
    for size in _sizes(case, fields, ours):
        x = torch.randn(2, ours.config.in_channels, *size, dtype=torch.float64)
        run = copy.deepcopy(peer)
        if hasattr(run, "config"):
            run.config.return_dict = True
        with torch.inference_mode():
            theirs, mine = maps(run(x)), maps(ours(x))
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            if a.shape != b.shape:  # channels first, or one list of tokens
                b = b.movedim(1, -1) if b.ndim == 4 else b.unflatten(1, a.shape[1:-1])
            # timm resizes a ViT's positions in single precision, whatever the model's.
            near = 1e-5 if name == "timm ViT" else 1e-9
            torch.testing.assert_close(a, b, rtol=0, atol=near * float(b.abs().max()))


@pytest.mark.parametrize("name", CASES)
def test_fields_are_reproduced(draw, name):
    _check(draw, name, CASES[name].base | _plain(CASES[name]))


@pytest.mark.parametrize(("name", "field"), ALONE)
def test_a_field_is_reproduced_or_refused(draw, name, field):
    case = CASES[name]
    value = case.fields[field]
    given = value.value if isinstance(value, (Refused, Warned)) else value
    fields = case.base | case.beside.get(field, {}) | {field: given}
    if not isinstance(value, Refused):
        return _check(draw, name, fields, warned=field if isinstance(value, Warned) else "")
    with pytest.raises(UsageError, match=value.word or field):
        from_model(draw(case.build(**fields).double()).eval())
