"""What the forward run and the adjoint share: filter and state in the order of the walk,  and the working store."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.engine.arrays import FilterArrays, Known, Rows, State
from xroute.engine.cpu.kernels import gather_filter, place_state
from xroute.engine.cpu.threads import on_threads
from xroute.engine.schedule import ABREAST
from xroute.options import n_threads
from xroute.settings import LATERAL, SAMPLING, RoutingSettings

__all__ = [
    "BLOCK", "modes", "numbered", "on_threads", "place_filter", "place_known", "place_rows", "place_states", "read_only",
    "working_store",
]  # fmt: skip

BLOCK = 512
"""Routing steps in a block of time: long enough to spread the cost of a reach, short enough for 8 rows in L1."""
GATHERED = 2**16
"""Taps up to which one thread gathers a filter sooner than others have started."""

Float = NDArray[np.float64]
Index = NDArray[np.int64]


def modes(settings: RoutingSettings) -> tuple[int, int, int]:
    """Substeps, and sampling and lateral mode as numbers."""
    return settings.substeps, SAMPLING.index(settings.sampling), LATERAL.index(settings.lateral)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The array, not to be written to: always, so that arrays that are read-only do not compile the kernels again."""
    view = array.view()
    view.setflags(write=False)
    return view


def place_filter(order: Index, filter: FilterArrays) -> FilterArrays:
    """The filter in the order of the walk, gathered on all threads: reach by reach it would cost more than the routing."""
    n_taps = np.diff(filter.pointer)
    if n_taps.min() == n_taps.max():
        pointer = np.arange(order.size + 1) * n_taps[0]
    else:
        pointer = np.concatenate([[0], np.cumsum(n_taps[order])])
    taps, pole, gain = (np.empty_like(array) for array in (filter.taps, filter.pole, filter.gain))
    threads = n_threads() if taps.size > GATHERED else 1
    edges = np.linspace(0, order.size, threads + 1).astype(np.int64)

    def part(k: int) -> None:
        gather_filter(order, *filter, pointer, taps, pole, gain, edges[k], edges[k + 1])

    on_threads(part, range(threads), threads)
    return FilterArrays(taps, pointer, pole, gain)


def place_states(order: Index, pointer: Index, state: State, dry: bool = False) -> list[State]:
    """The state of each member in the order of the walk; if it is ``dry``, zeros, and it need not be read."""
    if dry:
        return [State(np.zeros(state.history.shape[1]), np.zeros(order.size)) for _ in state.outflow]
    return [State(*place_state(order, pointer, *member)) for member in zip(*state, strict=True)]


def place_rows(order: Index, rows: Rows) -> tuple[Index, Index, Float]:
    """Rows of runoff and of discharge, and the factor on runoff, in the order of the walk."""
    runoff, discharge = (order if row is None else row[order] for row in (rows.runoff, rows.discharge))
    return runoff, discharge, np.ones(1) if rows.scale is None else rows.scale[order]


def numbered(order: Index, reaches: Index) -> Index:
    """Number of each place's reach among some, -1 where it is none of them; without elements where there are none."""
    if not reaches.size:
        return np.empty(0, np.int64)  # a new one, for one that may not be written to would compile the kernels again
    number = np.full(order.size, -1)
    number[reaches] = np.arange(reaches.size)
    return number[order]


def place_known(order: Index, known: Known | None, n_batch: int) -> tuple[Float, Index]:
    """Known series of each member [batch, known, time], and the row among them of each place (`numbered`)."""
    values, reach = np.zeros((1, 0, 0)), np.zeros(0, np.int64)
    if known is not None and known.reach.size:
        values, reach = np.ascontiguousarray(known.values, np.float64), known.reach
    # read-only in any case, so that kernels are compiled once
    return np.broadcast_to(values, (n_batch, *values.shape[1:])), numbered(order, reach)


def working_store(n_rows: int, width: int) -> Float:
    """Rows of the working store, each beginning at a cache line; the last ones are room that whole registers may reach into.

    Rows are an odd number of lines apart: at a multiple of the size of a page, the same step of all of them would
    compete for the same few places of L1.
    """
    line = 8
    stride = ((width + line - 1) // line | 1) * line
    rows = n_rows + ABREAST
    memory = np.zeros(rows * stride + line)
    first = -(memory.ctypes.data // 8) % line
    return memory[first : first + rows * stride].reshape(rows, stride)
