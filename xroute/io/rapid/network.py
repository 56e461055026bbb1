"""A RAPID network, from its folder or its files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import NetworkError, XRouteError
from xroute.files.opening import PathLike
from xroute.io.rapid.coordinates import add_places, find_coordinates, points_of
from xroute.io.rapid.folder import PATTERNS, find_files, find_namelist
from xroute.io.rapid.namelist import read_namelist
from xroute.io.rapid.regions import Region, assemble, recipe_attrs, rows_to_route
from xroute.io.rapid.tables import read_connectivity, read_floats, read_ids
from xroute.wording import argument

__all__ = ["read_network"]

logger = logging.getLogger(__name__)


def read_network(
    folder_or_connect: PathLike | Sequence[PathLike],
    k: PathLike | None = None,
    x: PathLike | None = None,
    basin_ids: PathLike | None = None,
    *,
    namelist: PathLike | None = None,
    coordinates: PathLike | None = None,
    routing_step: Any = None,
) -> xr.Dataset:
    """Read a RAPID network.

    Parameters
    ----------
    folder_or_connect
        A folder with ``rapid_connect.csv``, ``k.csv``, ``x.csv`` and, when there, ``riv_bas_id.csv``, under these names or
        those of its namelist; or the connectivity file itself; or a list of folders, one a region. Regions are
        concatenated, and links from one to another are kept.
    k, x
        Muskingum parameters [s, 1], one a row of the connectivity file and in its order. With a connectivity file and
        neither of the two, the topology alone is read.
    basin_ids
        The ids to route, in the wanted order. Reaches not listed are left out.
    namelist
        RAPID's namelist; by default the one that lies beside the connectivity file.
    coordinates
        Table of id, longitude, latitude; by default ``coords*.csv`` of the folder, or else what the runoff or discharge
        file in it says.
    routing_step
        RAPID's routing step (ZS_dtR): seconds, or text like ``"15min"``; by default the namelist's.

    Returns
    -------
    xarray.Dataset
        On ``reach`` (int64 ids): ``downstream`` (-1 at outlets), ``downstream_id`` (the file's own value, which may be
        0, -1 or an id that is not in the file), ``k``, ``x``, ``connect_row`` (row in the connectivity file) and, with
        several regions, ``region``; ``lon`` and ``lat`` where they are known. Attributes count the outlets and the
        downstream ids that are not routed, and hold how RAPID routes (`xroute.recipe`): ``sampling``, ``lateral``,
        ``routing_step`` and ``runoff_step`` [s].

    Raises
    ------
    NetworkError
        Duplicate ids, unknown ids in ``basin_ids``, lengths that differ, files that are missing or not readable as ids,
        and upstream columns that contradict the downstream column.

    Warns
    -----
    UserWarning
        When reaches that are routed lie downstream of reaches that are not, so that water is missing from them.
    """
    given = {"k": k, "x": x, "basin_ids": basin_ids, "namelist": namelist, "coordinates": coordinates}
    chosen = {role: Path(path) for role, path in given.items() if path is not None}
    if isinstance(folder_or_connect, Sequence) and not isinstance(folder_or_connect, str):
        if chosen:
            raise NetworkError(
                f"{', '.join(chosen)} go with one connectivity file or folder; several regions are given as folders"
            )
        regions = [_region_files(folder) for folder in folder_or_connect]
        if not regions:
            raise NetworkError("no RAPID folder given")
    else:
        regions = [_region_files(folder_or_connect, chosen) | chosen]
    network = assemble([_read_region(files) for files in regions], "RAPID")
    if "scheme" in network.attrs:
        namelists = [files.get("namelist") for files in regions]
        stated = [{} if file is None else read_namelist(file) for file in namelists]
        network.attrs.update(recipe_attrs(stated, routing_step, ("ZS_dtR", "ZS_TauR"), namelists))
    found = [points_of(f.get("coordinates"), (f.get("discharge"), f.get("runoff"))) for f in regions]
    placed = [points for points in found if points is not None]
    return add_places(network, [points for points, _ in placed], [file for _, file in placed]) if placed else network


def _region_files(folder_or_connect: PathLike, chosen: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """Files of one region, from its folder or its connectivity file."""
    path = Path(folder_or_connect)
    if path.is_file():
        files = {"connect": path}
        if "namelist" not in (chosen or {}):
            try:
                beside = find_namelist(path.parent)
            except XRouteError as error:  # files named one by one may lie among any others
                beside = None
                logger.warning("no namelist is read: %s", error)
            files |= {} if beside is None else {"namelist": beside}
        return files
    if not path.exists():
        raise FileNotFoundError(f"no RAPID folder or connectivity file {path}")
    files = find_files(path, (chosen or {}).get("namelist"))
    table = find_coordinates(path)
    files |= {} if table is None else {"coordinates": table}
    for role in ("connect", "k", "x"):
        if role not in files and role not in (chosen or {}):
            raise NetworkError(
                f"no {' or '.join(PATTERNS[role])} in {path}, and no namelist that names it; name the files: "
                f"{argument('k')}, {argument('x')} and {argument('basin_ids')}, beside the connectivity file"
            )
    return files


def _read_region(files: Mapping[str, Path]) -> Region:
    """Tables of one region."""
    connect = read_connectivity(files["connect"])
    values = {}
    for name in ("k", "x"):
        if name in files:
            values[name] = read_floats(files[name])
            if values[name].size != connect.ids.size:
                raise NetworkError(
                    f"{files[name]} has {values[name].size} values and {files['connect']} has {connect.ids.size} rows; "
                    f"they must be of the same length and order"
                )
    rows = np.arange(connect.ids.size)
    if "basin_ids" in files:
        rows = rows_to_route(read_ids(files["basin_ids"]), files["basin_ids"], connect.ids, files["connect"])
    return Region(
        files["connect"], connect.ids, connect.downstream, rows, connect.owner, connect.upstream, connect.declares, values
    )
