"""Weights survive their trip through eight bits, arrays theirs through gzip and base64."""

import base64
import gzip

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.explorer.decoding import decode_rows
from vitrail.explorer.coding import encode_rows, pack


@given(st.integers(1, 200), st.floats(0.01, 60), st.integers(0, 1000))
def test_rows_come_back_to_within_two_thousandths(keys: int, spread: float, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(0, spread, (8, keys)).astype(np.float32)
    rows = np.exp(scores - scores.max(-1, keepdims=True))
    rows /= rows.sum(-1, keepdims=True)
    codes = encode_rows(rows)
    assert codes.dtype == np.uint8
    decoded = decode_rows(codes)
    assert np.abs(decoded.sum(-1) - 1).max() < 1e-12
    assert np.abs(decoded - rows).max() <= 2e-3


def test_masked_keys_stay_exactly_zero_and_empty_rows_empty() -> None:
    rows = np.array([[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]], dtype=np.float32)
    decoded = decode_rows(encode_rows(rows))
    assert decoded.tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]


def test_packed_bytes_are_little_endian_and_always_the_same() -> None:
    array = np.array([[1, -2], [300, 4]], dtype=np.int32)
    text = pack(array)
    assert text == pack(array.astype(">i4"))
    back = np.frombuffer(gzip.decompress(base64.b64decode(text)), "<i4").reshape(2, 2)
    assert (back == array).all()
