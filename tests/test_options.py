"""Options: a plain call holds for the session, a block for its own context, and neither leaks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import dask
import numpy as np
import pytest
from strategies import chain, runoff_array

import xroute
from xroute.options import get_option, n_threads, options_here
from xroute.options import set_options as options


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    """Whatever a test leaves behind is undone after it."""
    yield
    xroute.set_options(threads=None)


def elsewhere(name: str) -> object:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(get_option, name).result()


def test_a_plain_call_holds_for_the_session_and_in_all_its_threads():
    xroute.set_options(threads=3)
    assert get_option("threads") == elsewhere("threads") == 3 and n_threads() == 3
    for _ in range(100):
        xroute.set_options(threads=5)
    assert elsewhere("threads") == 5
    xroute.set_options(threads=None)
    assert get_option("threads") is None is elsewhere("threads")


def test_a_block_holds_in_its_own_thread_and_no_longer_than_it_lasts():
    xroute.set_options(threads=7)
    with xroute.set_options(threads=2):
        assert get_option("threads") == 2 and elsewhere("threads") == 7
        with xroute.set_options(threads=1):
            assert get_option("threads") == 1
        assert get_option("threads") == 2
    assert get_option("threads") == 7


def test_a_plain_call_in_a_block_holds_to_its_end():
    with xroute.set_options(threads=2):
        xroute.set_options(threads=4)
        assert get_option("threads") == 4
    assert get_option("threads") is None


def test_an_object_kept_is_a_session_first_and_a_block_later():
    kept = options(threads=2)
    assert elsewhere("threads") == 2
    with kept, kept:
        assert get_option("threads") == 2
    assert get_option("threads") is None is elsewhere("threads")


def test_an_error_ends_a_block_too():
    with pytest.raises(ZeroDivisionError), xroute.set_options(threads=2):
        _ = 1 / 0
    assert get_option("threads") is None


def test_blocks_of_threads_that_begin_and_end_at_once_leave_nothing():
    barrier = threading.Barrier(6)

    def block(n: int) -> bool:
        good = True
        for _ in range(200):
            barrier.wait()
            with xroute.set_options(threads=n):
                good &= get_option("threads") == n
        return good

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(block, range(1, 7)))
    assert get_option("threads") is None is elsewhere("threads")


def test_tasks_of_asyncio_have_their_own():
    async def task(n: int) -> bool:
        with xroute.set_options(threads=n):
            for _ in range(5):
                await asyncio.sleep(0)
                if get_option("threads") != n:
                    return False
        return True

    async def both() -> list[bool]:
        return await asyncio.gather(*(task(n) for n in range(1, 5)))

    assert all(asyncio.run(both()))
    assert get_option("threads") is None


def test_six_threaded_computes_leave_the_session_as_it_was():
    network = chain(3, "linear_storage", tau=(2.0, "h"))
    runoff = runoff_array(network.reach.values, 8, np.random.default_rng(0)).chunk(time=2)
    with xroute.set_options(threads=1):
        lazy = [runoff.route(network) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool, dask.config.set(scheduler="threads"):
        list(pool.map(lambda one: one.compute(), lazy))
    assert get_option("threads") is None is elsewhere("threads")


@pytest.mark.parametrize("value", ["many", [2], 0, -1, 1.5, True, np.nan])
def test_threads_that_are_no_number_are_refused_by_name(value):
    with pytest.raises(xroute.ParameterError, match="threads must be a positive whole number"):
        xroute.set_options(threads=value)
    assert get_option("threads") is None


def test_what_tasks_set_leaves_the_other_options_of_their_block():
    with options(device="cpu"), options_here(threads=3):
        assert get_option("device") == "cpu" and get_option("threads") == 3
    assert get_option("threads") is None
