"""The CPU engine: arrays of numpy in, arrays of numpy out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.engine.arrays import NotFinite, compute_type
from xroute.engine.cpu.forward import route_cpu
from xroute.exceptions import ParameterError

if TYPE_CHECKING:
    from xroute.engine.plan import RoutingPlan
    from xroute.schemes import Filter

__all__ = ["route_tensor"]


def route_tensor(
    runoff: NDArray[Any],
    plan: RoutingPlan,
    filter: Filter,
    history: NDArray[np.float64],
    outflow: NDArray[np.float64],
    *,
    runoff_row: NDArray[np.int64] | None = None,
    discharge_row: NDArray[np.int64] | None = None,
    n_rows: int | None = None,
    scale: NDArray[np.float64] | None = None,
    substeps: int = 1,
    sampling: str = "mean",
    lateral: str = "head",
    zero_missing: bool = False,
    dry: bool = False,
    given: NDArray[np.float64] | None = None,
    kept: NDArray[np.float64] | None = None,
) -> tuple[NDArray[Any], NotFinite]:
    """Route runoff ``[batch, row, time]``; ``history`` and ``outflow`` are taken to the end of the series in place.

    Parameters are those of `xroute.engine.cpu.forward.route_cpu`, options checked by the caller; the discharge is allocated here.

    Returns
    -------
    discharge : [batch, n_rows, time]
    n_bad : NotFinite
        Number of values of runoff, and of discharge, that were not finite.

    Raises
    ------
    ParameterError
        For runoff of another shape, or that is not numbers.
    """
    if runoff.ndim != 3:
        raise ParameterError(f"runoff has shape {runoff.shape}, not (batch, row, time)")
    dtype = compute_type(runoff.dtype)
    n_batch, _, n_steps = runoff.shape
    discharge = np.empty((n_batch, plan.n_reaches if n_rows is None else n_rows, n_steps), dtype)
    n_bad = route_cpu(
        _contiguous(runoff, dtype), discharge, plan, *filter.arrays(), history, outflow,
        runoff_row=runoff_row, discharge_row=discharge_row, scale=scale, substeps=substeps, sampling=sampling,
        lateral=lateral, zero_missing=zero_missing, dry=dry, given=given, kept=kept,
    )  # fmt: skip
    return discharge, n_bad


def _contiguous(runoff: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Runoff of a type that the kernels take, with time contiguous; itself when it is that already."""
    if runoff.dtype == dtype and runoff.dtype.isnative and runoff.flags.c_contiguous:
        return runoff
    from xroute.engine.cpu.transpose import contiguous

    return contiguous(runoff, dtype)
