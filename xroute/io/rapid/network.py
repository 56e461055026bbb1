"""A RAPID network, from its folder or its files: regions are joined and checked, and what is left out is reported."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, XRouteError, some, warn
from xroute.files.opening import PathLike
from xroute.ids import distinct, within
from xroute.io.rapid.coordinates import add_places, find_coordinates, points_of
from xroute.io.rapid.folder import PATTERNS, find_files, find_namelist, namelist_seconds, read_namelist
from xroute.io.rapid.tables import Connectivity, read_connectivity, read_floats, read_ids
from xroute.schemes import name_default_scheme
from xroute.times import seconds
from xroute.wording import argument

__all__ = ["Region", "assemble", "read_network", "recipe_attrs", "refuse_duplicates", "rows_to_route"]

logger = logging.getLogger(__name__)
OUTLET = -1


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

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid
    >>> folder = rapid_folder(tempfile.mkdtemp(), days=1)
    >>> network = rapid.read_network(folder)
    >>> network["k"].attrs["units"], network.attrs["routing_step"]
    ('s', 900.0)
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
    return Region(files["connect"], connect, rows, values)


@dataclass
class Region:
    """What the files of one region say, row by row of its connectivity file.

    Attributes
    ----------
    file
        The connectivity file.
    connect
        What it holds.
    rows : int64 [reach]
        Rows to route, in the wanted order.
    values : dict of float64 [row]
        ``k`` and ``x``, where they were read.
    """

    file: Path
    connect: Connectivity
    rows: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def rows_to_route(wanted: NDArray[np.int64], file: Path, ids: NDArray[np.int64], connect: Path) -> NDArray[np.int64]:
    """Rows of the ids that a file lists, in its order."""
    duplicate = wanted[pd.Index(wanted).duplicated()]
    if duplicate.size:
        raise NetworkError(f"duplicate ids in {file}: {some(duplicate)}")
    refuse_duplicates([ids], [connect])
    rows = pd.Index(ids).get_indexer(pd.Index(wanted))
    if (rows < 0).any():
        raise NetworkError(f"{int((rows < 0).sum())} ids of {file} are not in {connect}: {some(wanted[rows < 0])}")
    return rows.astype(np.int64)


def assemble(regions: Sequence[Region], system: str) -> xr.Dataset:
    """Network Dataset of one or more regions; links from one to another are kept."""
    tables = [region.connect for region in regions]
    refuse_duplicates([table.ids for table in tables], [region.file for region in regions])
    all_ids = np.concatenate([table.ids for table in tables])
    all_downstream = np.concatenate([table.downstream for table in tables])
    if OUTLET in all_ids:
        raise NetworkError(f"{OUTLET} is an id in {regions[0].file}, but it marks outlets")
    declared = np.concatenate([np.stack([table.ids[table.owner], table.upstream]) for table in tables], axis=1)
    declares = np.concatenate([np.full(table.ids.size, table.declares) for table in tables])
    _check_upstream(all_ids, all_downstream, declared, declares)

    rows = np.concatenate([region.rows for region in regions])
    ids = np.concatenate([region.connect.ids[region.rows] for region in regions])
    file_downstream = np.concatenate([region.connect.downstream[region.rows] for region in regions])
    downstream = np.where(within(file_downstream, ids), file_downstream, OUTLET)
    left_out = ~within(all_ids, ids)
    listed = "riv_bas_id" if system == "RAPID" else "bas"
    _report_left_out(all_ids[left_out], all_downstream[left_out], declared, all_ids, ids, listed)

    unknown = distinct(file_downstream[(downstream == OUTLET) & (file_downstream > 0)])
    if unknown.size:
        logger.info("%d downstream ids are not routed, their reaches are outlets: %s", unknown.size, some(unknown))
    dataset = xr.Dataset(
        {
            "downstream": ("reach", downstream, {"long_name": "id of the reach downstream", "outlet": OUTLET}),
            "downstream_id": ("reach", file_downstream, {"long_name": "downstream id as it stands in the file"}),
            "connect_row": ("reach", rows, {"long_name": "row in the connectivity file, from 0"}),
        },
        coords={"reach": ("reach", ids, {"cf_role": "timeseries_id", "long_name": "reach id"})},
        attrs={
            "source": f"{system}: " + ", ".join(_short(region.file) for region in regions),
            "n_outlets": int((downstream == OUTLET).sum()),
            "n_downstream_ids_not_routed": int(unknown.size),
            "connect_rows": [int(table.ids.size) for table in tables],
        },
    )
    for name, attrs in (
        ("k", {"long_name": "Muskingum storage constant", "units": "s"}),
        ("x", {"long_name": "Muskingum weight", "units": "1"}),
    ):
        if all(name in region.values for region in regions):
            values = np.concatenate([region.values[name][region.rows] for region in regions])
            dataset[name] = ("reach", values, attrs)
    name_default_scheme(dataset)
    if len(regions) > 1:
        region_of = np.repeat(np.arange(len(regions)), [region.rows.size for region in regions])
        dataset["region"] = ("reach", region_of, {"long_name": "region, in the order given"})
    return dataset


def recipe_attrs(
    stated: Sequence[Mapping[str, Any]], given: Any, names: tuple[str, str], files: Sequence[Path | None]
) -> dict[str, Any]:
    """Attributes with which `xroute.recipe` routes as RAPID does.

    Parameters
    ----------
    stated
        Namelist of each region; empty where it has none.
    given
        Routing step as the user gave it, which wins.
    names
        What the namelist calls the routing step and the step of runoff [s].
    files
        The namelists, for messages.
    """
    attrs: dict[str, Any] = {}
    for name, attribute in zip(names, ("routing_step", "runoff_step"), strict=True):
        found: dict[float, Path | None] = {}
        for values, file in zip(stated, files, strict=True):
            step = namelist_seconds(values, name, file)
            if step is not None:
                found[step] = file
        if attribute == "routing_step" and given is not None:
            found = {seconds(given): None}
        if len(found) > 1:
            told = ", ".join(f"{stated_step:g} s in {file}" for stated_step, file in found.items())
            raise NetworkError(
                f"the regions have different steps, and are routed together: {name} is {told}"
                + (f"; {argument('routing_step')} gives one for all" if attribute == "routing_step" else "")
            )
        if found:
            attrs[attribute] = next(iter(found))
    if "routing_step" not in attrs:
        logger.warning(
            "no namelist says %s, so the routing step is not known, and a step of runoff is routed in one go; RAPID itself "
            "takes several: give %s", names[0], argument("routing_step"),
        )  # fmt: skip
    return {**attrs, "sampling": "start-mean", "lateral": "interval"}


def refuse_duplicates(ids: Sequence[NDArray[np.int64]], files: Sequence[Path]) -> None:
    """Refuse ids that stand twice, in a region or in two."""
    joined = pd.Index(np.concatenate(list(ids)))
    duplicate = joined[joined.duplicated()].unique()
    if len(duplicate):
        names = " and ".join(str(file) for file in files)
        raise NetworkError(f"{len(duplicate)} duplicate reach ids in {names}: {some(duplicate)}")


def _short(path: Path) -> str:
    """A file and its folder: enough to know it again, without where it lay on the machine."""
    return f"{path.resolve().parent.name}/{path.name}"


def _check_upstream(
    ids: NDArray[np.int64], downstream: NDArray[np.int64], declared: NDArray[np.int64], checked: NDArray[np.bool_]
) -> None:
    """Compare the links of the downstream column with those of the upstream columns, where a reach has the latter."""
    index = pd.Index(ids)
    n = np.int64(ids.size)
    target = index.get_indexer(pd.Index(downstream))
    linked = np.flatnonzero((target >= 0) & checked[target])
    by_downstream = target[linked] * n + linked
    owner, source = index.get_indexer(pd.Index(declared[0])), index.get_indexer(pd.Index(declared[1]))
    inside = source >= 0
    by_upstream = owner[inside] * n + source[inside]
    conflict = np.sort(np.concatenate([
        by_downstream[~within(by_downstream, by_upstream)], by_upstream[~within(by_upstream, by_downstream)],
    ]))  # fmt: skip
    if conflict.size:
        links = [f"{ids[key % n]} -> {ids[key // n]}" for key in conflict[:10]]
        raise NetworkError(
            f"the downstream column and the upstream columns contradict each other on {conflict.size} links: "
            f"{', '.join(links)}{', ...' if conflict.size > 10 else ''}; correct one of the two in rapid_connect.csv"
        )


def _report_left_out(
    ids: NDArray[np.int64],
    downstream: NDArray[np.int64],
    declared: NDArray[np.int64],
    all_ids: NDArray[np.int64],
    routed: NDArray[np.int64],
    listed: str,
) -> None:
    """Say how many reaches are left out, and warn when routed reaches lack their water."""
    if ids.size:
        logger.info("%d reaches are not in %s and are left out: %s", ids.size, listed, some(ids))
    feeding = ids[within(downstream, routed)]
    outside = declared[1][~within(declared[1], all_ids) & within(declared[0], routed)]
    if feeding.size or outside.size:
        lost = np.concatenate([feeding, outside])
        warn(
            f"{lost.size} reaches that are not routed drain into reaches that are; their water is missing: "
            f"{some(lost)}"
        )
