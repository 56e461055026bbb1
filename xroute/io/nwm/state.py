"""Restarts of the National Water Model (HYDRO_RST): flow of links, in the order of RouteLink and without ids."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, StateError, TimeAxisError, XRouteError, require, some
from xroute.files.opening import PathLike, open_netcdf
from xroute.files.writing import replacing
from xroute.guards import writing
from xroute.ids import exact_ids, positions_of
from xroute.io.common import dataset_of
from xroute.io.nwm.network import N_LINKS, ROW, read_network
from xroute.state_form import is_state
from xroute.units import flux_in_si
from xroute.wording import argument

__all__ = ["read_state", "write_state"]

logger = logging.getLogger(__name__)

LINKS, BEFORE, NOW, DEPTH = "links", "qlink1", "qlink2", "hlink"
TIME = "Restart_Time"
STYLE = "%Y-%m-%d_%H:%M:%S"


def read_state(path: PathLike, network: Any, *, variable: str = NOW) -> xr.DataArray:
    """Read a restart as a snapshot for `xroute.initial_state`.

    Parameters
    ----------
    path
        ``HYDRO_RST.2020-08-26_00:00_DOMAIN1`` or the like.
    network
        Network or its Dataset, of `read_network`: its ``link_row`` says which link is where in the restart, also where it is a
        part of the domain, or in another order. Or the path of the RouteLink file, for all links.
    variable
        ``"qlink2"``, the flow out of a link, ``"qlink1"``, the flow of the step before, or ``"qlink2_troute"``, where t-route
        has added it.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (reach) [m3 s-1], of the instant that the attribute ``time`` names.

    Raises
    ------
    AlignmentError
        A restart of another number of links than RouteLink has, or a network that does not know its rows.
    XRouteError
        No restart, or one without the variable.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import nwm_folder
    >>> from xroute.io import nwm
    >>> folder = nwm_folder(tempfile.mkdtemp(), hours=2)
    >>> network = nwm.read_network(folder)
    >>> flow = nwm.read_runoff(folder, network).isel(time=0, drop=True)
    >>> nwm.write_state(flow, folder / "HYDRO_RST.2024-05-01_01:00_DOMAIN1", network, time="2024-05-01 01:00")
    >>> nwm.read_state(folder / "HYDRO_RST.2024-05-01_01:00_DOMAIN1", network).attrs["time"]
    '2024-05-01T01:00:00'
    """
    rivers, rows, n_links = _rows(network)
    with open_netcdf(path) as restart:
        if variable not in restart.variables:
            raise XRouteError(f"{path} has no {variable!r}, the flow of links in a restart; it has {some(restart.variables)}")
        flow = restart[variable].load()
        time = restart.attrs.get(TIME)
    if flow.ndim != 1:
        raise XRouteError(f"{variable} of {path} has dimensions {some(flow.dims)}; it needs the links alone")
    _check_size(flow.size, n_links, path)
    attrs = {"long_name": "instantaneous discharge", "units": "m3 s-1"}
    if time is not None:
        attrs["time"] = _moment(time, str(path)).isoformat()
    ids = ("reach", rivers["reach"].values, {"cf_role": "timeseries_id"})
    return xr.DataArray(flow.to_numpy()[rows], dims="reach", coords={"reach": ids}, attrs=attrs, name="discharge")


def write_state(
    state: xr.DataArray | xr.Dataset,
    path: PathLike,
    network: Any,
    *,
    time: Any = None,
    depth: xr.DataArray | None = None,
    template: PathLike | None = None,
    overwrite: bool = False,
) -> None:
    """Write a restart: the flow of links, in the order of RouteLink.

    Parameters
    ----------
    state : (reach)
        Discharge at an instant, in m3 s-1 or other units of volume flux; or a state of `xroute.route`, whose outflow is taken.
    path
        The file, or a folder, in which it is called ``HYDRO_RST.2024-05-01_00:00_DOMAIN1``, after its time.
    network
        Network or its Dataset, of `read_network`, or the path of the RouteLink file.
    time
        The instant. By default what the state says.
    depth : (reach), optional
        Depth of the water [m], ``hlink``. xroute does not know it: without it, and without a template, it is left out, and
        t-route takes it to be 0.
    template
        A restart of the same links, of which all else is kept (lakes, soil, groundwater), and the flow of links that the
        state does not have.
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError
        A state that lacks links, without a template; a template of another RouteLink.
    StateError, TimeAxisError, UnitsError
        A state with members; an instant that is not known; units of something else.
    XRouteError
        A template that is no restart.
    FileExistsError
        There is something at the path and ``overwrite`` is False.
    ImportError
        netCDF4 is not installed.

    Examples
    --------
    See `read_state`, for a snapshot of discharge.

    >>> import tempfile
    >>> from xroute.datasets import nwm_folder
    >>> from xroute.io import nwm
    >>> folder = nwm_folder(tempfile.mkdtemp(), hours=3)
    >>> network = nwm.read_network(folder)
    >>> runoff = nwm.read_runoff(folder, network)
    >>> discharge, state = runoff.route(network, scheme="muskingum_exact", return_state=True)
    >>> nwm.write_state(state, folder, network)
    >>> nwm.find_files(folder)["state"].name
    'HYDRO_RST.2024-05-01_03:00_DOMAIN1'
    """
    require("netCDF4", feature="writing a restart", extra="io")
    rivers, rows, n_links = _rows(network)
    flow, moment = _flow_of(state, time)
    given = {NOW: _by_row(flow, rivers, rows, n_links, "state")}
    if depth is not None:
        given[DEPTH] = _by_row(depth, rivers, rows, n_links, "depth")
    base = xr.Dataset()
    if template is not None:
        with open_netcdf(template, raw=True) as opened:
            base = opened.load()
        lacking = [name for name in (NOW, BEFORE) if name not in base.variables]
        if lacking:
            raise XRouteError(f"the template {template} is no restart: it has no {some(lacking)}")
        _check_size(base.sizes[base[NOW].dims[0]], n_links, template)
    absent = np.isnan(given[NOW])
    if absent.any() and template is None:
        raise AlignmentError(
            f"the state has no flow for {int(absent.sum())} of the {n_links} links of RouteLink, first row {absent.argmax()}: "
            "give a restart that has the others as the template"
        )
    for name, values in {**given, BEFORE: given[NOW]}.items():
        old = base[name].to_numpy() if name in base.variables else np.full(n_links, np.nan, np.float32)
        whole = np.where(np.isnan(values), old, values)
        about = dict(base[name].attrs) if name in base.variables else {"_FillValue": np.float32(np.nan)}
        base[name] = (base[name].dims if name in base.variables else (LINKS,), _kept(whole), about)
        base[name].attrs.pop("_FillValue", None)
        base[name].encoding = {"_FillValue": about.get("_FillValue")}
    base.attrs = {"channel_only": np.int32(0), "channelBucket_only": np.int32(0), **base.attrs, TIME: moment.strftime(STYLE)}
    target = Path(path)
    if target.is_dir():
        target = target / f"HYDRO_RST.{moment:%Y-%m-%d_%H:%M}_DOMAIN1"
    with replacing(target, overwrite=overwrite) as draft, writing(f"write {target}", target=target):
        base.to_netcdf(draft, engine="netcdf4")


def _rows(network: Any) -> tuple[xr.Dataset, NDArray[np.int64], int]:
    """The network's Dataset, the row of each reach in RouteLink, and how many rows this has."""
    rivers = read_network(network) if isinstance(network, str | Path) else dataset_of(network)
    if rivers is None or ROW not in rivers.variables or N_LINKS not in rivers.attrs:
        raise AlignmentError(
            f"restarts bear no ids: links are in the order of RouteLink, which the network does not know (it has no {ROW!r}). "
            "Read it with xroute.io.nwm.read_network, or give the path of RouteLink"
        )
    return rivers, rivers[ROW].to_numpy().astype(np.int64), int(rivers.attrs[N_LINKS])


def _check_size(found: int, n_links: int, path: PathLike) -> None:
    if found != n_links:
        raise AlignmentError(
            f"{path} has {found} links, and RouteLink {n_links}: it is a restart of another RouteLink, and its links bear no ids"
        )


def _moment(text: Any, what: str) -> pd.Timestamp:
    try:
        return pd.Timestamp(str(text).replace("_", " "))
    except ValueError as error:
        raise TimeAxisError(f"the time of {what}, {text!r}, is no date") from error


def _flow_of(state: Any, time: Any) -> tuple[xr.DataArray, pd.Timestamp]:
    """Discharge at an instant (reach) in m3 s-1, and the instant."""
    flow = state["outflow"] if isinstance(state, xr.Dataset) and is_state(state) else state
    if not isinstance(flow, xr.DataArray) or flow.dims != ("reach",):
        raise StateError(
            "a restart is of discharge (reach) at one instant, or of a state without members"
            + (f", and this has dimensions {some(flow.dims)}: discharge.isel(time=-1), for instance"
               if isinstance(flow, xr.DataArray) else f", not of a {type(state).__name__}")
        )
    stated = time if time is not None else state.attrs.get("time")
    if stated is None and "time" in flow.coords and flow.attrs.get("time_label") == "end":
        stated = flow["time"].values
    if stated is None:
        raise TimeAxisError(f"nothing says of which instant the state is: give {argument('time')}")
    units = flow.attrs.get("units")
    return flow * flux_in_si(units, "discharge"), _moment(stated, "the state")


def _by_row(array: xr.DataArray, rivers: xr.Dataset, rows: NDArray[np.int64], n_links: int, what: str) -> NDArray[np.float64]:
    """Values in the order of RouteLink; NaN for links that the array does not have."""
    ids = exact_ids(array["reach"].values, f"reach of the {what}", AlignmentError)
    at = positions_of(ids, exact_ids(rivers["reach"].values, "network reach"))
    if (at < 0).any():
        raise AlignmentError(f"{int((at < 0).sum())} reaches of the {what} are not in the network: {some(ids[at < 0])}")
    values = array.to_numpy().astype(np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        raise StateError(f"the {what} is not finite on {int(bad.sum())} reaches: {some(ids[bad])}")
    whole = np.full(n_links, np.nan)
    whole[rows[at]] = values
    return whole


def _kept(values: NDArray[np.float64]) -> NDArray[Any]:
    """In 32 bits where these hold what is to be written, as restarts are, and else in 64."""
    small = values.astype(np.float32)
    same = np.array_equal(small.astype(np.float64), values, equal_nan=True)
    return small if same else values
