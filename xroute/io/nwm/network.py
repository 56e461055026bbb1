"""RouteLink, the channel network of the National Water Model, read and written.

Rows of RouteLink are the order of the links in restarts (HYDRO_RST), which bear no ids: the variable ``link_row`` of the network
keeps it, so that everything after works by id.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, require, some
from xroute.files.decoding import mask_fill
from xroute.files.opening import PathLike, open_netcdf
from xroute.files.writing import replacing
from xroute.guards import writing
from xroute.ids import distinct, exact_ids, repeated, within
from xroute.io.common import file_ids
from xroute.io.nwm.files import NETWORK_PATTERNS, find_files
from xroute.network import Network
from xroute.network_files import as_network
from xroute.placeholders import DECLARED
from xroute.schemes import name_default_scheme
from xroute.units import to_si

__all__ = ["ROW", "N_LINKS", "read_network", "single_links", "write_network"]

logger = logging.getLogger(__name__)

ROW = "link_row"
"""Variable of the network: the row of a reach in RouteLink, by which HYDRO_RST is ordered."""
N_LINKS = "n_links"
"""Attribute of the network: how many rows RouteLink had."""
OUTLET = 0
#: RouteLink variable -> our name, units, long name.
VARIABLES: dict[str, tuple[str, str, str]] = {
    "MusK": ("k", "s", "Muskingum storage constant"),
    "MusX": ("x", "1", "Muskingum weight"),
    "Length": ("length", "m", "length of the reach"),
    "So": ("slope", "1", "slope of the bed"),
    "n": ("manning_n", "s m-1/3", "Manning's roughness"),
    "nCC": ("manning_n_compound", "s m-1/3", "Manning's roughness of the compound channel"),
    "ChSlp": ("side_slope", "1", "side slope of the channel"),
    "BtmWdth": ("bottom_width", "m", "bottom width of the channel"),
    "TopWdth": ("top_width", "m", "top width of the channel"),
    "TopWdthCC": ("top_width_compound", "m", "top width of the compound channel"),
    "alt": ("elevation", "m", "elevation of the start node above NAVD88"),
    "lon": ("lon", "degrees_east", "longitude of the midpoint"),
    "lat": ("lat", "degrees_north", "latitude of the midpoint"),
    "order": ("stream_order", "1", "Strahler order as it stands in the file"),
    "Qi": ("initial_flow", "m3 s-1", "flow that links start with"),
    "Kchan": ("channel_conductivity", "mm h-1", "conductivity of the channel's bed"),
    "NHDWaterbodyComID": ("waterbody", "", "id of the lake or reservoir (-9999: none)"),
}
GAGE = "gages"
GAGE_LENGTH = 15
DERIVED = ("link", "to", "from", "ascendingIndex", "time", GAGE)
"""Variables of RouteLink that have a name of their own here, or follow from others."""
NEEDED = ("Length", "n", "So", "ChSlp", "BtmWdth", "TopWdth", "TopWdthCC", "nCC", "MusK", "MusX", "NHDWaterbodyComID")
"""Variables without which t-route does not start."""
MEANINGS = {"link": "Link ID", "to": "To Link ID", "from": "From Link ID", "ascendingIndex": "Index to use for sorting IDs"}


def read_network(path: PathLike) -> xr.Dataset:
    """Read a RouteLink file.

    Parameters
    ----------
    path
        ``RouteLink*.nc``, or a folder that holds one (itself, or in ``domain``).

    Returns
    -------
    xarray.Dataset
        On ``reach`` (int64 ids of ``link``): ``downstream`` (0 at outlets), ``downstream_id`` (the file's own ``to``,
        which may name links outside a clipped domain), Muskingum ``k`` [s] and ``x``, ``length`` [m], ``slope``,
        ``manning_n``, widths [m], ``lon``, ``lat``, ``elevation``, ``waterbody``, ``gage`` (text, empty where there is
        none), and ``link_row``, the place in the file, by which restarts are ordered. Other numbers of the links keep their
        names.

    Raises
    ------
    NetworkError
        Not a RouteLink file, duplicate links, or links with a fill value.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import nwm_folder
    >>> from xroute.io import nwm
    >>> folder = nwm_folder(tempfile.mkdtemp(), hours=2)
    >>> nwm.read_network(folder)["length"].attrs["units"]
    'm'
    """
    file = Path(path)
    if file.is_dir():
        found = find_files(file)
        if "network" not in found:
            raise FileNotFoundError(f"no {' or '.join(NETWORK_PATTERNS)} in {file} or {file / 'domain'}")
        file = found["network"]
    with open_netcdf(file, raw=True) as raw:
        for name in ("link", "to"):
            if name not in raw.variables:
                raise NetworkError(
                    f"{file} is not a RouteLink file: it has no variable {name!r}, but {some(raw.variables)}"
                )
        ids, to = (file_ids(raw[name].load(), file, NetworkError) for name in ("link", "to"))
        if ids.dtype.kind != "i" or to.dtype.kind != "i":
            raise NetworkError(f"link and to of {file} are integers, not {raw['link'].dtype} and {raw['to'].dtype}")
        dim = raw["link"].dims[0]
        twice = repeated(ids)
        if twice.size:
            raise NetworkError(f"{twice.size} duplicate links in {file}: {some(twice)}")
        inside = within(to, ids)
        unknown = distinct(to[~inside & (to != OUTLET)])
        if unknown.size:
            logger.info(
                "%d downstream links are not in %s, their reaches are outlets: %s", unknown.size, file, some(unknown)
            )
        dataset = xr.Dataset(
            {
                "downstream": (
                    "reach",
                    np.where(inside, to, OUTLET),
                    {"long_name": "id of the link downstream", "outlet": OUTLET},
                ),
                "downstream_id": ("reach", to, {"long_name": "downstream link as it stands in the file"}),
                ROW: ("reach", np.arange(ids.size), {"long_name": "row in RouteLink, and place in HYDRO_RST"}),
            },
            coords={"reach": ("reach", ids, {"cf_role": "timeseries_id", "long_name": "link id"})},
            attrs={
                "source": f"National Water Model: {file.name}",
                "n_outlets": int((~inside).sum()),
                "n_downstream_ids_not_routed": int(unknown.size),
                N_LINKS: int(ids.size),
            },
        )
        for name in sorted(map(str, raw.variables), key=lambda name: name not in VARIABLES):
            if raw[name].dims == (dim,) and name not in DERIVED and raw[name].dtype.kind in "fiu":
                ours, variable = _variable(raw[name].load(), file)
                dataset[f"{ours}_" if ours in (*dataset.variables, "scheme") else ours] = variable
        if GAGE in raw.variables:
            gages = _text(raw[GAGE].to_numpy())
            dataset["gage"] = ("reach", gages, {"long_name": "gauge on the reach, empty where there is none"})
    if "k" in dataset and ids.size > 1 and (dataset["k"].values == dataset["k"].values[0]).all():
        dataset["k"].attrs[DECLARED] = "MusK has one value on all links, as RouteLink files have that no one calibrated"
    name_default_scheme(dataset)
    places = [name for name in ("lon", "lat") if name in dataset]
    return dataset.set_coords(places)


def _variable(variable: xr.DataArray, file: Path) -> tuple[str, tuple[Any, ...]]:
    """Our name for a variable of RouteLink, and its values on reaches."""
    name = str(variable.name)
    ours, units, long_name = VARIABLES.get(
        name, (name, str(variable.attrs.get("units", "")), str(variable.attrs.get("long_name", "")))
    )
    attrs = {"long_name": long_name} | ({"units": units} if units else {})
    if variable.dtype.kind == "f":  # parameters are doubles here: what float32 holds, exactly
        return ours, ("reach", mask_fill(variable).to_numpy().astype(np.float64), attrs)
    return ours, ("reach", exact_ids(variable.to_numpy(), f"{name} of {file}"), attrs)


def _text(values: np.ndarray) -> np.ndarray:
    """Characters or bytes (reach, length) as stripped text."""
    if values.dtype.kind == "S" and values.ndim == 2:
        width = values.shape[1]
        values = np.ascontiguousarray(values).view(f"S{width}")[:, 0]
    if values.dtype.kind == "S":
        values = np.char.decode(values, "ascii", "replace")
    return np.char.strip(values.astype(str), " \0")


def write_network(network: Any, path: PathLike, *, overwrite: bool = False) -> None:
    """Write a network as RouteLink, for the National Water Model, WRF-Hydro and t-route.

    Parameters
    ----------
    network
        Network or its Dataset, with integer ids, one reach downstream of each. Parameters are written under the names of
        RouteLink, in its units; numbers that it has no name for keep their own. ``downstream_id`` is what outlets drain to, where
        it names no reach of the network.
    path
        The file, such as ``RouteLink.nc``.
    overwrite
        Replace what is at the path.

    Raises
    ------
    NetworkError
        Ids that are text, and bifurcations: RouteLink has neither.
    ParameterError, UnitsError
        Parameters that cannot be brought to RouteLink's units.
    FileExistsError
        There is something at the path and ``overwrite`` is False.
    ImportError
        netCDF4 is not installed.

    Notes
    -----
    Rows are in the order of ``link_row``, where the network has it, and else in its own. What RouteLink has and the network does
    not is left out, and told in the log where t-route cannot do without. Reals are float32 where that holds them exactly.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import nwm_folder
    >>> from xroute.io import nwm
    >>> folder = nwm_folder(tempfile.mkdtemp(), hours=1)
    >>> network = nwm.read_network(folder)
    >>> nwm.write_network(network, folder / "RouteLink.nc")
    >>> nwm.read_network(folder / "RouteLink.nc").drop_attrs().equals(network.drop_attrs())
    True
    """
    require("netCDF4", feature="writing RouteLink", extra="io")
    rivers = as_network(network)
    ids, dataset = rivers.ids, rivers.dataset
    if ids.dtype.kind != "i":
        raise NetworkError(f"RouteLink has integers for ids, and the network text: {some(ids, 3)}. Give it other ids first")
    to = _downstream(rivers, "RouteLink")
    order = np.argsort(dataset[ROW].to_numpy(), kind="stable") if ROW in dataset.variables else np.arange(ids.size)
    columns = {"link": (ids, {"cf_role": "timeseries_id"}), "from": (np.zeros_like(ids), {}), "to": (to, {})}
    names = {ours: theirs for theirs, (ours, _, _) in VARIABLES.items()}
    for name, variable in dataset.variables.items():
        if variable.dims != ("reach",) or name in ("reach", "downstream", "downstream_id", ROW, "scheme", "gage"):
            continue
        if variable.dtype.kind not in "iuf":
            logger.warning("%s is no number, and is not written to RouteLink", name)
            continue
        theirs = names.get(str(name), str(name))
        values, attrs = variable.values, {k: v for k, v in variable.attrs.items() if k in ("units", "long_name")}
        units = VARIABLES[theirs][1] if theirs in VARIABLES else ""
        if units and units != "degrees_east" and units != "degrees_north":
            whole = values.dtype.kind != "f" and attrs.get("units", units) in ("", units)
            values = values if whole else to_si(dataset[name], units, f"parameter {name!r}")
            attrs["units"] = units
        columns[theirs] = (values, attrs)
    ascending = np.empty(ids.size, np.int64)
    ascending[np.argsort(ids[order], kind="stable")] = np.arange(ids.size)
    file = xr.Dataset({n: ("feature_id", _narrow(v[order]), _about(n, a)) for n, (v, a) in columns.items()})
    file["ascendingIndex"] = ("feature_id", _narrow(ascending), _about("ascendingIndex", {}))
    gages = dataset["gage"].to_numpy() if "gage" in dataset.variables else np.full(ids.size, "")
    file[GAGE] = ("feature_id", _gages(gages[order]), {"long_name": "Gage ID"})
    file[GAGE].encoding = {"char_dim_name": "IDLength"}
    lacking = [name for name in NEEDED if name not in file.variables]
    if lacking:
        logger.warning("%s: the network has no %s, which t-route needs", Path(path).name, ", ".join(lacking))
    file.attrs = {"Convention": "CF-1.6", "featureType": "timeSeries", "history": "written by xroute"}
    encoding = {str(n): {"_FillValue": np.nan if v.dtype.kind == "f" else None} for n, v in file.variables.items() if n != GAGE}
    with replacing(path, overwrite=overwrite) as draft, writing(f"write {path}", target=path):
        file.to_netcdf(draft, engine="netcdf4", encoding=encoding)


def single_links(rivers: Network, what: str) -> NDArray[np.int64]:
    """Position of the reach downstream of each; -1 at outlets. Bifurcations are an error: ``what`` has none."""
    up, down, fraction = rivers.links
    if np.unique(up).size < up.size or not np.all(fraction == 1):
        several = distinct(rivers.ids[up[fraction != 1]]) if np.any(fraction != 1) else repeated(rivers.ids[up])
        raise NetworkError(f"{what} has one reach downstream of each, and {several.size} reaches have shares: {some(several)}")
    below = np.full(rivers.n_reaches, -1, np.int64)
    below[up] = down
    return below


def _downstream(rivers: Network, what: str) -> NDArray[np.int64]:
    """Ids downstream; of outlets what the network's own file said, if it is none of its reaches, or 0."""
    below, ids = single_links(rivers, what), rivers.ids
    if OUTLET in ids:
        raise NetworkError(f"reach {OUTLET} is an outlet's mark in {what}: give it another id")
    to = np.where(below >= 0, ids[below], OUTLET)
    if "downstream_id" in rivers.dataset.variables:
        stated = exact_ids(rivers.dataset["downstream_id"].to_numpy(), "downstream_id")
        to = np.where((below < 0) & ~within(stated, ids), stated, to)
    return to


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in 32 bits, where these hold them exactly."""
    small: NDArray[Any] = values.astype("i4" if values.dtype.kind in "iu" else "f4")
    return small if np.array_equal(small.astype(values.dtype), values, equal_nan=values.dtype.kind == "f") else values


def _about(name: str, attrs: dict[str, Any]) -> dict[str, Any]:
    return {"long_name": MEANINGS.get(name) or VARIABLES.get(name, ("", "", name))[2], **attrs}


def _gages(names: NDArray[Any]) -> NDArray[Any]:
    """Ids of gauges as the characters that RouteLink has, right-aligned."""
    long = [name for name in names.tolist() if len(str(name).encode()) > GAGE_LENGTH]
    if long:
        raise NetworkError(f"RouteLink has {GAGE_LENGTH} characters for a gauge, and {len(long)} have more: {some(long)}")
    return np.array([str(name).rjust(GAGE_LENGTH).encode() for name in names.tolist()], dtype=f"S{GAGE_LENGTH}")
