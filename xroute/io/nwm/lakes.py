r"""Lakes of the National Water Model (LAKEPARM), as `xroute.lakes` takes them.

The model's lakes are level pools (Gochis et al. 2020): over an orifice, a weir and, when that is full, the whole dam, at the
height :math:`H` of the water,

.. math::  Q = C_o A_o \sqrt{2 g (H - E_o)} + C_w L_w \min(H - E_w, D)^{3/2} + C_w L_w L_d (H - E_{max})^{3/2}

with each term where its height is positive, and :math:`D = E_{max} - E_w`. Here each is a linear reservoir, of the time
:math:`A\, dH/dQ` at the outflow that it is made linear around.

Gochis, D. J., et al. (2020): The WRF-Hydro modeling system technical description, version 5.1.1. NCAR.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, NetworkError, ParameterError, some
from xroute.files.opening import PathLike, open_netcdf
from xroute.ids import distinct, exact_ids, positions_of, repeated, within
from xroute.io.common import file_ids
from xroute.io.nwm.files import find_files
from xroute.io.nwm.network import single_links
from xroute.network_files import as_network
from xroute.units import flux_in_si

__all__ = ["COLUMNS", "lake_table", "read_lakes"]

logger = logging.getLogger(__name__)

GRAVITY = 9.81
LAKE = "lake_id"
WATERBODY = "waterbody"
COLUMNS = {
    "LkArea": ("area", "km2", "area of the lake"), "LkMxE": ("top", "m", "elevation of the dam's top"),
    "OrificeE": ("orifice_elevation", "m", "elevation of the orifice"),
    "OrificeC": ("orifice_coefficient", "1", "coefficient of the orifice"),
    "OrificeA": ("orifice_area", "m2", "area of the orifice"), "WeirE": ("weir_elevation", "m", "elevation of the weir"),
    "WeirC": ("weir_coefficient", "m0.5 s-1", "coefficient of the weir"), "WeirL": ("weir_length", "m", "length of the weir"),
    "Dam_Length": ("dam_length", "1", "length of the dam, in lengths of the weir"),
}  # fmt: skip
"""Variable of LAKEPARM -> our name, units, long name."""
Float = NDArray[np.float64]


def read_lakes(path: PathLike, network: Any, discharge: xr.DataArray | None = None) -> xr.Dataset:
    """Read the lakes of a network from LAKEPARM.

    Parameters
    ----------
    path
        ``LAKEPARM*.nc``, or a folder that holds one (itself, or in ``domain``).
    network
        Network or its Dataset of `read_network`, whose ``waterbody`` says which links lie in which lake.
    discharge : (reach)
        Outflow that the lakes are made linear around, such as the mean of `read_discharge`: a volume flux, positive at the
        outlets of lakes.

    Returns
    -------
    xarray.Dataset
        On ``lake`` (ids of waterbodies, those that the network has): ``reach``, the last link in the lake; ``area`` [km2],
        elevations [m], coefficients and lengths of orifice, weir and dam; and, with ``discharge``, ``tau`` [s], with which
        ``xroute.lakes(network, lakes[["reach", "tau"]])`` makes linear reservoirs of these links.

    Raises
    ------
    NetworkError
        A network without ``waterbody``; lakes that stand twice, or with several outlets.
    AlignmentError
        Outlets of lakes for which there is no discharge.
    ParameterError
        Columns that are lacking; discharge that is not positive; a lake without area, orifice or weir.

    Notes
    -----
    The other links in a lake stay rivers, where the model takes them out of the network. Gates, rules and observations that the
    model puts in are not known here: where releases are known, give them as ``known=``.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, xarray as xr
    >>> from xroute.io import nwm
    >>> file = tempfile.mkdtemp() + "/LAKEPARM.nc"
    >>> level = {"LkArea": 2.0, "LkMxE": 12.0, "OrificeE": 8.0, "WeirE": 11.0}
    >>> outlet = {"OrificeC": 0.1, "OrificeA": 1.0, "WeirC": 0.4, "WeirL": 10.0, "Dam_Length": 10.0}
    >>> xr.Dataset(
    ...     {"lake_id": ("feature_id", [77])} | {n: ("feature_id", [v]) for n, v in (level | outlet).items()}
    ... ).to_netcdf(file)
    >>> network = xr.Dataset(
    ...     {"downstream": ("reach", [2, 3, 0]), "waterbody": ("reach", [-9999, 77, -9999])}, {"reach": [1, 2, 3]}
    ... )
    >>> lakes = nwm.read_lakes(file, network, xr.DataArray([1.0, 2.0, 3.0], {"reach": [1, 2, 3]}, attrs={"units": "m3 s-1"}))
    >>> lakes["reach"].values.tolist(), round(float(lakes["tau"][0]) / 86400, 1)
    ([2], 5.6)
    """
    file = Path(path)
    if file.is_dir():
        found = find_files(file)
        if "lakes" not in found:
            raise FileNotFoundError(f"no LAKEPARM*.nc in {file} or {file / 'domain'}")
        file = found["lakes"]
    rivers = as_network(network)
    if WATERBODY not in rivers.dataset.variables:
        raise NetworkError(f"the network has no {WATERBODY!r}, which says which links lie in which lake")
    inside = exact_ids(rivers.dataset[WATERBODY].to_numpy(), WATERBODY)
    with open_netcdf(file) as opened:
        lacking = [name for name in (LAKE, *COLUMNS) if name not in opened.variables]
        if lacking:
            raise ParameterError(f"{file} is no LAKEPARM: it lacks {some(lacking)}; it has {some(opened.variables)}")
        ids = file_ids(opened[LAKE], file, NetworkError)
        columns = {name: opened[name].to_numpy().astype(np.float64) for name in COLUMNS}
    twice = repeated(ids)
    if twice.size:
        raise NetworkError(f"{twice.size} lakes stand more than once in {file}: {some(twice)}")
    known = distinct(inside[within(inside, ids)])
    at = positions_of(known, ids)
    if known.size < ids.size:
        logger.info("%d of the %d lakes of %s are not in the network, and are left out", ids.size - known.size, ids.size, file)
    outlet = _outlets(inside, single_links(rivers, "a domain with lakes"), known, rivers.ids)
    table = lake_table(known, rivers.ids[outlet], {name: values[at] for name, values in columns.items()}, discharge)
    return table.assign_attrs(source=f"National Water Model: {file.name}")


def lake_table(
    lakes: NDArray[Any], reaches: NDArray[Any], columns: Mapping[str, Float], discharge: xr.DataArray | None
) -> xr.Dataset:
    """Lakes at their outlets, with what LAKEPARM's columns say of them, and how long water stays at a discharge."""
    made = xr.Dataset(
        {ours: ("lake", columns[name], {"units": units, "long_name": text}) for name, (ours, units, text) in COLUMNS.items()},
        {"lake": ("lake", lakes, {"long_name": "id of the waterbody"})},
    )
    made["reach"] = ("lake", reaches, {"long_name": "reach at the lake's outlet"})
    if discharge is not None:
        flow = _flow_at(discharge, made["reach"].values)
        made["discharge"] = ("lake", flow, {"units": "m3 s-1", "long_name": "outflow that the lake is made linear around"})
        made["tau"] = ("lake", _residence(made, flow), {"units": "s", "long_name": "mean residence time"})
    return made


def _outlets(inside: NDArray[Any], below: NDArray[np.int64], lakes: NDArray[Any], ids: NDArray[Any]) -> NDArray[np.int64]:
    """Position of the link of each lake below which the lake ends."""
    leaves = within(inside, lakes) & ((below < 0) | (inside[below] != inside))
    last = np.flatnonzero(leaves)
    several = repeated(inside[last])
    if several.size:
        names = "; ".join(f"{lake}: {some(ids[last[inside[last] == lake]], 4)}" for lake in several[:5].tolist())
        raise NetworkError(
            f"{several.size} lakes have several links that leave them, and a lake has one outlet ({names}). Set 'waterbody' of "
            "those that are not to -9999"
        )
    return last[positions_of(lakes, inside[last])]


def _flow_at(discharge: xr.DataArray, reaches: NDArray[Any]) -> Float:
    if discharge.dims != ("reach",):
        raise AlignmentError(f"discharge at lakes is on reach alone, such as a mean over time, not on {some(discharge.dims)}")
    at = positions_of(reaches, exact_ids(discharge["reach"].values, "reach of the discharge", AlignmentError))
    if (at < 0).any():
        raise AlignmentError(f"the discharge has no values at {int((at < 0).sum())} outlets of lakes: {some(reaches[at < 0])}")
    flow = discharge.to_numpy().astype(np.float64)[at] * flux_in_si(discharge.attrs.get("units"), "discharge")
    bad = ~(np.isfinite(flow) & (flow > 0))
    if bad.any():
        raise ParameterError(f"discharge is not positive at {int(bad.sum())} outlets of lakes: {some(reaches[bad])}")
    return flow


def _residence(lakes: xr.Dataset, flow: Float) -> Float:
    """Time [s] that water stays in a level pool at an outflow: area x dH/dQ."""
    c = {str(name): lakes[name].to_numpy() for name in lakes.data_vars}
    bad = ~(c["area"] > 0) | ~(c["orifice_coefficient"] * c["orifice_area"] + c["weir_coefficient"] * c["weir_length"] > 0)
    if bad.any():
        which = some(lakes["lake"].values[bad])
        raise ParameterError(f"{int(bad.sum())} lakes have no area, or neither orifice nor weir: {which}")
    low = np.where(c["orifice_coefficient"] * c["orifice_area"] > 0, c["orifice_elevation"], c["weir_elevation"])
    low = np.minimum(low, c["weir_elevation"])
    high = low + 1.0
    for _ in range(60):  # outflow grows without end
        high = np.where(_outflow(c, high)[0] < flow, low + 2 * (high - low), high)
    for _ in range(80):
        middle = (low + high) / 2
        under = _outflow(c, middle)[0] < flow
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return np.asarray(c["area"] * 1e6 / _outflow(c, high)[1])


def _outflow(c: dict[str, Float], height: Float) -> tuple[Float, Float]:
    """Outflow [m3 s-1] at a height of the water [m], and its slope [m2 s-1]."""
    orifice = np.maximum(height - c["orifice_elevation"], 0.0)
    weir = np.clip(height - c["weir_elevation"], 0.0, np.maximum(c["top"] - c["weir_elevation"], 0.0))
    over = np.maximum(height - c["top"], 0.0)
    hole, crest = c["orifice_coefficient"] * c["orifice_area"] * np.sqrt(2 * GRAVITY), c["weir_coefficient"] * c["weir_length"]
    flow = hole * np.sqrt(orifice) + crest * weir**1.5 + crest * c["dam_length"] * over**1.5
    with np.errstate(divide="ignore"):
        slope = np.where(orifice > 0, 0.5 * hole / np.sqrt(np.maximum(orifice, 1e-12)), 0.0)
    slope = slope + 1.5 * crest * np.where(height < c["top"], np.sqrt(weir), c["dam_length"] * np.sqrt(over))
    return flow, slope
