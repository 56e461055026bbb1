"""A folder as users of the National Water Model have it, made in code: RouteLink, and a file of forcing an hour (CHRTOUT)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.datasets.folders import invented_basin
from xroute.datasets.rivers import number_generator, whole_number
from xroute.exceptions import ParameterError, require
from xroute.files.folders import filled_folder

__all__ = ["nwm_folder"]

FIRST_ID = 3_760_001
LAST_HOUR = 240
NO_LAKE = -9999
SURFACE = 0.7  # part of the inflow that comes over land, the rest through the ground
GAUGES = {0: "00000001", 40: "00000002", 400: "00000003"}  # by rank in upstream area
ID_LENGTH = 15  # characters of a gauge's id
PACKING = {  # units of the integers that variables are stored as, and the fill value
    "qSfcLatRunoff": (1e-5, -999_900_000),
    "qBucket": (1e-5, -999_900_000),
    "q_lateral": (0.1, -99_990),
}
MEANINGS = {
    "qSfcLatRunoff": "Runoff from terrain routing",
    "qBucket": "Flux from gw bucket",
    "q_lateral": "Runoff into channel reach",
}


def nwm_folder(
    folder: str | os.PathLike[str], *, hours: int = 48, seed: int = 3, overwrite: bool = False
) -> Path:
    """Write a folder as users of the National Water Model have it: RouteLink and hourly forcing of an invented basin.

    Parameters
    ----------
    folder
        Where to write; made if it is not there.
    hours
        Hours of forcing, a file each, from 1 May 2024, 00 UTC; 1 to 240.
    seed
        Seed of the river's course; the weather is the same.
    overwrite
        Replace files of these names in the folder; those of other hours go.

    Returns
    -------
    pathlib.Path
        The folder, with

        - ``domain/RouteLink.nc``, on ``feature_id``: ``link``, ``to`` (0 at the mouth), ``Length`` [m], ``So``, ``n``, ``ChSlp``,
          ``BtmWdth`` and ``TopWdth`` [m], ``order``, ``lon``, ``lat``, ``gages`` (three reaches have one), no lakes, and
          ``MusK`` [s] and ``MusX``, which are 3600 and 0.2 everywhere, as where nobody has calibrated them;
        - ``channel_forcing/202405010100.CHRTOUT_DOMAIN1`` and so on, stamped at the end of their hour: ``qSfcLatRunoff`` and
          ``qBucket`` [m3 s-1], and their sum ``q_lateral``, by ``feature_id`` in another order than RouteLink's. Values are
          packed as integers, ``q_lateral`` in units of 0.1 m3 s-1, too coarse for small reaches.

        No ``streamflow``: what the National Water Model would answer is not known.

    Raises
    ------
    ParameterError
        If there are no hours or too many, or the seed is none.
    FileExistsError
        If one of the files is there already and ``overwrite`` is False; nothing is written then.
    ImportError
        If netCDF4 is not installed.

    See Also
    --------
    xroute.io.nwm.read_network, xroute.io.nwm.read_forcing, tutorial

    Notes
    -----
    River and storms are those of `tutorial`, under other ids. Names, units and packing are those of public files of version 2
    and 3; no value is theirs. Widths follow Leopold and Maddock (1953), for 12 litres a second and km2 upstream.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import nwm_folder
    >>> folder = nwm_folder(f"{tempfile.mkdtemp()}/nwm", hours=3)
    >>> [path.name for path in sorted(folder.glob("channel_forcing/*"))]
    ['202405010100.CHRTOUT_DOMAIN1', '202405010200.CHRTOUT_DOMAIN1', '202405010300.CHRTOUT_DOMAIN1']
    """
    whole_number("hours", hours)
    if not 1 <= hours <= LAST_HOUR:
        raise ParameterError(f"hours={hours} must be from 1 to {LAST_HOUR}")
    require("netCDF4", feature="a folder of the National Water Model", extra="io")
    rivers, upwards, inflow = invented_basin(seed, FIRST_ID)
    rng = number_generator(seed)
    with filled_folder(folder, overwrite, series="channel_forcing/*.CHRTOUT_DOMAIN1") as draft:
        (draft / "domain").mkdir()
        (draft / "channel_forcing").mkdir()
        _route_link(rivers.isel(reach=upwards[::-1]), rng).to_netcdf(draft / "domain" / "RouteLink.nc", engine="netcdf4")
        for hour in inflow.isel(time=slice(0, hours)):
            end = hour["time"].to_numpy() + np.timedelta64(1, "h")
            name = f"{str(end.astype('datetime64[m]')).translate({ord(sign): None for sign in '-T:'})}.CHRTOUT_DOMAIN1"
            _forcing(hour, end).to_netcdf(draft / "channel_forcing" / name, engine="netcdf4")
    return Path(folder)


def _route_link(rivers: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
    n, upstream = rivers.sizes["reach"], rivers["upstream_area"].to_numpy()
    width = 7.2 * np.sqrt(0.012 * upstream)
    names = np.full(n, "", f"U{ID_LENGTH}")
    names[np.argsort(-upstream)[list(GAUGES)]] = [name.rjust(ID_LENGTH) for name in GAUGES.values()]
    floats = {
        "lon": (rivers["lon"], "longitude of the segment midpoint", "degrees_east"),
        "lat": (rivers["lat"], "latitude of the segment midpoint", "degrees_north"),
        "Length": (rivers["length"], "Stream length (m)", None),
        "So": (0.01 * upstream**-0.35 * rng.lognormal(0.0, 0.2, n), "Slope (meters/meters)", None),
        "n": (np.clip(0.065 - 0.005 * rivers["order"], 0.03, None), "Manning's roughness", None),
        "ChSlp": (np.full(n, 0.5), "Channel side slope", None),
        "BtmWdth": (0.6 * width, "Bottom width of channel (m)", "m"),
        "TopWdth": (width, "Top Width (m)", "m"),
        "MusK": (np.full(n, 3600.0), "Muskingum routing time (s)", None),
        "MusX": (np.full(n, 0.2), "Muskingum weighting coefficient", None),
        "Qi": (np.zeros(n), "Initial flow in link (CMS)", None),
    }
    integers = {
        "link": (rivers["reach"], "Link ID"),
        "from": (np.zeros(n), "From Link ID"),
        "to": (rivers["downstream"], "To Link ID"),
        "order": (rivers["order"], "Stream order (Strahler)"),
        "NHDWaterbodyComID": (np.full(n, NO_LAKE), "ComID of the waterbody that the link is in"),
    }
    dataset = xr.Dataset(attrs={"Convention": "CF-1.6", "featureType": "timeSeries", "region": "invented"})
    for name, (whole, meaning) in integers.items():
        dataset[name] = ("feature_id", np.asarray(whole, np.int32), {"long_name": meaning})
    for name, (values, meaning, units) in floats.items():
        about = {"long_name": meaning} | ({"units": units} if units else {})
        dataset[name] = ("feature_id", np.asarray(values, np.float32), about)
    dataset["gages"] = ("feature_id", names.astype(f"S{ID_LENGTH}"), {"long_name": "Gage ID"})
    dataset["gages"].encoding = {"char_dim_name": "IDLength"}
    return dataset


def _forcing(hour: xr.DataArray, end: NDArray[np.datetime64]) -> xr.Dataset:
    """One hour, in the order that forcing has: that of the ids."""
    hour = hour.sortby("reach")
    inflow = hour.to_numpy()
    parts = {"qSfcLatRunoff": SURFACE * inflow, "qBucket": (1 - SURFACE) * inflow, "q_lateral": inflow}
    dataset = xr.Dataset(
        {
            name: ("feature_id", values, {"long_name": MEANINGS[name], "units": "m3 s-1"})
            for name, values in parts.items()
        },
        {
            "feature_id": ("feature_id", hour["reach"].to_numpy(), {"long_name": "Reach ID", "cf_role": "timeseries_id"}),
            "time": ("time", [end], {"long_name": "valid output time", "standard_name": "time"}),
        },
        {
            "TITLE": "invented", "featureType": "timeSeries", "Conventions": "CF-1.6", "model_output_type": "channel_rt",
            "model_output_valid_time": str(end.astype("datetime64[s]")).replace("T", "_"),
        },
    )  # fmt: skip
    for name, (unit, fill) in PACKING.items():
        dataset[name].encoding = {
            "dtype": "int32", "scale_factor": np.float32(unit), "add_offset": np.float32(0.0), "_FillValue": np.int32(fill),
        }  # fmt: skip
    dataset["time"].encoding = {"dtype": "int32", "units": "minutes since 1970-01-01 00:00:00", "calendar": "proleptic_gregorian"}
    return dataset
