"""A whole set-up of river-route, read before any of it is written: network, runoff, initial state and discharge."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import TimeAxisError, XRouteError
from xroute.files.opening import PathLike
from xroute.grids import read_weights
from xroute.ids import exact_ids, positions_of
from xroute.io.reader import NothingToRead, Product, Reader, ReaderOption, Setup
from xroute.io.river_route.config import Config, find_files, is_config, read_config
from xroute.io.river_route.hillslope import read_hillslope
from xroute.io.river_route.network import read_network
from xroute.io.river_route.series import read_discharge, read_runoff
from xroute.io.river_route.state import read_state
from xroute.io.river_route.steps import warn_of_long_rivers
from xroute.network import Network
from xroute.recipe import step_of
from xroute.settings import GRID_NAN
from xroute.spinup import initial_state
from xroute.times import read_clock, seconds
from xroute.wording import argument

__all__ = ["READER"]

logger = logging.getLogger(__name__)


def _find(folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    return find_files(folder)


def _names(source: Path) -> dict[str, Any]:
    return find_files(source) if is_config(source) else {}


def _read(
    sources: Sequence[Path],
    wanted: Sequence[Product],
    /,
    *,
    runoff_file: Sequence[Path],
    weights_file: Path | None,
    state_file: Path | None,
    discharge_file: Sequence[Path],
    dt_routing: str | None,
    dt: float | None,
    **options: Any,
) -> Setup:
    """What is wanted of a folder, of a configuration, or of a table with what options name beside it."""
    if len(sources) != 1:
        raise XRouteError(f"river-route is read one set-up at a time, not {len(sources)}: a folder, a configuration or a table")
    source = sources[0]
    whole = source.is_dir() or is_config(source)
    found = find_files(source) if whole else {"network": source}
    config = read_config(found["config"]) if "config" in found else None
    weights = weights_file or found.get("weights")
    runoff_of: Any = list(runoff_file) or (config.path if config is not None else found.get("runoff"))
    if "runoff" in wanted and (not runoff_of or config is not None and not runoff_file and not _has_runoff(config, found)):
        raise NothingToRead(f"runoff needs its files, which {source} does not have or name: {argument('runoff_file')}")
    network = read_network(source, routing_step=dt_routing)
    if dt is not None:
        network.attrs["runoff_step"] = seconds(dt)
    if weights is not None and "area" not in network.variables:
        network = _with_areas(network, weights)
    if "hillslope" in found and "area" not in network.variables and "runoff_step" in network.attrs:
        network = network.assign(area=read_hillslope(found["hillslope"], network)["area"].reset_coords(drop=True))
    runoff = None
    if "runoff" in wanted:
        gridded = bool(weights_file) and bool(runoff_file) or (config is not None and config.is_gridded)
        runoff = read_runoff(runoff_of, network, weights=weights if gridded else None, **options)
        _check_step(runoff, network, config)
        automatic = dt_routing is None and (config is None or config.seconds("dt_routing") is None)
        if "own_step" in network.variables and automatic and "runoff_step" in network.attrs:
            warn_of_long_rivers(network, network.attrs["runoff_step"], config)
    state = None
    if "state" in wanted:
        state = _state(state_file or found.get("state"), network, runoff, source)
    discharge = None
    if "discharge" in wanted:
        files: Any = list(discharge_file) or found.get("discharge")
        if not files:
            raise NothingToRead(f"{source} has no discharge of river-route's own: name its files, {argument('discharge_file')}")
        discharge = read_discharge(files if discharge_file or config is None else config.path, network).to_dataset()
    _tell(config)
    return Setup(network, None if runoff is None else runoff.to_dataset(), state, discharge)


def _has_runoff(config: Config, found: Mapping[str, Any]) -> bool:
    return config.is_dry or "runoff" in found or "grid" in found


def _with_areas(network: xr.Dataset, weights: PathLike) -> xr.Dataset:
    """The network with the areas of its catchments, where the weights have all of them."""
    table = read_weights(weights)
    ids = exact_ids(network["reach"].to_numpy(), "network reach")
    at = positions_of(ids, exact_ids(table["catchment"].to_numpy(), "reaches of the weights"))
    if (at < 0).any():
        return network
    about = {"units": "m2", "long_name": "area of the catchment, on the grid"}
    return network.assign(area=("reach", table["catchment_area"].to_numpy()[at], about))


def _check_step(runoff: xr.DataArray, network: xr.Dataset, config: Config | None) -> None:
    """Refuse a step of runoff that is not the one that is stated, by which river-route divides volumes."""
    stated = network.attrs.get("runoff_step")
    step = step_of(runoff, "time", Network(network))
    if stated is not None and step is not None and abs(step - stated) > 1e-6 * stated:
        where = "is given" if config is None or config.seconds("dt_runoff") is None else f"is dt_runoff of {config.path}"
        raise TimeAxisError(f"times of the runoff are {step:g} s apart, and {stated:g} s {where}: correct one of them")
    if step is not None:
        network.attrs["runoff_step"] = float(step)


def _state(file: Path | None, network: xr.Dataset, runoff: xr.DataArray | None, source: Path) -> xr.Dataset:
    if file is None:
        raise NothingToRead(
            f"{source} names no initial state (channel_state_init_file) that is there: name it, {argument('state_file')}, or "
            "leave the state out for a dry start"
        )
    if "runoff_step" not in network.attrs:
        raise TimeAxisError(
            f"a state is of a routing step, and the step of runoff is not known: read the runoff too, or give {argument('dt')}"
        )
    made = initial_state(network, read_state(file, network))
    if runoff is not None and runoff.sizes["time"]:
        begin = read_clock(runoff, "time", stated=network.attrs["runoff_step"]).start(runoff)
        if begin is not None:
            made.attrs["time"] = begin
    return made


def _tell(config: Config | None) -> None:
    """Say what a configuration asks for that a converted set-up does not say."""
    if config is None:
        return
    if "uh_kernel_file" in config.values:
        logger.warning(
            "%s routes with unit hydrographs (uh_kernel_file), which are no part of a network here: "
            "xroute.io.river_route.read_hillslope makes ordinates of them, for %s", config.path, argument("hillslope"),
        )  # fmt: skip
    step, written = config.seconds("dt_runoff"), config.seconds("dt_discharge")
    if written is not None and not config.is_dry and written != step:
        logger.info("%s: dt_discharge is not taken over: discharge here has the step of runoff", config.path)


READER = Reader(
    "Convert river-route, version 2 or 3: a configuration, a folder, or the table of its network.",
    read=_read,
    find=_find,
    names=_names,
    patterns=("*.parquet", "*.yaml", "*.yml", "*.json", "*.npz", "qlateral*.nc", "*weight*.nc", "catchment_runoff*.nc"),
    products=("network", "runoff", "state", "discharge"),
    options=(
        ReaderOption("runoff_file", "Files of runoff, when SOURCE does not have or name them.", "file", several=True),
        ReaderOption("weights_file", "Weights of a grid that runoff is on, when SOURCE does not name them.", "file"),
        ReaderOption("state_file", "State to begin with, when SOURCE does not name it.", "file"),
        ReaderOption("discharge_file", "river-route's own discharge, when SOURCE does not have it.", "file", several=True),
        ReaderOption("variable", "Runoff variable.  [default: qlateral; version 3: catchment_runoff; of grids: ro]"),
        ReaderOption("units", "Units of runoff, when its file says none.  [default: version 2: m3]"),
        ReaderOption(
            "nan", "Cells of a grid that are NaN: an error, no water, or as the catchment's others.", choices=GRID_NAN,
            default="raise",
        ),
        ReaderOption("dt", "Runoff step (seconds, or e.g. 3h), for a state without runoff.", "step"),
        ReaderOption("dt_routing", "Routing step (seconds, or e.g. 15min), when no configuration tells."),
    ),
)
