"""Unit responses: what arrives at one reach, step by step, of runoff of one that enters another in a single step.

From one source, an impulse is routed down all that lies between. From several sources to one target the target is asked
instead: the adjoint of its discharge in one step is what each source sends there, and one pass answers for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.block import adjoint_block, route_block
from xroute.block_state import CHANNEL, HILLSLOPE, BlockState
from xroute.engine.arrays import Rows
from xroute.exceptions import ParameterError, XRouteError
from xroute.filters import NetworkFilters, Part, filters_of
from xroute.memory import available_memory, show_bytes
from xroute.schemes import Filter
from xroute.wording import argument

if TYPE_CHECKING:
    from xroute.network import Network

__all__ = ["MOST_STEPS", "TAIL", "lags", "reaches_given", "response"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]

TAIL = 1e-15
"""Share of a response that may come after its end: what the rounding of its sum is."""
MOST_STEPS = 2**22
"""Steps of the longest response that is followed to its end."""
FIRST_STEPS = 256
"""Steps that are looked at first; each time that is not enough, as many again as there are."""


def response(
    network: Network, source: Any, target: Any, dt: Any = None, *, n_steps: int | None = None, **options: Any
) -> xr.DataArray:
    """Unit responses (source, target, time) between reaches: see `xroute.Network.response`."""
    if n_steps is not None and (isinstance(n_steps, bool) or not isinstance(n_steps, int | np.integer) or n_steps < 1):
        raise ParameterError(f"n_steps is a positive whole number or None, not {n_steps!r}")
    sources, one_source = reaches_given(network, source)
    targets, one_target = reaches_given(network, target)
    filters = filters_of(network, dt, **options)
    (from_, source_at), (to, target_at) = (np.unique(at, return_inverse=True) for at in (sources, targets))
    found = _from_each(filters, from_, to, n_steps) if from_.size <= to.size else _to_each(filters, from_, to, n_steps)
    values = _joined(found, n_steps)[source_at][:, target_at]
    dims = ("source", "target", "time")
    coords = {
        "source": ("source", network.ids[sources], {"long_name": "reach that runoff enters"}),
        "target": ("target", network.ids[targets], {"long_name": "reach whose discharge it is"}),
        "time": ("time", lags(values.shape[2], filters.step), {"long_name": "time since the step of runoff"}),
    }
    attrs = {
        "long_name": "discharge in each step for runoff of one in the first",
        "units": "1",
        "dt": filters.step,
        "substeps": filters.settings.substeps,
        "sampling": filters.settings.sampling,
        "lateral": filters.settings.lateral,
    }
    array = xr.DataArray(values, coords, dims, "response", attrs)
    return array.isel({d: 0 for d, one in (("source", one_source), ("target", one_target)) if one})


def reaches_given(network: Network, ids: Any) -> tuple[Index, bool]:
    """Positions of reaches that a caller names, and whether that is a single one rather than a list.

    Raises
    ------
    NetworkError
        For ids that the network does not have.
    ParameterError
        If there is none.
    """
    if isinstance(ids, xr.DataArray | xr.Variable):
        ids = ids.values
    at = network.position(ids)
    if not at.size:
        raise ParameterError("no reach is named: give an id, or a list of ids")
    return at, not isinstance(ids, set | frozenset | dict) and np.ndim(ids) == 0 and not hasattr(ids, "__next__")


def lags(n: int, step: float) -> pd.TimedeltaIndex:
    """Times since the first of so many steps [s] began, at the beginning of each."""
    if n * step < 2**63 / 1e9:
        return pd.to_timedelta(np.rint(np.arange(n) * (step * 1e9)).astype("timedelta64[ns]"))
    return pd.to_timedelta(np.rint(np.arange(n) * step).astype("timedelta64[s]"))  # beyond 292 years


# ── an impulse, or the adjoint of a step ────────────────────────────────────────────────────────────────────────────────


def _from_each(filters: NetworkFilters, sources: Index, targets: Index, n_steps: int | None) -> list[Float]:
    """Responses [target, time] of each source: an impulse routed down its own way."""
    found = []
    for source in sources:
        part = filters.between(np.array([source]), targets)
        if not part.reach.size:
            found.append(np.zeros((targets.size, n_steps or 1)))
            continue
        place = part.place(targets)
        at_source, at_target = np.full(part.reach.size, -1), np.full(part.reach.size, -1)
        at_target[place[place >= 0]] = np.flatnonzero(place >= 0)
        at_source[part.place(np.array([source]))] = 0
        rows = Rows(at_source, at_target, targets.size)

        def block(
            begin: int, n: int, state: BlockState | None, part: Part = part, rows: Rows = rows, reached: Any = place >= 0
        ) -> tuple[Float, BlockState]:
            runoff = np.zeros((1, 1, n))
            runoff[..., 0] = float(begin == 0)
            discharge, end, bad = route_block(
                runoff, part.plan, part.channel, state, part.settings, rows, hillslope=part.slopes
            )
            if bad.discharge:
                raise XRouteError("the response is not finite: a scheme of this network grows without bound")
            return np.where(reached[:, None], discharge[0], 0.0), end  # rows of no reach are not written

        found.append(_followed(block, _left_forward, part, place >= 0, n_steps))
    return found


def _to_each(filters: NetworkFilters, sources: Index, targets: Index, n_steps: int | None) -> list[Float]:
    """Responses [target, time] of each source: the adjoint of each target's discharge in one step, backwards in time."""
    found = []
    for target in targets:
        part = filters.between(sources, np.array([target]))
        if not part.reach.size:
            found.append(np.zeros((sources.size, n_steps or 1)))
            continue
        place = part.place(sources)
        at_source, at_target = np.full(part.reach.size, -1), np.full(part.reach.size, -1)
        at_source[place[place >= 0]] = np.flatnonzero(place >= 0)
        at_target[part.place(np.array([target]))] = 0
        rows = Rows(at_source, at_target)

        def block(
            begin: int, n: int, state: BlockState | None, part: Part = part, rows: Rows = rows
        ) -> tuple[Float, BlockState]:
            wanted = np.zeros((1, 1, n))
            wanted[..., -1] = float(begin == 0)
            grad, start = adjoint_block(
                wanted, state, part.plan, part.channel, part.settings, rows, n_rows=sources.size, hillslope=part.slopes
            )
            return grad[0, :, ::-1], start

        found.append(_followed(block, _left_backward, part, place >= 0, n_steps))
    return list(np.swapaxes(_joined(found, n_steps), 0, 1))


def _followed(
    block: Callable[[int, int, BlockState | None], tuple[Float, BlockState]],
    left: Callable[[Part, BlockState], float],
    part: Part,
    reached: NDArray[np.bool_],
    n_steps: int | None,
) -> Float:
    """Series [row, time] block by block, to the first step after which no row that is reached has more than `TAIL` left.

    Raises
    ------
    ParameterError
        If that takes more than `MOST_STEPS`.
    XRouteError
        If they do not fit in memory.
    """
    state: BlockState | None = None
    series: list[Float] = []
    for begin, n in _lengths(n_steps):
        _require_room(reached.size, begin + n)
        found, state = block(begin, n, state)
        series.append(found)
        if n_steps is not None:
            continue
        rest = left(part, state)
        total = sum(np.abs(s[reached]).sum(axis=1) for s in series)
        if rest <= TAIL * max(float(np.min(total)), 1e-290):
            whole = np.concatenate(series, axis=1)
            after = np.abs(whole[reached])[:, ::-1].cumsum(axis=1)[:, ::-1] + rest  # of each step, itself included
            return whole[:, : max(1, int((after > TAIL * after[:, :1]).any(axis=0).sum()))]
    if n_steps is not None:
        return np.concatenate(series, axis=1)
    raise ParameterError(
        f"the response is longer than {MOST_STEPS:,} steps: say how many are wanted with {argument('n_steps')}, or take a longer "
        f"step, {argument('dt')}"
    )


def _require_room(n_rows: int, n_steps: int) -> None:
    """Refuse responses that would not fit in memory, once as blocks and once as they are returned."""
    room, needed = available_memory(), 16 * n_rows * n_steps
    if room is not None and needed > room:
        raise XRouteError(
            f"{n_rows:,} responses of {n_steps:,} steps take {show_bytes(needed)} of memory, and there are {show_bytes(room)}: "
            f"ask for fewer reaches at a time, or for fewer steps, {argument('n_steps')}"
        )


def _lengths(n_steps: int | None) -> Iterator[tuple[int, int]]:
    """Where blocks begin and how long they are: up to a number of steps, or ever longer ones up to the most."""
    begin, most = 0, MOST_STEPS if n_steps is None else n_steps
    while begin < most:
        n = min(max(FIRST_STEPS, begin), most - begin)
        yield begin, n
        begin += n


def _joined(series: list[Float], n_steps: int | None) -> Float:
    """Series [row, time] of each, as one array [each, row, time]: as long as the longest, zero where one has ended."""
    longest = max(s.shape[1] for s in series) if n_steps is None else n_steps
    whole = np.zeros((len(series), series[0].shape[0], longest))
    for k, s in enumerate(series):
        whole[k, :, : s.shape[1]] = s
    return whole


# ── how much is still to come ───────────────────────────────────────────────────────────────────────────────────────────


def _left_forward(part: Part, state: BlockState) -> float:
    """At most how much a state has still to give, in steps: what its reaches hold, as if none of it were of another sign."""
    rest = 0.0
    for stage, filter in _stages(part):
        taps, pointer, pole, _ = filter.arrays()
        history, outflow = (np.abs(a[0]) for a in state.stages[stage])
        decay = 1 - np.abs(pole)
        beyond = np.concatenate([np.abs(taps)[::-1].cumsum()[::-1], [0.0]])
        of_reach = np.repeat(np.arange(pole.size), filter.n_taps)
        after = beyond[1:] - beyond[pointer[1:]][of_reach]  # of each tap, those of its reach that come later
        is_lag = np.ones(taps.size, bool)
        is_lag[pointer[1:] - 1] = False
        rest += float((history * np.maximum(after, 0.0)[is_lag] / decay[of_reach[is_lag]]).sum())
        rest += float((outflow / decay).sum())  # the last value counts once more: means at the starts of substeps have it later
    return rest


def _left_backward(part: Part, state: BlockState) -> float:
    """At most how much any reach has sent to the target before a block, of the gradient of the state that it began with."""
    rest = 0.0
    for stage, filter in _stages(part):
        taps, pointer, pole, gain = filter.arrays()
        history, outflow = (np.abs(a[0]) for a in state.stages[stage])
        through = np.maximum(np.add.reduceat(np.abs(taps), pointer[:-1]), np.abs(gain))
        rest += float(history.sum() + (outflow * through / (1 - np.abs(pole))).sum())
    return rest


def _stages(part: Part) -> list[tuple[str, Filter]]:
    return [(CHANNEL, part.channel), *([] if part.slopes is None else [(HILLSLOPE, part.slopes)])]
