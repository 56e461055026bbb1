"""Routing on a GPU of runoff in the host's memory, copied there and back beside the computation, and of cupy's arrays.

A series goes over in blocks of time that fit the device, most often one. While a block is routed and its discharge comes back,
the next one's runoff is already on its way. A large one that fits goes over in blocks of patches instead, see
`xroute.engine.gpu.patch_blocks`. Memory is copied in the order in which it lies; rows are put in order, and transposed, on the
device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.engine.arrays import Exchange, Hillslopes, Known, NotFinite, Rows, State, compute_type
from xroute.engine.gpu import staging
from xroute.engine.gpu.launch import route_gpu
from xroute.engine.gpu.layout import DeviceFilter, by_step, kept_filter
from xroute.engine.gpu.memory import padded
from xroute.engine.gpu.patch_blocks import PatchBlocks
from xroute.engine.gpu.slopes import route_slopes, slopes_on
from xroute.engine.gpu.staging import CudaCopies, Stage
from xroute.engine.plan import RoutingPlan
from xroute.settings import RoutingSettings

__all__ = ["route_cupy", "route_host", "route_resident"]

Tensor = torch.Tensor
PINNED_BYTES = 2**32
"""Largest result that is itself put into pinned memory, so that it need not be copied again."""
DEVICE_SHARE = 0.8
"""Share of the device's free memory that a block may take."""
PATCHES_BYTES = 2**27
"""Runoff from which on a series that fits the device goes over in blocks of patches."""


def route_resident(
    runoff: Tensor,
    plan: RoutingPlan,
    filter: DeviceFilter,
    state: State | None,
    settings: RoutingSettings,
    rows: Rows,
    exchange: Exchange,
    hillslopes: Hillslopes | None = None,
) -> tuple[Tensor, State, State | None, Tensor]:
    """Route runoff [batch, row, time] that is on the device, as are rows, exchange and hillslopes (of `DeviceSlopes`).

    Also the states of river and hillslopes at the end, and an int64 tensor [2]: how many values of runoff, on rows of the
    network, were not finite, and 1 if any discharge is not, else 0.
    """
    if rows.runoff is not None:
        present = rows.runoff >= 0
        if runoff.shape[1]:
            runoff = runoff.index_select(1, rows.runoff.clamp(min=0))
        else:
            runoff = runoff.new_zeros(runoff.shape[0], plan.n_reaches, runoff.shape[2])
        runoff = torch.where(present[:, None], runoff, 0)
    finite = torch.isfinite(runoff)
    n_bad = runoff.numel() - finite.sum()
    if settings.nan_is_zero:
        runoff = torch.where(finite, runoff, 0)
    del finite
    scale, slopes = rows.scale, None
    if hillslopes is not None:
        runoff, slopes = route_slopes(runoff, hillslopes.filter, hillslopes.state, scale)
        scale = None
    discharge, end, _ = route_gpu(runoff, plan, filter, state, settings, scale=scale, exchange=exchange)
    assert end is not None
    routed = discharge[:, : plan.n_reaches - plan.n_given]  # given reaches have no discharge here, but whatever memory held
    overflown = _overflown(routed) if routed.numel() else n_bad < 0
    if rows.discharge is not None:
        wanted = torch.nonzero(rows.discharge >= 0)[:, 0]
        n = plan.n_reaches if rows.n is None else rows.n
        placed = discharge.new_empty(discharge.shape[0], n, discharge.shape[2])
        placed[:, rows.discharge[wanted]] = discharge[:, wanted]
        discharge = placed
    return discharge, end, slopes, torch.stack([n_bad, overflown.long()])


def route_host(
    runoff: NDArray[Any],
    plan: RoutingPlan,
    filter: Any,
    state: State | None,
    settings: RoutingSettings,
    rows: Rows = Rows(),
    exchange: Exchange = Exchange(),
    *,
    copies: CudaCopies,
    block: int | None = None,
    hillslopes: Hillslopes | None = None,
) -> tuple[NDArray[Any], State, NotFinite, State | None]:
    """Route runoff [batch, row, time], float32 or float64, on a device; ``block`` steps at a time, or as many as fit.

    ``filter`` is a `xroute.schemes.Filter`, with which its form on the device is kept, as that of hillslopes is. The state at
    the end, and behind the rest that of the hillslopes, are float64, and `NotFinite` says of discharge not how many, but more
    than 0 if there are any.
    """
    n_batch, _, n_steps = runoff.shape
    device, n = copies.device, plan.n_reaches if rows.n is None else rows.n
    dtype = torch.float64 if runoff.dtype == np.float64 else torch.float32
    made = kept_filter(plan, filter, device, dtype, settings)
    rows_there = _rows_on(rows, device, dtype)
    now, slopes = _state_on(state, device, dtype), _slopes_on(hillslopes, device, dtype)
    whole = block is None
    block = block or block_length(runoff, n_batch * n, copies)
    starts = range(0, max(n_steps, 1), block)
    shape, small = (n_batch, n, n_steps), n_batch * n * n_steps * dtype.itemsize <= PINNED_BYTES
    if whole and small and block >= n_steps and hillslopes is None and _in_patches(runoff, plan, settings):
        return _route_patches(runoff, plan, made, now, settings, rows, exchange, copies)
    result = copies.pinned(shape, dtype) if small and n_steps else torch.empty(shape, dtype=dtype)
    direct = small and len(starts) == 1
    bad = torch.zeros(2, dtype=torch.int64, device=device)
    with copies.active():
        stage = Stage(copies)
        ahead = stage.send(runoff[..., : min(block, n_steps)])
        for first in starts:
            here, steps = ahead.to(dtype), slice(first, min(first + block, n_steps))
            fine = slice(steps.start * settings.substeps, steps.stop * settings.substeps)
            passed = _exchange_on(exchange, steps, fine, device, dtype)
            discharge, now, wet, n_bad = route_resident(here, plan, made, now, settings, rows_there, passed, slopes)
            slopes = None if slopes is None else slopes._replace(state=wet)
            bad += n_bad
            if passed.kept is not None:
                exchange.kept[..., fine] = passed.kept.cpu().numpy()
            discharge = discharge.contiguous()
            target = result if direct else copies.pinned(tuple(discharge.shape), dtype)
            copies.fetch(discharge, target)
            if steps.stop < n_steps:
                ahead = stage.send(runoff[..., steps.stop : min(steps.stop + block, n_steps)])
            copies.fetched()
            if not direct:
                result[..., steps] = target
    assert now is not None
    return result.numpy(), _state_off(now), NotFinite(*bad.tolist()), _slopes_off(slopes)


def _in_patches(runoff: NDArray[Any], plan: RoutingPlan, settings: RoutingSettings) -> bool:
    """Whether runoff goes over in blocks of patches: it is long, its rows can be picked as they lie, and none is given."""
    flags = runoff.flags
    taken = flags.c_contiguous and flags.writeable and runoff.dtype.isnative  # by torch
    short = runoff.shape[2] * runoff.itemsize <= staging.STAGE_BYTES
    return taken and short and runoff.nbytes >= max(1, PATCHES_BYTES) and by_step(settings) and not plan.n_given


def _route_patches(
    runoff: NDArray[Any], plan: RoutingPlan, filter: DeviceFilter, state: State | None, settings: RoutingSettings, rows: Rows,
    exchange: Exchange, copies: CudaCopies,
) -> tuple[NDArray[Any], State, NotFinite, None]:  # fmt: skip
    """`route_host` in blocks of patches."""
    n_batch, _, n_steps = runoff.shape
    n, device, dtype = plan.n_reaches, copies.device, filter.coefficients.dtype
    with copies.active():
        result = copies.pinned((n_batch, n if rows.n is None else rows.n, n_steps), dtype)
        there = padded(torch.Size((n_batch, n, n_steps)), dtype, device)
        passed = _exchange_on(exchange, slice(None), slice(None), device, dtype)
        blocks = PatchBlocks(runoff, there, result, plan, rows, copies, nan_is_zero=settings.nan_is_zero)
        discharge, end, _ = route_gpu(
            there, plan, filter, state, settings, scale=_on(rows.scale, device, dtype), exchange=passed, launches=blocks.launches
        )  # fmt: skip
        assert end is not None
        bad = torch.stack([blocks.n_bad, _overflown(discharge).long()])
        if passed.kept is not None:
            exchange.kept[:] = passed.kept.cpu().numpy()
        off = _state_off(end), NotFinite(*bad.tolist())
        copies.fetched()
    return result.numpy(), *off, None


def _overflown(discharge: Tensor) -> Tensor:
    return ~torch.isfinite(torch.stack(torch.aminmax(discharge))).all()


def route_cupy(
    runoff: Any,
    plan: RoutingPlan,
    filter: Any,
    state: State | None,
    settings: RoutingSettings,
    rows: Rows = Rows(),
    exchange: Exchange = Exchange(),
    hillslopes: Hillslopes | None = None,
) -> tuple[Any, State, NotFinite, State | None]:
    """`route_host` for a cupy array: discharge is one too, on the same device, and neither goes through the host."""
    import cupy

    with cupy.cuda.Device(runoff.device.id):
        dtype = torch.float64 if compute_type(runoff.dtype) == np.float64 else torch.float32
        series = torch.from_dlpack(cupy.ascontiguousarray(runoff))
        device = series.device
        made = kept_filter(plan, filter, device, dtype, settings)
        passed = _exchange_on(exchange, slice(None), slice(None), device, dtype)
        start, slopes = _state_on(state, device, dtype), _slopes_on(hillslopes, device, dtype)
        discharge, end, wet, n_bad = route_resident(
            series.to(dtype), plan, made, start, settings, _rows_on(rows, device, dtype), passed, slopes
        )
        if passed.kept is not None:
            exchange.kept[:] = passed.kept.cpu().numpy()
        torch.cuda.synchronize(device)  # cupy works on a stream of its own
        result = cupy.from_dlpack(discharge.contiguous())
    return result, _state_off(end), NotFinite(*n_bad.tolist()), None if wet is None else _state_off(wet)


def block_length(runoff: NDArray[Any], n_out: int, copies: CudaCopies) -> int:
    """Steps that fit the device: runoff twice (as it lies, and in order), discharge twice, and what waits behind them."""
    n_batch, n_rows, n_steps = runoff.shape
    a_step = 3 * n_batch * n_rows * runoff.itemsize + 3 * n_out * runoff.itemsize
    fits = int(DEVICE_SHARE * copies.free_bytes()) // max(1, a_step)
    return max(1, n_steps) if fits >= n_steps else max(8, fits // 2 // 8 * 8)


def _on(array: NDArray[Any] | None, device: torch.device, dtype: torch.dtype | None = None) -> Tensor | None:
    return None if array is None else torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)


def _rows_on(rows: Rows, device: torch.device, dtype: torch.dtype) -> Rows:
    return Rows(_on(rows.runoff, device), _on(rows.discharge, device), rows.n, _on(rows.scale, device, dtype))


def _exchange_on(
    exchange: Exchange, steps: slice, fine: slice, device: torch.device, dtype: torch.dtype
) -> Exchange:
    """Given and known series of some steps, which are those routing steps, on the device; and room there for the kept ones."""
    given = None if exchange.given is None else _on(exchange.given[..., fine], device, dtype)
    kept, known = None, exchange.known
    if exchange.kept is not None:
        kept = torch.zeros(exchange.kept[..., fine].shape, dtype=dtype, device=device)
    if known is not None:
        known = Known(known.reach, _on(known.values[..., steps], device, dtype))
    return Exchange(given, kept, known)


def _state_on(state: State | None, device: torch.device, dtype: torch.dtype) -> State | None:
    return None if state is None else State(*(_on(array, device, dtype) for array in state))


def _slopes_on(given: Hillslopes | None, device: torch.device, dtype: torch.dtype) -> Hillslopes | None:
    """Hillslopes on the device, in the arithmetic's type."""
    if given is None:
        return None
    return Hillslopes(slopes_on(given.filter, device, dtype), _state_on(given.state, device, dtype))


def _slopes_off(slopes: Hillslopes | None) -> State | None:
    return None if slopes is None or slopes.state is None else _state_off(slopes.state)


def _state_off(state: State) -> State:
    return State(*(array.double().cpu().numpy() for array in state))
