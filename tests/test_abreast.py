"""Reaches abreast in a register have the bits of reaches that are routed alone; threads are kept, and nobody waits for ever."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from xroute.block import route_block
from xroute.engine.arrays import Rows
from xroute.engine.cpu.threads import on_threads
from xroute.engine.plan import make_plan
from xroute.schemes import Filter
from xroute.settings import LATERAL, SAMPLING, RoutingSettings

LENGTH, STEPS = 3, 77


def rivers(n, poles=(0.4, -0.3, 0.0)):
    """So many rivers side by side that share no reach, each of three reaches, the second of which has one tap."""
    reach = np.arange(n * LENGTH).reshape(n, LENGTH)
    plan = make_plan(reach[:, :-1].ravel(), reach[:, 1:].ravel(), np.full(n * (LENGTH - 1), 0.9), n * LENGTH)
    taps = [np.array([0.3, 0.2]), np.array([0.7]), np.array([0.1, 0.5])] * n
    values = (np.concatenate(taps), np.array(list(poles) * n), np.array([0.5, 0.7, 0.6] * n))
    flat, pole, gain = (torch.tensor(v, dtype=torch.float64) for v in values)
    return plan, Filter(flat, np.concatenate([[0], np.cumsum([t.size for t in taps])]), pole, gain)


def routed(n, series, settings, scale=None):
    plan, filter = rivers(n)
    runoff = np.ascontiguousarray(np.tile(series, (n, 1))[None])
    discharge, state, _ = route_block(runoff, plan, filter, None, settings, Rows(scale=scale))
    return discharge[0].reshape(n, LENGTH, -1), state.channel.outflow.reshape(n, LENGTH)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lateral", LATERAL)
@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("substeps", [1, 3, 70])
def test_bits_do_not_depend_on_how_many_are_abreast(lateral, sampling, substeps, dtype):
    series = np.random.default_rng(1).normal(size=(LENGTH, STEPS)).astype(dtype)
    series[1, 5] = -0.0
    settings = RoutingSettings(substeps=substeps, sampling=sampling, lateral=lateral)
    alone, alone_end = routed(1, series, settings, scale=1.7)  # one reach after another
    for n in (5, 8, 13):
        discharge, end = routed(n, series, settings, scale=1.7)
        assert all(d.tobytes() == alone[0].tobytes() for d in discharge)
        assert all(e.tobytes() == alone_end[0].tobytes() for e in end)


@pytest.mark.parametrize("n", [1, 5, 8])
def test_a_reach_without_a_pole_forgets_what_was_infinite(n):
    plan, filter = rivers(n)
    runoff = np.ones((1, n * LENGTH, STEPS))
    runoff[0, 2, 10] = np.inf  # in a reach of two taps
    discharge, _, n_bad = route_block(runoff, plan, filter, None, RoutingSettings())
    assert np.argwhere(~np.isfinite(discharge[0])).tolist() == [[2, 10], [2, 11]] and n_bad == (1, 2)


@pytest.mark.parametrize("n", [3, 8])
def test_counts_what_is_not_finite(n):
    series = np.ones((LENGTH, STEPS), np.float32)
    plan, filter = rivers(n)
    runoff = np.tile(series, (n, 1))[None]
    runoff[0, 2, 76], runoff[0, 5, 3] = np.nan, np.inf  # in the last reaches of two rivers, one of them at the block's ragged end
    discharge, _, n_bad = route_block(runoff, plan, filter, None, RoutingSettings())
    assert n_bad.runoff == 2 and n_bad.discharge == int((~np.isfinite(discharge)).sum()) > 0


def test_discharge_that_overflows_is_counted():
    plan, filter = rivers(8, poles=(1.0, 1.0, 1.0))
    runoff = np.full((1, 8 * LENGTH, STEPS), 3e38, np.float32)
    discharge, _, n_bad = route_block(runoff, plan, filter, None, RoutingSettings())
    assert n_bad.runoff == 0 and n_bad.discharge == int(np.isinf(discharge).sum()) > 0


def test_items_keep_their_order_and_errors_are_raised():
    assert on_threads(lambda i: i * i, range(50), 4) == [i * i for i in range(50)]
    assert on_threads(str, [], 3) == []
    with pytest.raises(ZeroDivisionError):
        on_threads(lambda i: 1 // (i - 3), range(8), 3)


def test_threads_may_nest_and_many_may_call():
    def inner(i):
        return sum(on_threads(lambda k: k + i, range(5), 3))

    with ThreadPoolExecutor(8) as callers:
        found = list(callers.map(lambda _: on_threads(inner, range(6), 4), range(20), timeout=60))
    assert found == [[10 + 5 * i for i in range(6)]] * 20


def test_threads_are_kept_between_calls():
    seen = set()

    def look(_):
        meet.wait(30)  # so that all of them take part
        seen.add(threading.current_thread())

    for _ in range(30):
        meet = threading.Barrier(3)
        on_threads(look, range(3), 3)
    assert 3 <= len(seen) < 20  # and not two new ones a call


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    on_threads(str, range(4), 3)
    child = os.fork()
    if not child:
        status = 1
        try:
            status = int(on_threads(str, range(4), 3) != ["0", "1", "2", "3"])
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
