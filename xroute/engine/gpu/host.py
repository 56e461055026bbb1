"""Routing over a GPU of arrays that lie in the host's memory: staged through pinned memory, copies beside computation.

A series goes over in blocks of time that fit the device, most often one. While a block is routed and its discharge comes back,
the next one's runoff is already on its way. Memory is copied in the order in which it lies; rows are put in order, and
transposed, on the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.engine.arrays import NotFinite, compute_type
from xroute.engine.gpu.launch import DeviceFilter, GpuOptions, prepared, route_gpu
from xroute.engine.plan import RoutingPlan
from xroute.schemes import Filter

__all__ = ["route_cupy", "route_host", "route_resident"]

Tensor = torch.Tensor
STAGE_BYTES = 2**25
"""Pinned memory through which runoff is staged, twice."""
PINNED_BYTES = 2**32
"""Largest result that is itself put into pinned memory, so that it need not be copied again."""
DEVICE_SHARE = 0.8
"""Share of the device's free memory that a block may take."""


def route_resident(
    runoff: Tensor,
    plan: RoutingPlan,
    filter: DeviceFilter,
    history: Tensor | None,
    outflow: Tensor | None,
    options: GpuOptions,
    *,
    runoff_row: Tensor | None = None,
    discharge_row: Tensor | None = None,
    n_rows: int | None = None,
    scale: Tensor | None = None,
    zero_missing: bool = False,
    given: Tensor | None = None,
    kept: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Route runoff [batch, row, time] that is on the device.

    Returns
    -------
    discharge : [batch, n_rows, time]
    history, outflow
        State at the end.
    n_bad : int64 scalar tensor
        Number of values of runoff, on rows of the network, that were not finite.
    overflown : bool scalar tensor
        Whether any discharge is not finite.
    """
    if runoff_row is not None:
        present = runoff_row >= 0
        runoff = runoff.index_select(1, runoff_row.clamp(min=0)) if runoff.shape[1] else runoff.new_zeros(
            runoff.shape[0], plan.n_reaches, runoff.shape[2]
        )  # fmt: skip
        runoff = torch.where(present[:, None], runoff, 0)
    finite = torch.isfinite(runoff)
    n_bad = runoff.numel() - finite.sum()
    if zero_missing:
        runoff = torch.where(finite, runoff, 0)
    del finite
    discharge, lags, last, _ = route_gpu(
        runoff, plan, filter, history, outflow, options=options, scale=scale, given=given, kept=kept
    )
    assert lags is not None and last is not None
    overflown = ~torch.isfinite(torch.stack(torch.aminmax(discharge))).all() if discharge.numel() else n_bad < 0
    if discharge_row is not None:
        wanted = torch.nonzero(discharge_row >= 0)[:, 0]
        rows = plan.n_reaches if n_rows is None else n_rows
        placed = discharge.new_empty(discharge.shape[0], rows, discharge.shape[2])
        placed[:, discharge_row[wanted]] = discharge[:, wanted]
        discharge = placed
    return discharge, lags, last, n_bad, overflown


def route_host(
    runoff: NDArray[Any],
    plan: RoutingPlan,
    filter: Filter,
    history: NDArray[np.float64] | None,
    outflow: NDArray[np.float64] | None,
    options: GpuOptions,
    device: torch.device,
    *,
    runoff_row: NDArray[np.int64] | None = None,
    discharge_row: NDArray[np.int64] | None = None,
    n_rows: int | None = None,
    scale: NDArray[np.float64] | None = None,
    zero_missing: bool = False,
    block: int | None = None,
    given: NDArray[np.float64] | None = None,
    kept: NDArray[np.float64] | None = None,
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64], NotFinite]:
    """Route runoff [batch, row, time], float32 or float64, over ``device``; ``block`` steps at a time, or as many as fit.

    ``given`` and ``kept`` are what partitions exchange, as for `xroute.engine.gpu.route_gpu`.

    Returns
    -------
    discharge : [batch, n_rows, time]
    history, outflow
        State at the end, in float64.
    n_bad : NotFinite
        Of discharge 1 for any.
    """
    n_batch, _, n_steps = runoff.shape
    rows = plan.n_reaches if n_rows is None else n_rows
    dtype = torch.float64 if runoff.dtype == np.float64 else torch.float32
    made = prepared(plan, filter, device, dtype, options)

    def there(array: NDArray[Any] | None, to: torch.dtype | None = None) -> Tensor | None:
        return None if array is None else torch.from_numpy(np.ascontiguousarray(array)).to(device, to)

    lags, last = there(history, dtype), there(outflow, dtype)
    known: dict[str, Any] = {
        "runoff_row": there(runoff_row), "discharge_row": there(discharge_row), "n_rows": n_rows,
        "scale": there(scale, dtype), "zero_missing": zero_missing,
    }  # fmt: skip
    block = block or _block_length(runoff, n_batch * rows, n_steps, device)
    starts = range(0, max(n_steps, 1), block)
    pinned = n_batch * rows * n_steps * dtype.itemsize <= PINNED_BYTES
    result = torch.empty((n_batch, rows, n_steps), dtype=dtype, pin_memory=pinned and n_steps > 0)
    bad = torch.zeros(2, dtype=torch.int64, device=device)
    with torch.cuda.device(device):
        back, stage = torch.cuda.Stream(), _Stage(device)
        ahead = stage.send(runoff[..., : min(block, n_steps)])
        for first in starts:
            here = ahead.to(dtype)
            part = slice(first, min(first + block, n_steps))
            fine = slice(part.start * options.substeps, part.stop * options.substeps)
            passed = None if kept is None else torch.zeros(kept[..., fine].shape, dtype=dtype, device=device)
            discharge, lags, last, n_bad, overflown = route_resident(
                here, plan, made, lags, last, options, **known,
                given=None if given is None else there(given[..., fine], dtype), kept=passed,
            )  # fmt: skip
            bad += torch.stack([n_bad, overflown.long()])
            if kept is not None and passed is not None:
                kept[..., fine] = passed.cpu().numpy()
            discharge = discharge.contiguous()
            direct = pinned and len(starts) == 1
            target = result if direct else torch.empty(discharge.shape, dtype=dtype, pin_memory=True)
            back.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(back):
                target.copy_(discharge, non_blocking=True)
                discharge.record_stream(back)
            if first + block < n_steps:
                ahead = stage.send(runoff[..., first + block : min(first + 2 * block, n_steps)])
            back.synchronize()
            if not direct:
                result[..., part] = target
    assert lags is not None and last is not None
    return result.numpy(), lags.double().cpu().numpy(), last.double().cpu().numpy(), NotFinite(*bad.tolist())


def route_cupy(
    runoff: Any,
    plan: RoutingPlan,
    filter: Filter,
    history: NDArray[np.float64] | None,
    outflow: NDArray[np.float64] | None,
    options: GpuOptions,
    *,
    runoff_row: NDArray[np.int64] | None = None,
    discharge_row: NDArray[np.int64] | None = None,
    n_rows: int | None = None,
    scale: NDArray[np.float64] | None = None,
    zero_missing: bool = False,
    given: NDArray[np.float64] | None = None,
    kept: NDArray[np.float64] | None = None,
) -> tuple[Any, NDArray[np.float64], NDArray[np.float64], NotFinite]:
    """`route_host` for a cupy array: discharge is one too, on the same device, and neither goes through the host."""
    import cupy

    with cupy.cuda.Device(runoff.device.id):
        dtype = torch.float64 if compute_type(runoff.dtype) == np.float64 else torch.float32
        series = torch.from_dlpack(cupy.ascontiguousarray(runoff))
        device = series.device
        made = prepared(plan, filter, device, dtype, options)

        def there(array: NDArray[Any] | None, to: torch.dtype | None = None) -> Tensor | None:
            return None if array is None else torch.from_numpy(np.ascontiguousarray(array)).to(device, to)

        passed = None if kept is None else torch.zeros(kept.shape, dtype=dtype, device=device)
        discharge, lags, last, n_bad, overflown = route_resident(
            series.to(dtype), plan, made, there(history, dtype), there(outflow, dtype), options,
            runoff_row=there(runoff_row), discharge_row=there(discharge_row), n_rows=n_rows, scale=there(scale, dtype),
            zero_missing=zero_missing, given=there(given, dtype), kept=passed,
        )  # fmt: skip
        if kept is not None and passed is not None:
            kept[:] = passed.cpu().numpy()
        torch.cuda.synchronize(device)  # cupy works on a stream of its own
        result = cupy.from_dlpack(discharge.contiguous())
    bad = NotFinite(int(n_bad), int(overflown))
    return result, lags.double().cpu().numpy(), last.double().cpu().numpy(), bad


class _Stage:
    """Two pinned buffers through which arrays go to a device, one being filled while the other is read."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)
        self.buffers: list[Tensor] = []
        self.free: list[torch.cuda.Event] = []

    def send(self, array: NDArray[Any]) -> Tensor:
        """Copy of an array on the device, of its shape, contiguous; copied in the order in which it lies in memory."""
        if min(array.strides) < 0:  # which torch does not take
            array = array.copy()
        order = np.argsort([-s for s in array.strides], kind="stable")
        source = array.transpose(order)
        native = source.dtype.newbyteorder("=")
        shape = source.shape
        if source.dtype.isnative and source.flags.writeable:
            host = torch.from_numpy(source)
        else:
            host = torch.from_numpy(source.astype(native))  # torch takes neither swapped bytes nor read-only memory
        whole = torch.empty(shape, dtype=host.dtype, device=self.device)
        flat = whole.view(-1)
        if not flat.numel():
            return whole.permute(*np.argsort(order).tolist()).contiguous()
        length = max(1, STAGE_BYTES // host.dtype.itemsize)
        if not self.buffers:
            self.buffers = [torch.empty(STAGE_BYTES, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
            self.free = [torch.cuda.Event() for _ in range(2)]
        lead = shape[0]
        per = host[0].numel() if lead else 1
        self.stream.wait_stream(torch.cuda.current_stream())  # what had the memory of `whole` before
        at = 0
        for k, (piece, size) in enumerate(_pieces(host, lead, per, length)):
            buffer = self.buffers[k % 2].view(host.dtype)[:size]
            self.free[k % 2].synchronize()
            buffer.view(piece.shape).copy_(piece)  # on all threads
            with torch.cuda.stream(self.stream):
                flat[at : at + size].copy_(buffer, non_blocking=True)
                self.free[k % 2].record(self.stream)
            at += size
        torch.cuda.current_stream().wait_stream(self.stream)
        whole.record_stream(self.stream)
        return whole.permute(*np.argsort(order).tolist()).contiguous()


def _pieces(host: Tensor, lead: int, per: int, length: int) -> Any:
    """Parts of a tensor of at most ``length`` elements, in the order of memory, with their sizes."""
    if per <= length:
        step = max(1, length // per)
        for first in range(0, lead, step):
            part = host[first : first + step]
            yield part, part.numel()
    else:
        for k in range(lead):
            yield from _pieces(host[k], host.shape[1], host[k][0].numel() if host.ndim > 1 else 1, length)


def _block_length(runoff: NDArray[Any], n_out: int, n_steps: int, device: torch.device) -> int:
    """Steps that fit the device: runoff twice (as it lies, and in order), discharge twice, and what waits behind them."""
    a_step = 3 * runoff.shape[0] * runoff.shape[1] * runoff.itemsize + 3 * n_out * runoff.itemsize
    room = int(DEVICE_SHARE * torch.cuda.mem_get_info(device)[0])
    fits = room // max(1, a_step)
    return max(1, n_steps) if fits >= n_steps else max(8, fits // 2 // 8 * 8)
