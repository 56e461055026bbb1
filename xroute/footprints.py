"""`xroute.footprint`: where and when the water came from that passed a gauge.

Labels, units and laziness; the shares of runoff that pass are found by `xroute.tracing`.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.attrs import append_history
from xroute.block_state import BlockState, StageTable, StateTable
from xroute.census import check_finite, step_labels
from xroute.engine.arrays import NotFinite, Rows
from xroute.engine.backends import on_host
from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError, XRouteError, some
from xroute.filters import Part
from xroute.grids.reaches import bring_to_reaches
from xroute.guards import reading
from xroute.labels import Layout, align
from xroute.memory import available_memory, show_bytes
from xroute.moments import selected
from xroute.network import Network
from xroute.network_files import as_network
from xroute.options import check_device
from xroute.request import FootprintRequest, NetworkLike, keywords_of
from xroute.responses import reaches_given
from xroute.run import Run, make_run
from xroute.times import label_attrs
from xroute.tracing import Trace
from xroute.units import flux_in_si, require_array

__all__ = ["footprint"]

GAUGE = "gauge"
STATE, KNOWN = "from_initial_state", "from_known"


@keywords_of(FootprintRequest)
def footprint(network: NetworkLike, at: Any, runoff: xr.DataArray, request: FootprintRequest) -> xr.DataArray:
    """Where and when the water came from that passed a gauge in a window of time.

    Parameters
    ----------
    network
        Network Dataset, a `Network`, or the path of one.
    at
        Id of the reach whose discharge it is: a gauge. Or a list of ids, each by itself, on a dimension ``gauge``.
    runoff : (reach, time, ...)
        Runoff, as `route` takes it, with ``weights`` on a grid; only what is upstream of the gauges is looked at.
    window
        Steps of discharge that count: a slice of labels, ``slice("2001-01-03", "2001-01-05")``, both ends included as in
        `xarray.DataArray.sel`, or what else that takes. By default all.
    scheme, substeps, sampling, lateral, hillslope, known, missing, extra, nan, weights, reach_dim, time_dim, dt, label
        As for `route`.
    initial_state
        The state that the run starts from, or the path of one; dry by default.
    partitions, device
        As for `route`, and of no effect: footprints are computed on the CPU, in float64, all reaches together.
    return_state
        Not for a footprint.

    Returns
    -------
    xarray.DataArray
        Volumes [m3], float64, on the reaches upstream of the gauges, with the runoff's dimensions, order, times and
        coordinates: of the runoff of each reach in each step, how much passed the gauge in the window. Lazy if runoff is on
        Dask, in the same chunks of time. ``footprint.sum("time")`` is a map of where the water came from, and
        ``footprint.sum("reach")`` tells when it fell.

        What passed is ``footprint.sum()`` and, where there is any, what stands on coordinates (reach) [m3] beside it:

        ``from_initial_state``
            Of the water that was in the rivers at the start, and on their hillslopes.
        ``from_known``
            Of discharge that is known. Upstream of it nothing is seen, while it is known.

    Raises
    ------
    NetworkError
        For ids that the network does not have.
    TimeAxisError
        If the window has no step.
    NetworkError, ParameterError, AlignmentError, TimeAxisError, UnitsError, StateError
        As `route`; for runoff that is not finite, on Dask, when it is computed.

    Notes
    -----
    The volume that passed is the sum of the discharge that `route` gives at the gauge in the window, times the step. It is linear
    in runoff, so its derivative with respect to the runoff of each reach and step, the adjoint, times that runoff says what
    came from there: exactly, also where rivers part. Values are negative where runoff is, and where a filter dips below zero
    (`muskingum` on reaches that are too long or too short for the step).

    In memory it takes three arrays of the size of its result. On Dask it is found chunk by chunk, the last one first.

    Examples
    --------
    >>> import numpy as np, xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> network = xroute.Network(network)
    >>> mouth = network.outlets[0]
    >>> flood = slice("2024-05-03", "2024-05-04")
    >>> water = xroute.footprint(network, mouth, ds.runoff.astype(float), window=flood)
    >>> passed = ds.runoff.astype(float).route(network).sel(reach=mouth, time=flood).sum() * 3600
    >>> bool(np.isclose(water.sum(), passed, rtol=1e-12))
    True
    """
    if request.return_state:
        raise ParameterError("a footprint has no state to return: route with return_state=True")
    check_device(request.device)
    network = as_network(network)
    gauges, single = reaches_given(network, at)
    array, request, _ = bring_to_reaches(require_array(runoff), network, request)
    run = make_run(array, network, request)
    dim: Any = run.clock.dim
    window = _steps_of(array, dim, request.window)
    start = run.start(request.initial_state, array)
    source = _source(array, network, run, gauges, request)
    found = source.footprint(window, start)
    found = found.isel({GAUGE: np.unique(gauges, return_inverse=True)[1]})
    ids = network.ids[gauges]
    found = found.assign_coords({GAUGE: (GAUGE, ids, {"long_name": "reach that water passed"})})
    found = _chunked_alike(found.isel({GAUGE: 0}) if single else found)
    times = step_labels(array, dim)[window]
    line = f"xroute: footprint of {len(ids)} gauge{'s' * (len(ids) != 1)} ({some(ids, 3)}), {times[0]} to {times[-1]}"
    found.attrs = {
        "long_name": "runoff that passed the gauge in the window",
        "units": "m3",
        "cell_methods": f"{dim}: sum",
        "window_start": str(times[0]),
        "window_end": str(times[-1]),
        "history": append_history(runoff.attrs.get("history"), line),
    }
    if run.clock.label is not None and run.clock.step is not None:
        found.attrs |= label_attrs(run.clock.label, run.clock.step, array.sizes[dim])
    if run.units is None:
        del found.attrs["units"]
    return found


def _chunked_alike(found: xr.DataArray) -> xr.DataArray:
    """The same, with its lazy coordinates in its own chunks, as xarray wants them."""
    sizes = found.variable.chunksizes
    lazy = {n: c.variable for n, c in found.coords.items() if n in (STATE, KNOWN) and c.variable.chunks is not None}
    return found.assign_coords({n: v.chunk({d: sizes[d] for d in v.dims}) for n, v in lazy.items()})


def _steps_of(array: xr.DataArray, dim: Hashable, window: Any) -> NDArray[np.bool_]:
    """Which steps of a series are in a window.

    Raises
    ------
    TimeAxisError
        If none is, or it cannot be told.
    """
    n = array.sizes[dim]
    if not n:
        raise TimeAxisError("the runoff has no steps, so that no water can have passed")
    inside = np.zeros(n, bool)
    if window is None:
        inside[:] = True
        return inside
    inside[selected(array, dim, window, "the window")] = True
    if not inside.any():
        first, last = step_labels(array, dim)[[0, -1]]
        raise TimeAxisError(f"no step of the runoff, from {first} to {last}, is in the window {window!r}")
    return inside


# ── runoff of what is upstream, and what becomes of it ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Source:
    """Runoff of all that is upstream of some gauges.

    Attributes
    ----------
    run
        The run of the whole network.
    basin
        Network of what is upstream.
    position : int64 [reach]
        Where its reaches stand in the whole network.
    layout
        How the result is laid out.
    values : (..., row, time)
        Runoff on the result's rows, in the engine's order of dimensions, without coordinates.
    times
        Labels of its steps.
    gauge : int64 [gauge]
        Which of the reaches are gauges.
    """

    run: Run
    basin: Network
    position: NDArray[np.int64]
    layout: Layout
    values: xr.DataArray
    times: NDArray[Any]
    gauge: NDArray[np.int64]

    @property
    def row(self) -> NDArray[np.int64]:
        """Row of each reach in the result."""
        row = self.layout.result_row
        return np.arange(self.position.size) if row is None else row

    @property
    def to_m3(self) -> float:
        """Volume of a unit of discharge over a step [m3]."""
        run = self.run
        assert run.settings.step is not None
        return run.settings.step * flux_in_si(run.units, "discharge")

    def footprint(self, window: NDArray[np.bool_], start: StateTable | None) -> xr.DataArray:
        """Volumes, labelled but for the gauges."""
        run, layout = self.run, self.layout
        known = None if run.known is None else run.known.rows_of(self.position)
        has_members = known is not None and any(known.has)
        slopes = None if run.slopes is None else run.slopes.take(self.position)
        part = Part(self.position, self.basin.plan, run.filter.take(self.position), slopes, run.settings)
        trace = Trace(
            part, self.basin.ids, self.row, self.gauge, window, run.known if known is not None else None, known,
            layout.n_batch if has_members else 1,
        )  # fmt: skip
        chunks = self.values.chunks
        shares, state, of_known = trace.whole() if chunks is None else trace.in_chunks(chunks[-1])
        batch = (*layout.batch_shape,) if has_members else (1,) * len(layout.batch_dims)
        series = (GAUGE, *layout.engine_dims)
        share = xr.DataArray(shares.reshape(len(self.gauge), *batch, *shares.shape[2:]), dims=series)
        if not has_members:
            share = share.isel({d: 0 for d in layout.batch_dims})
        found = (self._volume() * share).transpose(GAUGE, *layout.dims).assign_coords(layout.coords)
        if start is not None:
            found = found.assign_coords({STATE: self._of_state(trace, state, start)})
        if known is not None:
            found = found.assign_coords({KNOWN: self._of_known(of_known, known.reach, batch)})
        return found.rename("footprint")

    def _volume(self) -> xr.DataArray:
        """Volume of runoff [m3], looked at on its way."""
        run, layout = self.run, self.layout
        n_rows = self.values.sizes[layout.reach_dim]
        factor, ids = np.zeros(n_rows), np.empty(n_rows, self.basin.ids.dtype)
        scale = np.broadcast_to(1.0 if run.scale is None else run.scale, run.network.n_reaches)
        factor[self.row], ids[self.row] = self.to_m3 * scale[self.position], self.basin.ids
        steps, times, watch, settings = np.arange(self.times.size), self.times, run.watch, run.settings

        def volume(values: Any, factor: Any, row: Any, step: Any) -> Any:
            row, step = row.ravel(), step.ravel()
            block = np.asarray(values).reshape(-1, *values.shape[-2:])
            if watch is not None and step.size:
                watch.at(int(step[0])).look(block, at_start=step[0] == 0)
            bad = ~np.isfinite(values)
            if bad.any():
                check_finite(NotFinite(int(bad.sum()), 0), settings, block, None, ids[row], Rows(), lambda: times[step])
                values = np.where(bad, 0.0, values)
            return values * factor

        return xr.apply_ufunc(  # on Dask, what the function holds goes to the workers: not the source, nor the network
            volume,
            self.values,
            xr.DataArray(factor, dims=[layout.reach_dim]),
            xr.DataArray(np.arange(n_rows), dims=[layout.reach_dim]),
            xr.DataArray(steps, dims=[layout.time_dim]),
            dask="parallelized",
            output_dtypes=[np.float64],
        )

    def _of_state(self, trace: Trace, gradient: Any, start: StateTable) -> xr.DataArray:
        """Volume (gauge, ..., reach) that came of the state at the start."""
        layout = self.layout
        shape = (len(self.gauge), layout.n_batch, self.position.size)
        parts = [(name, *stage) for name, stage in start.items()]
        if self.values.chunks is None:
            found = _of_state(trace, gradient, parts)
        else:
            import dask.array as da
            from dask import delayed

            own = delayed(trace, traverse=False)
            found = da.from_delayed(delayed(_of_state)(own, gradient, parts), shape, np.float64)
        text = {"long_name": "water of the initial state that passed the gauge in the window"}
        return self._on_rows(found, layout.batch_shape, text)

    def _of_known(self, found: Any, reach: NDArray[np.int64], batch: tuple[int, ...]) -> xr.DataArray:
        """Volume (gauge, ..., reach) that came of known discharge, of values (gauge, member, known)."""
        place = np.full(self.position.size, -1)
        place[reach] = np.arange(reach.size)
        whole = found[..., np.maximum(place, 0)] * (place >= 0)
        text = {"long_name": "known discharge that passed the gauge in the window"}
        return self._on_rows(whole, batch, text)

    def _on_rows(self, values: Any, batch: tuple[int, ...], attrs: dict[str, str]) -> xr.DataArray:
        """Values [gauge, member, reach], in the units of discharge times a step, as a coordinate of the result [m3]."""
        layout = self.layout
        n_rows = self.values.sizes[layout.reach_dim]
        reach = np.zeros(n_rows, np.int64)
        reach[self.row] = np.arange(self.position.size)
        placed = (values * self.to_m3)[..., reach]
        placed = placed.reshape(len(self.gauge), *batch, n_rows)
        found = xr.DataArray(placed, dims=(GAUGE, *layout.batch_dims, layout.reach_dim))
        found = found.isel({d: 0 for d, n in zip(layout.batch_dims, batch, strict=True) if n < layout.sizes[d]})
        units = {} if self.run.units is None else {"units": "m3"}
        return found.assign_attrs(**attrs, **units)


def _of_state(trace: Trace, gradient: BlockState, parts: list[tuple[str, Any, Any]]) -> NDArray[np.float64]:
    table = {name: StageTable(outflow, inflow) for name, outflow, inflow in parts}
    return trace.of_state(gradient, {n: _flat(stage) for n, stage in table.items()})


def _flat(stage: StageTable) -> StageTable:
    """A stage whose batch dimensions are one."""
    outflow = np.asarray(stage.outflow)
    n = outflow.shape[-1]
    inflow = None if stage.inflow is None else np.asarray(stage.inflow).reshape(-1, *np.shape(stage.inflow)[-2:])
    return StageTable(outflow.reshape(-1, n), inflow)


def _source(
    array: xr.DataArray, network: Network, run: Run, gauges: NDArray[np.int64], request: FootprintRequest
) -> _Source:
    """Runoff of what is upstream of gauges; nothing of the rest is read.

    Raises
    ------
    AlignmentError
        If runoff has a dimension or a coordinate of a name that the result needs.
    """
    taken = {GAUGE, STATE, KNOWN} & {*array.dims, *array.coords}
    if taken:
        raise AlignmentError(f"runoff has {some(sorted(map(str, taken)))}, a name that the footprint needs: rename it")
    whole = run.layout
    basin = network.basin(network.ids[gauges])
    position = network.position(basin.ids)
    row = position if whole.row is None else whole.row[position]
    used = np.sort(row[row >= 0])
    is_slice = used.size and used[-1] - used[0] == used.size - 1
    own = array.isel({whole.reach_dim: slice(int(used[0]), int(used[-1]) + 1) if is_slice else used})
    layout = align(own, basin, reach_dim=whole.reach_dim, time_dim=whole.time_dim, missing=request.missing)
    if own.chunks is None:
        _require_room(own, np.unique(gauges).size)
    with reading("the runoff"):
        data = own.data if own.chunks is not None else on_host(own.variable.load().data)
    values = xr.DataArray(data, dims=own.dims).transpose(*layout.engine_dims)
    n_added = layout.sizes[whole.reach_dim] - own.sizes[whole.reach_dim]
    if n_added:  # reaches without runoff, which may have held water
        values = values.pad({whole.reach_dim: (0, n_added)}, constant_values=0)
    at = basin.position(network.ids[np.unique(gauges)])
    return _Source(run, basin, position, layout, values, step_labels(array, run.clock.dim), at)


def _require_room(runoff: xr.DataArray, n_gauges: int) -> None:
    """Refuse what would not fit in memory: runoff in float64, and shares and volumes of each gauge.

    Raises
    ------
    XRouteError
        With advice.
    """
    room, needed = available_memory(), 8 * runoff.size * (1 + 2 * n_gauges)
    if room is not None and needed > room:
        raise XRouteError(
            f"the footprint of {n_gauges} gauge{'s' * (n_gauges != 1)} and {runoff.size:,} values of runoff upstream takes "
            f"{show_bytes(needed)} of memory, and there are {show_bytes(room)}: give runoff in chunks, "
            "runoff.chunk(time=...), or fewer gauges at a time"
        )
