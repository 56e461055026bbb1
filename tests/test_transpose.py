"""Runoff laid out with time contiguous (`xroute.engine.cpu.transpose`): every value moved, and memory that is nobody else's."""

from __future__ import annotations

import numpy as np
import pytest

import xroute
from xroute.engine.cpu import transpose
from xroute.engine.cpu.transpose import laid_out


def _time_first(shape: tuple[int, int, int], dtype: str, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Values [batch, row, time] that lie as (batch, time, row), and the same in lists, moved by hand."""
    batch, row, time = shape
    source = np.random.default_rng(seed).random((batch, time, row)).astype(dtype)
    expected = np.array([[[source[b, t, i] for t in range(time)] for i in range(row)] for b in range(batch)], dtype)
    return source.swapaxes(1, 2), expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 2, 1), (1, 8, 8), (2, 7, 9), (1, 33, 70), (2, 50, 131), (1, 129, 64)])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_value_is_moved_as_it_is(shape: tuple[int, int, int], dtype: str, threads: int) -> None:
    """NaN with its payload, signed zeros and the smallest numbers too: nothing goes through arithmetic."""
    array, expected = _time_first(shape, dtype)
    odd = np.array([np.nan, np.inf, -0.0, np.finfo(dtype).smallest_subnormal], dtype)[: array.shape[1]]
    array[0, : odd.size, 0] = odd
    expected[0, : odd.size, 0] = odd
    with xroute.set_options(threads=threads), laid_out(array, np.dtype(dtype)) as found:
        assert found.flags.c_contiguous and found.dtype == expected.dtype and found.shape == expected.shape
        assert found.tobytes() == expected.tobytes()


def test_memory_is_used_again_and_by_one_at_a_time() -> None:
    """A run that begins while another one reads gets memory of its own; one that begins after it need not be smaller."""
    transpose._SPARE.clear()
    (a, of_a), (b, of_b), (c, of_c) = (_time_first((1, 20 + k, 30), "float32", k) for k in range(3))
    with laid_out(c, c.dtype):  # the largest: its memory would do for either of the next
        pass
    with laid_out(a, a.dtype) as first, laid_out(b, b.dtype) as second:
        assert not np.shares_memory(first, second)
        assert np.array_equal(first, of_a) and np.array_equal(second, of_b)
    with laid_out(c, c.dtype) as larger:
        assert np.array_equal(larger, of_c)
        where = larger.ctypes.data
    with laid_out(a, a.dtype) as again:
        assert again.ctypes.data == where and np.array_equal(again, of_a)


def test_memory_beyond_a_limit_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    transpose._SPARE.clear()
    array, expected = _time_first((1, 20, 30), "float64")
    monkeypatch.setattr(transpose, "SPARE", array.nbytes - 1)
    with laid_out(array, array.dtype) as found:
        assert np.array_equal(found, expected)
    assert not transpose._SPARE


def test_results_do_not_change_when_a_later_run_uses_the_memory() -> None:
    """Discharge of one run lies elsewhere than what the next one lays out."""
    network, ds = xroute.datasets.tutorial()
    runoff = ds.runoff.transpose("time", "reach", ...).astype("float32")
    first = runoff.route(network, device="cpu")
    kept = first.values.copy()
    (runoff * np.float32(3)).route(network, device="cpu")
    assert np.array_equal(first.values, kept)
