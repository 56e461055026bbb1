"""`xroute.unit_hydrograph`: what hillslopes do to runoff, as a table of ordinates."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import ParameterError
from xroute.hillslope import ORDINATES, hillslope_of
from xroute.network import Network
from xroute.network_files import as_network
from xroute.recipe import resolve_step
from xroute.settings import HILLSLOPE
from xroute.wording import argument

__all__ = ["unit_hydrograph"]


def unit_hydrograph(
    network: xr.Dataset | Network | str | os.PathLike[str], hillslope: Any = None, *, dt: Any = None
) -> xr.DataArray:
    """Unit hydrographs of a network's hillslopes: what arrives at the channel in each step after one of runoff.

    Parameters
    ----------
    network
        Network Dataset, a `Network`, or the path of one.
    hillslope
        As for `route`.
    dt
        Step of runoff: seconds, a timedelta, or text like ``"3h"``; by default the network's attribute ``runoff_step``.

    Returns
    -------
    xarray.DataArray
        Ordinates (reach, ordinate) [1], each reach's summing to one, and zero behind its last. Their ``attrs["dt"]`` is the
        step [s], their labels are times since the step of runoff [s], and `route` takes them as its ``hillslope``.

    Raises
    ------
    ParameterError, AlignmentError, TimeAxisError
        As `route`; and if there is no hillslope.

    Notes
    -----
    ``"gamma"`` is the distribution of the time that water takes through reservoirs in a row (Nash 1957). ``"scs"`` and
    ``"triangular"`` are the dimensionless and the triangular unit hydrograph of the Soil Conservation Service (NRCS 2007).
    Ordinates are means over steps of runoff of one step.

    References
    ----------
    Nash, J. E. (1957). The form of the instantaneous unit hydrograph. IASH Publication, 45, 114-121.

    NRCS (2007). Hydrographs. National Engineering Handbook, part 630, chapter 16. US Department of Agriculture.

    Examples
    --------
    >>> import xroute
    >>> river = xroute.Network.from_links([1, 2], [2, 0], parameters={"fshape": 2.5, "tscale": 1800.0})
    >>> xroute.unit_hydrograph(river, "gamma", dt="1h").sel(reach=1)[:4].values.round(3)
    array([0.175, 0.503, 0.24 , 0.065])
    """
    network = as_network(network)
    step = resolve_step(network, dt)
    found = hillslope_of(network, hillslope, step)
    if found is None:
        raise ParameterError(f"there is no hillslope: give {argument('hillslope')}, one of {', '.join(HILLSLOPE[1:])}")
    taps, pointer, _, _ = found.filter.arrays()
    n_taps = np.diff(pointer)
    values = np.zeros((network.n_reaches, int(n_taps.max(initial=1))))
    values[np.arange(values.shape[1]) < n_taps[:, None]] = taps
    attrs = {"long_name": f"unit hydrograph of hillslopes, {found.name}", "units": "1", "dt": step}
    dims, after = ("reach", ORDINATES[:-1]), np.arange(values.shape[1]) * step
    coords = {"reach": network.ids, dims[1]: (dims[1], after, {"long_name": "time since the step of runoff", "units": "s"})}
    return xr.DataArray(values, coords, dims, "unit_hydrograph", attrs)
