"""river-route's runoff on a grid, brought to catchments by its weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.accumulations import deaccumulate
from xroute.exceptions import ParameterError, TimeAxisError, XRouteError, some
from xroute.files.opening import PathLike
from xroute.grid_axes import GRID_AXES
from xroute.grids import read_weights, remap
from xroute.io.common import open_runoff
from xroute.io.river_route.config import Config
from xroute.settings import GridNaN
from xroute.stamps import is_dated
from xroute.times import time_step
from xroute.wording import argument

__all__ = ["open_gridded"]

logger = logging.getLogger(__name__)


def open_gridded(
    files: Sequence[Path],
    weights: PathLike | xr.Dataset | None,
    config: Config | None,
    variable: str | None,
    units: str | None,
    nan: GridNaN,
) -> list[xr.DataArray]:
    """Volumes of runoff (time, reach) [m3 per step], a series a file, of the catchments that the weights have.

    Raises
    ------
    ParameterError
        Without weights.
    XRouteError
        For a file without the variable, and what `xroute.remap` raises.
    """
    if config is not None and config.values.get("forcing") == "ecmwf_grib":
        raise XRouteError(
            f"{config.path} reads GRIB on a reduced grid (forcing ecmwf_grib), which is not read here: write it to netCDF, e.g. "
            "with cfgrib, as cells along one dimension, and give it with its weights to xroute.remap"
        )
    if weights is None:
        raise ParameterError(f"runoff on a grid needs the weights: give {argument('weights')}")
    table = read_weights(weights)
    return [_brought(file, table, config, variable, units, nan) for file in files]


def _brought(
    file: Path, table: xr.Dataset, config: Config | None, variable: str | None, units: str | None, nan: GridNaN
) -> xr.DataArray:
    """Runoff of one file, of catchments."""
    values = {} if config is None else config.values
    newer = config is not None and config.layout.version == 3
    name = variable or str(values.get("var_runoff" if newer else "var_grid_runoff", "ro"))
    time = str(values.get("var_t", "time"))
    grid = open_runoff(file, name, time_dim=time)
    if time not in grid.dims:
        raise XRouteError(f"{name} of {file} has no dimension {time!r}, the time; it has {some(grid.dims)}")
    grid = _named_axes(grid.rename({time: "time"} if time != "time" else {}), values)
    if "time" not in grid.coords or not is_dated(grid["time"]):
        raise TimeAxisError(f"{file} has no dates along {time!r}")
    stated = units or values.get("runoff_depth_unit") or grid.attrs.get("units")
    if not stated:
        logger.warning(
            "%s of %s has no units, and is taken to be a depth in m, as river-route takes it; %s says others", name, file,
            argument("units"),
        )  # fmt: skip
        stated = "m"
    grid = grid.assign_attrs(units=str(stated))
    how = values.get("accumulation_type" if newer else "grid_accumulation_type")
    if how == "cumulative":
        grid = _amounts(grid)
    runoff = remap(grid, table, nan=nan)
    if values.get("force_positive_runoff"):
        logger.info("%s: runoff below zero is set to zero, as %s says (force_positive_runoff)", file, config and config.path)
        runoff = runoff.clip(min=0.0, keep_attrs=True)
    label = {"time_label": runoff.attrs["time_label"]} if "time_label" in runoff.attrs else {}
    runoff.attrs = {"units": runoff.attrs["units"], "long_name": "runoff volume of a step", **label}
    others = [n for n in runoff.coords if n not in ("time", "reach")]
    return runoff.drop_vars(others).transpose("time", "reach")


def _named_axes(grid: xr.DataArray, values: Mapping[str, Any]) -> xr.DataArray:
    """A grid whose dimensions say that they are its columns and rows, as the configuration says of names that do not."""
    for key, letter in (("var_x", "x"), ("var_y", "y")):
        dim = values.get(key)
        if dim not in grid.dims or str(dim).lower() in GRID_AXES[0] | GRID_AXES[1]:
            continue
        if dim in grid.coords:
            grid = grid.assign_coords({dim: grid[dim].assign_attrs(axis=letter.upper())})
        else:
            grid = grid.rename({dim: letter})
    return grid


def _amounts(grid: xr.DataArray) -> xr.DataArray:
    """Amounts of the steps of a file, whose values are totals since the beginning of its first step."""
    step = time_step(grid, "time")
    if step is None:
        raise TimeAxisError("of accumulated runoff of one time, the step is not known")
    begin = grid["time"].values[0] - np.timedelta64(round(step * 1e9), "ns")
    label = grid.attrs.get("time_label")
    leads = grid.assign_coords(forecast_reference_time=begin).assign_attrs(time_label="end")
    amounts = deaccumulate(leads, "forecast", time_dim="time").drop_vars("forecast_reference_time")
    attrs: dict[str, Any] = {**amounts.attrs}
    attrs.pop("time_label", None)
    amounts.attrs = attrs if label is None else {**attrs, "time_label": label}
    return amounts
