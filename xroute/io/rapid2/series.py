"""RAPID2's series and states, which are laid out as RAPID's are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import TimeAxisError, XRouteError, some
from xroute.files.opening import PathLike, open_netcdf
from xroute.io.rapid import series
from xroute.io.rapid.labels import are_dates, decode_dates
from xroute.io.rapid2.folder import resolve
from xroute.stamps import unit_seconds

__all__ = ["external_step", "read_discharge", "read_runoff", "read_state"]


def read_runoff(
    path: PathLike, network: Any = None, *, dt: float | None = None, start: Any = None, variable: str = "Qext"
) -> xr.DataArray:
    """Read external inflow, the runoff of RAPID2.

    Parameters
    ----------
    path
        The file, or a folder or namelist that has one.
    network
        Network whose reaches and order the result takes, by id; by default those of the file.
    dt, start, variable
        As for `xroute.io.rapid.read_runoff`.

    Returns
    -------
    xarray.DataArray
        ``runoff`` (time, reach) [m3 s-1], the mean over each step; ``time_label`` says what a time is of its step.

    Raises
    ------
    AlignmentError, TimeAxisError
        As `xroute.io.rapid.read_runoff`.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid2
    >>> folder = rapid_folder(tempfile.mkdtemp(), version=2, days=1)
    >>> rapid2.read_runoff(folder, rapid2.read_network(folder)).attrs["units"]
    'm3 s-1'
    """
    return series.read_runoff(resolve(path, "runoff"), network, dt=dt, start=start, variable=variable)


def read_discharge(path: PathLike, network: Any = None, *, variable: str = "Qout") -> xr.DataArray:
    """Read RAPID2's discharge (Qout).

    Parameters
    ----------
    path
        The file, or a folder or namelist that has one.
    network, variable
        As for `read_runoff`.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (time, reach) [m3 s-1], the mean over each step.

    Raises
    ------
    FileNotFoundError, AlignmentError, TimeAxisError
        As `read_runoff`.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid2
    >>> folder = rapid_folder(tempfile.mkdtemp(), version=2, days=1)
    >>> network = rapid2.read_network(folder)
    >>> reference = rapid2.read_discharge(folder, network)
    >>> bool(abs(rapid2.read_runoff(folder, network).route(network) - reference).max() < 1e-4 * reference.max())
    True
    """
    return series.read_discharge(resolve(path, "discharge"), network, variable=variable)


def read_state(path: PathLike, network: Any = None, *, variable: str = "Qout") -> xr.DataArray:
    """Read a state, Q00 or Qfi, as a snapshot for `xroute.initial_state`.

    Parameters
    ----------
    path
        The file, or a folder or namelist whose Q00 is read.
    network
        Network whose reaches and order the result takes, by id; by default those of the file.
    variable
        Name of the variable.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (reach) [m3 s-1], of the instant that the attribute ``time`` names.

    Raises
    ------
    XRouteError
        If the file holds several times: a state has one.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid2
    >>> folder = rapid_folder(tempfile.mkdtemp(), version=2, days=1)
    >>> rapid2.read_state(folder).dims
    ('reach',)
    """
    file = resolve(path, "state")
    with open_netcdf(file, raw=True) as raw:
        n_times = raw.sizes.get("time", 1)
        times = raw["time"].load() if "time" in raw.variables else None
    if n_times != 1:
        raise XRouteError(f"{file} holds {n_times} times, and a state is of one: it is no Q00 or Qfi of RAPID2")
    state = series.read_state(file, network, variable=variable)
    if times is not None and are_dates(times):
        date = decode_dates(times, file)[0]
        state.attrs["time"] = pd.Timestamp(date).isoformat() if isinstance(date, np.datetime64) else date.isoformat()
    return state


def external_step(path: Path) -> float | None:
    """Step of Qext [s], by the bounds of its times; None where they were not written."""
    with open_netcdf(path, raw=True) as raw:
        if "time" not in raw.variables or "time_bnds" not in raw.variables or not raw.sizes.get("time"):
            return None
        bounds = raw["time_bnds"].to_numpy()
        unit = (str(raw["time"].attrs.get("units", "")).split() or ["seconds"])[0]
    length = unit_seconds(unit)
    if bounds.ndim != 2 or bounds.shape[1] != 2 or length is None:
        return None
    widths = np.unique(np.diff(bounds.astype(np.float64), axis=1))
    if widths.size > 1:
        raise TimeAxisError(f"the steps of {path} are not all of a length: {some(widths)} {unit} by its time_bnds")
    return float(widths[0]) * length if widths[0] > 0 else None
