"""A Swin so small that every library runs it at once."""

import pytest

from vitrail.models import CATALOG, Swin
from vitrail.models.catalog import Entry
from vitrail.models.config import SwinConfig
from vitrail.models.preprocessing import Preprocessing


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SwinConfig(dim=24, depths=(2, 2), num_heads=(3, 6), num_classes=10)
    monkeypatch.setitem(CATALOG, "small", Entry(config, Swin, Preprocessing(size=(56, 56))))
