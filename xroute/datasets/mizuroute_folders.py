"""A folder as users of mizuRoute have it, made in code: control file, network, runoff, parameters, and a history of discharge."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.datasets.folders import Basin, invented_basin
from xroute.datasets.rivers import number_generator, whole_number
from xroute.exceptions import ParameterError, require
from xroute.files.folders import filled_folder
from xroute.network import Network
from xroute.schemes import HILLSLOPES, make_filter

__all__ = ["mizuroute_folder"]

FIRST_ID = 71_000_001
FIRST_HRU = 710_000_001
LAST_DAY = 10
PARAMETERS = {"fshape": 2.5, "tscale": 7200.0, "velo": 1.5, "diff": 5000.0}
HOUR = 3600.0
CONTROL = """! *********************************************************************************
! An invented basin
! *********************************************************************************
<ancil_dir>         ./ancillary_data/      ! folder of network and parameters
<input_dir>         ./input/               ! folder of runoff
<output_dir>        ./output/              ! folder of history
<case_name>         tutorial               ! name of the run
<sim_start>         2024-05-01 00:00:00    ! beginning of the first step
<sim_end>           {end}    ! beginning of the last step
<dt_qsim>           3600                   ! step of the simulation [s]
<route_opt>         1                      ! impulse response function
<doesBasinRoute>    1                      ! gamma unit hydrograph
<fname_ntopOld>     ntopo_tutorial.nc      ! segments and HRUs
<varname_segId>     seg_id                 ! their names
<varname_downSegId> tosegment              !
<varname_HRUid>     hru_id                 !
<varname_hruSegId>  hruSegId               !
<fname_qsim>        RUNOFF_tutorial.nc     ! runoff of HRUs
<vname_hruid>       hru_id                 !
<units_qsim>        mm/s                   ! its units
<dt_ro>             3600                   ! its step [s]
<param_nml>         param.nml              ! parameters
<outputFrequency>   1                      ! history of each step
"""
NAMELIST = """&HSLOPE
  fshape = {fshape}
  tscale = {tscale}
/
&IRF_UH
  velo   = {velo}
  diff   = {diff}
/
&KWT
  mann_n = 0.01
  wscale = 0.001
/
"""


def mizuroute_folder(
    folder: str | os.PathLike[str], *, days: int = 5, seed: int = 3, overwrite: bool = False
) -> Path:
    """Write a folder as users of mizuRoute have it: an invented basin, its runoff, and the discharge that mizuRoute gives.

    Parameters
    ----------
    folder
        Where to write; made if it is not there.
    days
        Days of hourly runoff from 1 May 2024; 1 to 10.
    seed
        Seed of the river's course; the weather is the same.
    overwrite
        Replace files of these names in the folder.

    Returns
    -------
    pathlib.Path
        The folder. It has

        - ``tutorial.control``, the control file;
        - ``ancillary_data/ntopo_tutorial.nc``: segments (``seg_id``, ``tosegment``, ``length`` [m], ``slope``) and HRUs
          (``hru_id``, ``hruSegId``, ``area`` [m2]), two a segment and one that drains to none, rows in no order;
        - ``ancillary_data/param.nml``: ``fshape``, ``tscale``, ``velo`` and ``diff``;
        - ``input/RUNOFF_tutorial.nc``: ``runoff(time, hru)`` [mm/s], float32;
        - ``output/tutorial.h.2024-05-01-00000.nc``: ``IRFroutedRunoff(time, seg)`` [m3/s], float32, and ``time_bounds``.

    Raises
    ------
    ParameterError
        If there are no days or too many, or the seed is none.
    FileExistsError
        If one of the files is there already and ``overwrite`` is False; nothing is written then.
    ImportError
        If netCDF4 is not installed.

    See Also
    --------
    xroute.io.mizuroute.read_network, tutorial

    Notes
    -----
    Discharge is computed reach by reach in float64, by direct convolution with mizuRoute's unit hydrographs.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import mizuroute_folder
    >>> folder = mizuroute_folder(f"{tempfile.mkdtemp()}/mizuroute", days=1)
    >>> sorted(path.name for path in folder.iterdir())
    ['ancillary_data', 'input', 'output', 'tutorial.control']
    """
    whole_number("days", days)
    if not 1 <= days <= LAST_DAY:
        raise ParameterError(f"days={days} must be from 1 to {LAST_DAY}")
    require("netCDF4", feature="a folder of mizuRoute", extra="io")
    basin, rng = invented_basin(seed, FIRST_ID), number_generator(seed)
    topology, runoff = _topology(basin, rng), basin.inflow.isel(time=slice(0, 24 * days))
    depth = _depth(topology, runoff, rng)
    last = str(runoff["time"].values[-1].astype("datetime64[s]")).replace("T", " ")
    with filled_folder(folder, overwrite) as draft:
        for name in ("ancillary_data", "input", "output"):
            (draft / name).mkdir()
        (draft / "tutorial.control").write_text(CONTROL.format(end=last), "utf-8")
        (draft / "ancillary_data" / "param.nml").write_text(NAMELIST.format(**PARAMETERS), "utf-8")
        topology.to_netcdf(draft / "ancillary_data" / "ntopo_tutorial.nc", engine="netcdf4")
        depth.to_netcdf(draft / "input" / "RUNOFF_tutorial.nc", engine="netcdf4")
        history = _history(topology, depth)
        history.to_netcdf(draft / "output" / "tutorial.h.2024-05-01-00000.nc", engine="netcdf4")
    return Path(folder)


def _topology(basin: Basin, rng: np.random.Generator) -> xr.Dataset:
    rivers = basin.rivers
    n, ids = rivers.sizes["reach"], rivers["reach"].to_numpy()
    part = rng.uniform(0.2, 0.8, n)
    area = rivers["area"].to_numpy() * 1e6
    owner = np.concatenate([ids, ids, [-9999]])
    size = np.concatenate([part * area, (1 - part) * area, [3e6]])
    rows = rng.permutation(owner.size)
    slope = 0.01 * rivers["upstream_area"].to_numpy() ** -0.35
    return xr.Dataset({
        "seg_id": ("seg", ids.astype(np.int32), {"long_name": "segment id"}),
        "tosegment": ("seg", rivers["downstream"].to_numpy().astype(np.int32), {"long_name": "segment downstream"}),
        "length": ("seg", rivers["length"].to_numpy().astype(float), {"units": "m"}),
        "slope": ("seg", slope, {"units": "-"}),
        "lon": ("seg", rivers["lon"].to_numpy(), {"units": "degrees_east"}),
        "lat": ("seg", rivers["lat"].to_numpy(), {"units": "degrees_north"}),
        "hru_id": ("hru", (FIRST_HRU + np.arange(owner.size)).astype(np.int32)[rows], {"long_name": "HRU id"}),
        "hruSegId": ("hru", owner[rows].astype(np.int32), {"long_name": "segment that the HRU drains to"}),
        "area": ("hru", size[rows], {"units": "m2"}),
    })  # fmt: skip


def _owner(topology: xr.Dataset) -> NDArray[np.int64]:
    """Row of the segment that each HRU drains to, -1 for none."""
    ids = topology["seg_id"].to_numpy()
    order = np.argsort(ids)
    to = topology["hruSegId"].to_numpy()
    at = order[np.minimum(np.searchsorted(ids[order], to), ids.size - 1)]
    return np.where(ids[at] == to, at, -1)


def _depth(topology: xr.Dataset, inflow: xr.DataArray, rng: np.random.Generator) -> xr.Dataset:
    """Runoff of HRUs [mm/s], in an order of its own."""
    at, area = _owner(topology), topology["area"].to_numpy()
    total = np.bincount(at[at >= 0], area[at >= 0], topology.sizes["seg"])
    rows = rng.permutation(at.size)
    values = np.where(at >= 0, inflow.to_numpy()[:, at] / total[at] * 1e3, 0.0)[:, rows].astype(np.float32)
    dataset = xr.Dataset(
        {"runoff": (("time", "hru"), values, {"units": "mm/s"}), "hru_id": ("hru", topology["hru_id"].to_numpy()[rows])},
        {"time": inflow["time"].to_numpy()},
    )
    dataset["time"].encoding = {"units": "hours since 2024-05-01 00:00:00", "dtype": "float64", "calendar": "standard"}
    dataset["runoff"].encoding = {"_FillValue": np.float32(-9999.0)}
    return dataset


def _history(topology: xr.Dataset, depth: xr.Dataset) -> xr.Dataset:
    """Discharge of all segments, from dry hillslopes and channels."""
    at, area = _owner(topology), topology["area"].to_numpy()
    by_id = depth.set_index(hru="hru_id").sel(hru=topology["hru_id"].to_numpy())
    volume = by_id["runoff"].to_numpy().astype(float) * area * 1e-3
    lateral = np.stack([np.bincount(at[at >= 0], row[at >= 0], topology.sizes["seg"]) for row in volume], axis=1)
    form = HILLSLOPES["gamma-mizuroute"][0]
    one = {name: np.array([PARAMETERS[name]]) for name in ("fshape", "tscale")}
    slope = make_filter({form.name: (np.arange(1), one)}, HOUR, 1, find=lambda _: form).taps.numpy()
    length = topology["length"].to_numpy()
    wave = {"length": length, "celerity": np.full(length.size, 1.5), "diffusivity": np.full(length.size, 5000.0)}
    taps, pointer, _, _ = make_filter({"mizuroute_irf": (np.arange(length.size), wave)}, HOUR, length.size).arrays()
    links = {"downstream": ("reach", topology["tosegment"].to_numpy())}
    network = Network(xr.Dataset(links, {"reach": topology["seg_id"].to_numpy()}))
    up, down, _ = network.links
    below = np.full(length.size, -1)
    below[up] = down
    n = lateral.shape[1]
    coming, flow = np.zeros_like(lateral), np.zeros_like(lateral)
    for reach in network.plan.order:
        routed = np.convolve(coming[reach], taps[pointer[reach] : pointer[reach + 1]])[:n]
        flow[reach] = routed + np.convolve(lateral[reach], slope)[:n]
        if below[reach] >= 0:
            coming[below[reach]] += flow[reach]
    hours = np.arange(float(n))
    about = {"units": "hours since 2024-05-01 00:00:00", "calendar": "standard"}
    ends = np.stack([hours, hours + 1], axis=1)
    return xr.Dataset({
        "time": ("time", hours, {"long_name": "time", **about}),
        "time_bounds": (("time", "tbound"), ends, {"long_name": "time interval endpoints", **about}),
        "reachID": ("seg", topology["seg_id"].to_numpy(), {"long_name": "reach ID", "units": "-"}),
        "IRFroutedRunoff": (
            ("time", "seg"), flow.T.astype(np.float32),
            {"long_name": "Discharge from lake or stream-impulse response function", "units": "m3/s"},
        ),
    })  # fmt: skip
