"""A whole run of t-route, as ``xroute convert troute`` reads it from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import NetworkError, XRouteError, some
from xroute.guards import reading
from xroute.ids import within
from xroute.io import nextgen, nwm
from xroute.io.nextgen.forcing import SHARES
from xroute.io.nwm.time_columns import ids_of_text
from xroute.io.reader import NothingToRead, Product, Reader, ReaderOption, Setup
from xroute.io.snapshot import snapshot_state
from xroute.io.troute.config import read_config
from xroute.io.troute.series import OUTPUTS, read_discharge
from xroute.settings import EXTRA, MISSING
from xroute.wording import argument

__all__ = ["READER"]

logger = logging.getLogger(__name__)

DEFAULTS = {"share": "area", "missing": "raise", "extra": "raise"}
"""How the water of nexuses comes to flowpaths, if nothing else is said."""
CONFIGURATIONS = ("*.yaml", "*.yml")


def _find(folder: Path, options: Mapping[str, Any]) -> dict[str, Path | Sequence[Path]]:
    try:
        found = read_config(folder)
    except (XRouteError, FileNotFoundError):
        return {}
    return {part: value for part, value in found.items() if isinstance(value, Path | list)}


def _read(
    sources: Sequence[Path],
    wanted: Sequence[Product],
    /,
    *,
    forcing: Sequence[Path] = (),
    discharge_file: Sequence[Path] = (),
    state_file: Path | None = None,
    variable: Sequence[str] = (),
    **shared: Any,
) -> Setup:
    if len(sources) > 1:
        raise NothingToRead(f"a run of t-route has one configuration, and {len(sources)} sources are given")
    found = read_config(sources[0])
    network, is_nextgen = _network(found), found["network"].suffix.lower() == ".gpkg"
    runoff: xr.DataArray | None = None
    places = list(forcing) or found.get("forcing", [])
    if "runoff" in wanted:
        if not places:
            raise NothingToRead(f"{sources[0]} names no forcing (qlat_input_folder): {argument('forcing')}")
        if is_nextgen:
            runoff = nextgen.read_runoff(places, network, **shared)
        else:
            _refuse_choices(shared, found["network"])
            runoff = nwm.read_runoff(places, network, variable=list(variable) or None)
    state = None
    if "state" in wanted:
        file = state_file or found.get("state")
        if file is None:
            raise NothingToRead(f"{sources[0]} names no restart (wrf_hydro_channel_restart_file): {argument('state_file')}")
        state = snapshot_state(network, nwm.read_state(file, network), runoff, None)
    discharge = None
    if "discharge" in wanted:
        files = list(discharge_file) or found.get("discharge", [])
        if not files:
            raise NothingToRead(f"{sources[0]} names no folder that has output: {argument('discharge_file')}")
        discharge = read_discharge(files, network, start=found.get("start"), dt=found.get("dt")).to_dataset()
    return Setup(network, None if runoff is None else runoff.to_dataset(), state, discharge)


def _refuse_choices(given: Mapping[str, Any], network: Path) -> None:
    """Refuse what only a hydrofabric has a use for; all links of a RouteLink must have a series of their own."""
    asked = [argument(name, value) for name, value in given.items() if value != DEFAULTS[name]]
    if asked:
        raise NothingToRead(f"{', '.join(asked)}: for a hydrofabric (GeoPackage), and this run is of {network}; leave it out")


def _network(found: Mapping[str, Any]) -> xr.Dataset:
    """The network that a configuration names, without what its mask leaves out."""
    if found["network"].suffix.lower() == ".gpkg":
        return nextgen.read_network(found["network"])
    network = nwm.read_network(found["network"])
    if "mask" not in found:
        return network
    with reading(found["mask"], "as a list of links"):
        kept = ids_of_text(np.array(found["mask"].read_text(encoding="utf-8").split(), object), f"links of {found['mask']}")
    if kept.dtype.kind != "i":
        raise NetworkError(f"{found['mask']} is a list of links, which are whole numbers, and not {some(kept, 3)}")
    ids = network["reach"].to_numpy()
    unknown = kept[~within(kept, ids)]
    if unknown.size:
        raise NetworkError(f"{unknown.size} links of the mask {found['mask']} are not in {found['network']}: {some(unknown)}")
    part = network.isel(reach=np.flatnonzero(within(ids, kept)))
    outside = ~within(part["downstream"].to_numpy(), part["reach"].to_numpy())
    part["downstream"] = part["downstream"].where(~outside, 0)
    logger.info("the mask %s leaves %d of %d links", found["mask"].name, part.sizes["reach"], ids.size)
    return part.assign_attrs(n_outlets=int(outside.sum()))


READER = Reader(
    "Convert a run of t-route: its configuration (YAML), or the folder that holds it.",
    read=_read,
    find=_find,
    patterns=(*CONFIGURATIONS, *OUTPUTS),
    products=("network", "runoff", "state", "discharge"),
    options=(
        ReaderOption("forcing", "Files or folder of forcing, when not those of the configuration.", "file", several=True),
        ReaderOption("variable", "Forcing variable of CHRTOUT; several are added up.", several=True),
        ReaderOption("share", "How flowpaths share their nexus.", choices=SHARES, default=DEFAULTS["share"]),
        ReaderOption("missing", "Nexuses without a series.", choices=MISSING, default=DEFAULTS["missing"]),
        ReaderOption("extra", "Series of other nexuses, which t-route leaves out.", choices=EXTRA, default=DEFAULTS["extra"]),
        ReaderOption("state_file", "Restart (HYDRO_RST), when not that of the configuration.", "file"),
        ReaderOption("discharge_file", "What t-route wrote, when not where the configuration says.", "file", several=True),
    ),
    reads_beside=lambda options: True,
)
