"""Labels for a `Router`: runoff, discharge that is known and states as tensors, and discharge and states with labels again.

What `xroute.route` does with labels is done here by the same functions (`xroute.run`), so that a Router fed by these routes what
`route` routes, and its result bears the same labels. Tensors are [batch, reach, time] in the network's order, in m3 s-1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.census import check_finite, step_labels
from xroute.engine.arrays import NotFinite, Rows, compute_type
from xroute.engine.backends import on_host
from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError, UnitsError, XRouteError, some
from xroute.grids.check import find_spatial_dims
from xroute.grids.reaches import bring_to_reaches
from xroute.grids.remapping import remap_table
from xroute.grids.tensors import GridInput
from xroute.guards import reading, require_memory
from xroute.ids import positions_of
from xroute.known_match import match_known
from xroute.labels import Layout, in_order
from xroute.network import Network
from xroute.request import RouteRequest
from xroute.run import name_discharge, read_labels, summary_of
from xroute.settings import GridNaN, RoutingSettings
from xroute.stamps import is_dated, time_coordinate
from xroute.time_dims import find_time_dim
from xroute.times import Clock, read_clock
from xroute.units import ACCEPTED, flux_in_si, require_array, runoff_units, with_pint_of
from xroute.watch import watch
from xroute.wording import argument

__all__ = ["LabelledRunoff", "grid_values", "known_values", "label_discharge", "read_runoff"]

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelledRunoff:
    """Runoff whose labels were read and matched with a network; its values are read when they are asked for.

    Attributes
    ----------
    given
        As the caller gave it.
    array
        On reaches: as it was given, or brought from its grid.
    network : Network
        Network.
    layout, clock
        Which dimension is which, and which row is which reach; along which dimension the series runs, and its step.
    units
        Units of discharge that `xroute.route` would give; None where runoff has none.
    scale : float, float64 [reach] or None
        What makes a volume flux in m3 s-1 of its values; None where they are one, or have no units.
    nan
        What becomes of values that are not finite: ``"raise"`` or ``"zero"``.
    """

    given: xr.DataArray
    array: xr.DataArray
    network: Network
    layout: Layout
    clock: Clock
    units: str | None
    scale: Any
    nan: str

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return int(self.array.sizes[self.clock.dim])

    @property
    def in_si(self) -> float:
        """One of the units of discharge in m3 s-1; 1 where there are none."""
        return flux_in_si(self.units, "runoff")

    @cached_property
    def _watch(self) -> Any:
        assert self.clock.step is not None
        return watch(self.array, self.clock.dim, self.clock.step)

    def values(self, begin: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Values of steps ``begin`` to ``stop``, read now.

        Returns
        -------
        array [batch, reach, time]
            A copy: a volume flux in m3 s-1, of the network's reaches in its order, zero on those without runoff; float32 for
            float32, else float64.

        Raises
        ------
        XRouteError
            For values that are not finite, unless they are taken as zero, that accumulate, or that float32 does not hold.
        """
        part = self.array if begin == 0 and stop is None else self.array.isel({self.clock.dim: slice(begin, stop)})
        require_memory(part, "runoff", "take fewer steps at a time, runoff.isel(time=...)")
        with reading("the runoff"):
            data = np.asarray(on_host(in_order(part, self.layout.engine_dims).data))
        data = data.reshape(self.layout.n_batch, *data.shape[-2:])
        if data.shape[-1]:
            self._watch.at(begin).look(data, at_start=begin == 0)
        row, ids = self.layout.row, self.network.ids
        found, n_bad, over = _in_order(data, row, ids.size, self.scale)
        if n_bad:
            settings = RoutingSettings(nan="zero" if self.nan == "zero" else "raise")
            times = step_labels(part, self.clock.dim, begin)
            check_finite(NotFinite(n_bad, 0), settings, data, None, ids, Rows(row), lambda: times)
        if over.any():
            raise XRouteError(
                f"runoff in m3 s-1 overflows {found.dtype} on {int(over.sum())} reaches: {some(ids[over])}. Check its values and "
                'units, or give it in double precision: runoff.astype("float64")'
            )
        return found


BLOCK = 2**16
"""Values that are brought into order and converted at a time, while they are in the cache."""


def _in_order(
    data: NDArray[Any], row: NDArray[np.int64] | None, n_reaches: int, scale: Any
) -> tuple[NDArray[Any], int, NDArray[np.bool_]]:
    """Values [batch, row, time] on reaches [batch, reach, time], times a factor worked out in float64.

    Returns
    -------
    values
        A copy; zero on reaches without a row, and where values are not finite.
    n_bad
        How many are not.
    over : [reach]
        On which reaches the product is beyond the type.
    """
    found = np.zeros((data.shape[0], n_reaches, data.shape[-1]), compute_type(data.dtype))
    factor = None if scale is None else np.broadcast_to(np.asarray(scale, np.float64), n_reaches)[:, None]
    n_bad, over = 0, np.zeros(n_reaches, bool)
    size = max(1, BLOCK // max(1, data.shape[-1]))
    for values, member in zip(data, found, strict=True):
        for begin in range(0, n_reaches, size):
            here = slice(begin, begin + size)
            block = member[here]
            if row is None:
                block[...] = values[here]
            else:
                there = row[here] >= 0
                block[there] = values[row[here][there]]
            bad = ~np.isfinite(block)
            if bad.any():
                n_bad += int(bad.sum())
                block[bad] = 0.0
            if factor is not None:
                with np.errstate(over="ignore"):
                    block[...] = block * factor[here]
                over[here] |= ~np.isfinite(block).all(axis=1)
    return found, n_bad, over


def read_runoff(
    runoff: xr.DataArray, network: Network, dt: float, request: RouteRequest, *, blank: bool = False
) -> LabelledRunoff:
    """Read the labels of runoff, as `xroute.route` does.

    Parameters
    ----------
    runoff
        Runoff by reach, or on a grid with weights in the request.
    network : Network
        Network.
    dt
        Step of runoff [s] that it must have, and has where its times do not tell.
    request
        ``weights``, ``missing``, ``extra``, ``nan``, ``label``, ``reach_dim``, ``time_dim``.
    blank
        Whether labels alone are wanted, so that runoff on a grid is not brought to reaches.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError, ParameterError
        As `xroute.route`; and for runoff of another step.
    """
    array, request, _ = bring_to_reaches(require_array(runoff), network, request, blank=blank)
    clock = clock_of(array, dt, request)
    layout, scale, units = read_labels(array, network, clock, request)
    found = LabelledRunoff(runoff, array, network, layout, clock, units, scale, request.nan)
    return replace(found, scale=found.in_si) if scale is None and found.in_si != 1.0 else found


def clock_of(array: xr.DataArray, dt: float, request: RouteRequest) -> Clock:
    """Clock of a series of a step [s], which its times have, or do not tell.

    Raises
    ------
    TimeAxisError
        For another step, and times that are irregular.
    """
    dim = find_time_dim(array, request.time_dim)
    named = dim, dt, request.label
    try:
        clock = read_clock(array, dim, None, request.label)
    except TimeAxisError:  # no dates: with a step given, only what is wrong with the axis itself is still an error
        coordinate = time_coordinate(array, dim)
        if coordinate is not None and is_dated(coordinate):
            raise
        return read_clock(array, *named)
    if clock.step is None:
        return read_clock(array, *named)
    if math.isclose(clock.step, dt, rel_tol=1e-9):
        return clock
    try:
        return read_clock(array, *named)  # stamps may be rounded
    except TimeAxisError:
        raise TimeAxisError(
            f"runoff is in steps of {clock.step:g} s, and this Router's dt is {dt:g} s: make it with "
            f"{argument('dt', round(clock.step, 6))}, or bring runoff to its steps, of a rate by "
            f'runoff.resample({clock.dim}="{dt:g}s").mean()'
        ) from None


def label_discharge(
    values: NDArray[Any], labels: LabelledRunoff, settings: RoutingSettings, schemes: Iterable[str], hillslope: str | None,
    n_known: int | None = None,
) -> xr.DataArray:  # fmt: skip
    """Discharge [batch, reach, time] or [reach, time] in m3 s-1 as `xroute.route` labels that of some runoff.

    Raises
    ------
    ParameterError
        For values of another shape than that of the labels.
    """
    layout, n = labels.layout, labels.network.n_reaches
    values = values if values.ndim != 2 else values[None]
    if values.shape != (layout.n_batch, n, labels.n_steps):
        members = f"batch {layout.n_batch}, " if layout.batch_dims else ""
        some_rows = values.ndim == 3 and values.shape[1] < n and values.shape[::2] == (layout.n_batch, labels.n_steps)
        advice = "label all reaches first, then choose: router.array(discharge, like=runoff).sel(reach=ids)"
        raise ParameterError(
            f"discharge has the shape {tuple(values.shape)}, and that of the labelled runoff would be ({members}{n} reaches, "
            f"{labels.n_steps} steps): {advice if some_rows else 'give like= the runoff that it is of'}"
        )
    if labels.in_si != 1.0:
        values = (values / labels.in_si).astype(values.dtype, copy=False)
    to = layout.result_row
    if to is not None:
        reach = np.full(int(layout.sizes[layout.reach_dim]), -1)  # of each row of the result; each has one
        reach[to[to >= 0]] = np.flatnonzero(to >= 0)
        values = values[:, reach]
    summary = summary_of(labels.network, schemes, settings, hillslope, n_known)
    discharge = name_discharge(
        layout.labelled(values), labels.array, labels.clock, labels.units, settings.sampling, summary, n_known
    )
    return with_pint_of(discharge, labels.given)


def known_values(known: xr.DataArray, labels: LabelledRunoff, ids: NDArray[Any]) -> Float:
    """Discharge that is known on reaches of these ids, as a `Router` takes it.

    Returns
    -------
    float64 [batch or 1, known reach, time]
        In m3 s-1, in the order of the ids; NaN where it is not known.

    Raises
    ------
    AlignmentError
        For reaches that are none of these; and as `xroute.route`.
    TimeAxisError, UnitsError, XRouteError
        As `xroute.route`.
    """
    network, n_steps = labels.network, labels.n_steps
    found = match_known(known, labels.array, network, labels.layout, labels.clock, labels.units)
    if found is None:
        return np.full((1, ids.size, n_steps), np.nan)
    at = network.ids[found.reach]
    row = positions_of(at, ids)
    alien = at[row < 0]
    if alien.size:
        raise AlignmentError(
            f"{alien.size} ids of the known discharge are none that this Router was told of, {argument('known')}: {some(alien)}"
        )
    block = found.block(0, n_steps).values
    values = np.full((block.shape[0], ids.size, n_steps), np.nan)
    values[:, row] = block * labels.in_si
    return values


def grid_values(runoff: xr.DataArray, grid: GridInput, dt: float, request: RouteRequest) -> NDArray[Any]:
    """Runoff on a grid as a `Router` with weights takes it.

    Returns
    -------
    array [batch, *grid, time]
        A copy, in the Router's units, of the weights' grid; float32 for float32, else float64.

    Raises
    ------
    AlignmentError
        For another grid than the weights'.
    UnitsError
        For units that are not known, or of another kind than the Router's.
    TimeAxisError
        For another step.
    XRouteError
        As `xroute.remap`, for cells within catchments that are not finite.
    """
    array = require_array(runoff, "grid")
    dtype, dims = compute_type(array.dtype), find_spatial_dims(array, grid.weights)
    if request.nan == "others":
        raise ParameterError(
            f"{argument('nan', 'others')} is of catchments, and this Router takes the grid: make one without weights, and "
            f"give them to its method, router.tensor(grid, {argument('weights')}...)"
        )
    clock = clock_of(array, dt, request)
    factor = _grid_factor(array, grid.units, dt)
    batch = tuple(d for d in array.dims if d not in (*dims, clock.dim))
    require_memory(array, "runoff", "take fewer steps at a time, runoff.isel(time=...)")
    with reading("the runoff"):
        data = np.asarray(on_host(in_order(array, (*batch, *dims, clock.dim)).data))
    data = data.reshape(math.prod(data.shape[: len(batch)]), *data.shape[len(batch) :])
    found = data.astype(dtype)  # a copy
    cell = (grid.table.row, grid.table.column) if len(dims) == 2 else (grid.table.column,)
    used = np.zeros(data.shape[1:-1], bool)
    used[cell] = True
    if not np.isfinite(found[:, used]).all():
        nan: GridNaN = "zero" if request.nan == "zero" else "raise"
        remap_table(array, grid.weights, grid.table, nan)  # raises, naming catchments, unless NaN is to be taken as zero
        found[:, used] = np.where(np.isnan(found[:, used]), 0.0, found[:, used])
    if data.shape[-1] and clock.step is not None:
        watch(array, clock.dim, clock.step).look(found[:, used], at_start=True)
    if factor != 1.0:
        found = (found * factor).astype(dtype, copy=False)
    return found


def _grid_factor(array: xr.DataArray, units: str, dt: float) -> float:
    """What makes a Router's units of a grid's values."""
    given = array.attrs.get("units")
    if not (isinstance(given, str) and given.strip()):
        raise UnitsError(
            'the grid has no units, so that its volume is not known: set grid.attrs["units"]. '
            f"{ACCEPTED[0].upper()}{ACCEPTED[1:]}"
        )
    its, mine = runoff_units(given), runoff_units(units)
    if its.is_depth != mine.is_depth:
        kinds = ("a volume of each cell", "a depth")
        raise UnitsError(
            f"runoff in {given!r} is {kinds[its.is_depth]}, and this Router takes {kinds[mine.is_depth]}, in {units!r}: make it "
            f"with units={given!r}"
        )
    rates = [u.in_si / (dt if u.per_step else 1.0) for u in (its, mine)]
    return rates[0] / rates[1]
