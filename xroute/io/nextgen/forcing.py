"""What flows into the rivers of NextGen: by nexus (``nex-11223_output.csv``, ``*NEXOUT.csv``), or catchment (``cat-11223.csv``).

A nexus has the water of all catchments that drain to it, without saying which had how much. It is shared among the flowpaths that
end there, so that each carries its own share.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, one_of, some, warn
from xroute.files.opening import PathLike
from xroute.guards import reading
from xroute.ids import positions_of, repeated
from xroute.io.common import concatenate, dataset_of, expand_paths
from xroute.io.nextgen.network import nexus_of
from xroute.io.nwm.files import TABLES
from xroute.io.nwm.time_columns import digits_of, read_columns
from xroute.settings import EXTRA, MISSING, Extra, Label, Missing
from xroute.units import to_si
from xroute.wording import argument

__all__ = ["BY", "CATCHMENTS", "FLOW", "NEXUSES", "SHARES", "STEPS", "find_forcing", "read_runoff"]

logger = logging.getLogger(__name__)

By = Literal["nexus", "catchment"]
BY = ("nexus", "catchment")
SHARES = ("area", "equal", "last")
NEXUSES = ("nex-*_output.csv", "tnx-*_output.csv", "tnex-*_output.csv", "cnx-*_output.csv", "inx-*_output.csv")
STEPS = ("*NEXOUT.csv", "*NEXOUT.parquet", "*.CHRTOUT_DOMAIN*.csv")
CATCHMENTS = ("cat-*.csv",)
FLOW = "Q_OUT"


def find_forcing(folder: Path) -> dict[str, list[Path]]:
    """Files of inflow in a folder, by what they are of: ``nexus``, ``steps`` (nexuses, a file a step), ``catchment``."""
    found = {}
    for part, patterns in (("nexus", NEXUSES), ("steps", STEPS), ("catchment", CATCHMENTS)):
        files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
        if files:
            found[part] = files
    return found


def read_runoff(
    files: PathLike | Sequence[PathLike],
    network: Any,
    *,
    by: By | None = None,
    share: str = "area",
    variable: str = FLOW,
    units: str = "m",
    label: Label = "start",
    missing: Missing = "raise",
    extra: Extra = "raise",
) -> xr.DataArray:
    """Read the inflow of flowpaths.

    Parameters
    ----------
    files
        A folder of ngen's output, files of it, or a glob pattern: a CSV a nexus (``nex-11223_output.csv``: index, time, flow), a
        table of nexuses a step (``*NEXOUT.csv``, ``*NEXOUT.parquet``), or a CSV a catchment (``cat-11223.csv``).
    network
        Network of `read_network`, or its Dataset: the result takes its reaches in its order.
    by
        ``"nexus"`` or ``"catchment"``, where a folder has both. By default nexuses, which t-route takes.
    share
        How the water of a nexus is shared where several flowpaths end there: ``"area"``, by the network's ``area``, or equally
        where it has none; ``"equal"``; ``"last"``, all to the one that stands last in the network, as t-route does.
    variable, units
        Column of catchments, and its units: the depth of a step, if nothing else is said.
    label
        What a time is of its step. ngen writes its start.
    missing
        Nexuses or catchments of the network without a file: ``"raise"``, or ``"zero"`` for no water.
    extra
        Those that are not the network's: ``"raise"`` or ``"drop"``.

    Returns
    -------
    xarray.DataArray
        ``runoff`` (time, reach) [m3 s-1] of nexuses, and in ``units`` of catchments.

    Raises
    ------
    AlignmentError
        Files that do not fit the network, with ids.
    TimeAxisError
        Files with other times than the first.
    XRouteError
        No files, or files that hold something else.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import nextgen
    >>> folder = tempfile.mkdtemp()
    >>> made, ds = xroute.datasets.tutorial()
    >>> part = made.river.basin(made.reach[40].item())
    >>> nextgen.write_network(part, folder + "/basin.gpkg")
    >>> network = nextgen.read_network(folder)
    >>> inflow = ds.runoff.isel(time=slice(0, 3)).sel(reach=part.reach).assign_coords(reach=network.reach.values)
    >>> nextgen.write_runoff(inflow, folder, network)
    >>> runoff = nextgen.read_runoff(folder, network)
    >>> runoff.dims, runoff.attrs["units"], runoff.attrs["time_label"]
    (('time', 'reach'), 'm3 s-1', 'start')
    """
    one_of("share", share, SHARES)
    if by is not None:
        one_of("by", by, BY)
    kind, paths = _files(files, by)
    rivers = dataset_of(network)
    if rivers is None:
        raise AlignmentError("the network says which flowpath ends at which nexus: xroute.io.nextgen.read_network reads it")
    ids, nexus = nexus_of(rivers)
    if kind == "catchment":
        series = _by_feature(paths, lambda path: _catchment(path, variable))
        runoff = _of_catchments(series, ids, missing, extra).assign_attrs(units=units, source_variables=variable)
    else:
        series = _of_steps(paths, label) if kind == "steps" else _by_feature(paths, _nexus)
        runoff = _shared(series, ids, nexus, _weights(nexus, rivers, share), missing, extra).assign_attrs(units="m3 s-1")
    runoff.attrs |= {"long_name": "lateral inflow", "time_label": label}
    return runoff.rename("runoff")


def _files(files: PathLike | Sequence[PathLike], by: str | None) -> tuple[str, list[Path]]:
    """Which kind of files they are, and the files."""
    given = [files] if isinstance(files, str | os.PathLike) else list(files)
    if len(given) == 1 and Path(given[0]).is_dir():
        found = find_forcing(Path(given[0]))
        kinds = [kind for kind in found if by is None or (kind == "catchment") == (by == "catchment")]
        if not kinds:
            what = "nex-*_output.csv, *NEXOUT.csv or cat-*.csv" if by is None else f"files by {by}"
            raise FileNotFoundError(f"no {what} in {given[0]}")
        if len(kinds) > 1:
            logger.info("%s has series of %s: those of %s are read (%s)", given[0], ", ".join(kinds), kinds[0], argument("by"))
        return kinds[0], found[kinds[0]]
    paths = expand_paths(files, "forcing")
    kinds = sorted({_kind(path) for path in paths})
    if len(kinds) > 1:
        raise XRouteError(f"files are of {' and '.join(kinds)}: give those of one kind")
    if by is not None and (kinds[0] == "catchment") != (by == "catchment"):
        raise XRouteError(f"{argument('by', by)}, and the files are of {kinds[0]}")
    return kinds[0], paths


def _kind(path: Path) -> str:
    name = path.name.lower()
    if path.suffix.lower() not in TABLES:
        raise XRouteError(f"{path} is no table of nexuses or catchments ({', '.join(TABLES)})")
    if name.startswith("cat-"):
        return "catchment"
    return "nexus" if re.match(r"(nex|tnx|tnex|cnx|inx)-\d", name) else "steps"


def _nexus(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Times and flow [m3 s-1] of a nexus: index, time, flow, in general without a header."""
    with reading(path, "as a table"):
        with open(path, encoding="utf-8-sig") as stream:
            header = not re.match(r"\s*\d", stream.readline())
        table = pd.read_csv(path, header=None, skiprows=int(header), skipinitialspace=True)
    if table.shape[1] < 2:
        raise XRouteError(f"{path} has {table.shape[1]} columns, and a nexus has an index, a time and a flow")
    return _time_and_values(table.iloc[:, -2], table.iloc[:, -1], path)


def _catchment(path: Path, variable: str) -> tuple[NDArray[Any], NDArray[Any]]:
    with reading(path, "as a table"):
        table = pd.read_csv(path, skipinitialspace=True)
    table.columns = [str(column).strip() for column in table.columns]
    if "Time" not in table.columns or variable not in table.columns:
        raise XRouteError(
            f"{path} has no column {variable if 'Time' in table.columns else 'Time'!r}; it has {some(table.columns)}: name the "
            f"runoff, {argument('variable')}"
        )
    return _time_and_values(table["Time"], table[variable], path)


def _time_and_values(times: pd.Series, values: pd.Series, path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    if not pd.api.types.is_numeric_dtype(values.dtype):
        bad = pd.to_numeric(values, errors="coerce").isna() & values.notna()
        raise XRouteError(f"{path} holds what is no number: {some(values[bad].unique())}")
    try:
        stamps = pd.to_datetime(times.astype(str).str.strip(), format="ISO8601")
    except ValueError as error:
        raise TimeAxisError(f"{path} has times that are no dates: {error}") from error
    return stamps.to_numpy("datetime64[ns]"), values.to_numpy(np.float64)


def _by_feature(paths: Sequence[Path], read: Any) -> xr.DataArray:
    """Series of a file each, with the id that the file's name has: (time, reach)."""
    names = np.array([path.name.partition("_")[0].removesuffix(path.suffix) for path in paths])
    twice = repeated(names)
    if twice.size:
        raise AlignmentError(f"several files have the same id: {some(twice)}")
    first: NDArray[Any] | None = None
    columns = []
    for path in paths:
        times, values = read(path)
        if not times.size:
            raise TimeAxisError(f"{path} is empty")
        if first is None:
            first = times
        elif not np.array_equal(times, first):
            differing = f"{len(times)} times from {times[0]}" if len(times) != len(first) else f"{times[(times != first)][0]}"
            raise TimeAxisError(f"the times of {path} are not those of {paths[0]} ({len(first)} from {first[0]}): {differing}")
        columns.append(values)
    assert first is not None
    coords = {"time": ("time", first, {"standard_name": "time"}), "reach": names}
    return xr.DataArray(np.stack(columns, axis=1), dims=("time", "reach"), coords=coords)


def _of_steps(paths: Sequence[Path], label: str) -> xr.DataArray:
    parts = [read_columns(path, label=label) for path in paths]
    if len({part["reach"].dtype.kind for part in parts}) > 1:  # nex-9 in one file, and 9 in another
        parts = [part.assign_coords(reach=np.array(digits_of(part["reach"].values))) for part in parts]
    for part, path in zip(parts, paths, strict=True):
        twice = repeated(part["reach"].values)
        if twice.size:
            raise AlignmentError(f"duplicate ids in {path}: {some(twice)}")
    return concatenate(parts, paths, "time") if len(parts) > 1 else parts[0]


def _places(wanted: NDArray[Any], found: NDArray[Any], what: str, missing: str, extra: str) -> NDArray[np.int64]:
    """Where each wanted id stands among those found, by the whole id, or else by its number; -1 for none."""
    one_of("missing", missing, MISSING, AlignmentError)
    one_of("extra", extra, EXTRA, AlignmentError)
    found = found.astype(str)
    at = positions_of(wanted, found)
    if (at < 0).all():
        numbers = np.array(digits_of(found))
        twice = repeated(numbers), repeated(np.array(digits_of(np.unique(wanted))))
        if any(one.size for one in twice):
            raise AlignmentError(f"{what} of several prefixes have the same numbers: {some(np.concatenate(twice))}")
        at = positions_of(np.array(digits_of(wanted)), numbers)
    lacking, left = wanted[at < 0], np.setdiff1d(np.arange(found.size), at)
    if lacking.size == wanted.size:
        raise AlignmentError(f"no {what} is both in the network ({some(wanted, 3)}) and in the files ({some(found, 3)})")
    if lacking.size and missing == "raise":
        raise AlignmentError(
            f"{np.unique(lacking).size} {what} of the network have no series: {some(np.unique(lacking))}. "
            f"{argument('missing', 'zero')} takes them to have no water"
        )
    if left.size and extra == "raise":
        raise AlignmentError(
            f"{left.size} {what} of the files are not in the network: {some(found[left])}. {argument('extra', 'drop')} leaves "
            "them out"
        )
    return at


def _of_catchments(series: xr.DataArray, ids: NDArray[Any], missing: str, extra: str) -> xr.DataArray:
    """Series of catchments on the flowpaths of the same number."""
    numbers = np.array(digits_of(ids))
    at = _places(np.char.add("cat-", numbers), series["reach"].values, "catchments", missing, extra)
    return _laid_out(series, np.where(at >= 0, series.to_numpy()[:, at], 0.0), ids)


def _shared(
    series: xr.DataArray, ids: NDArray[Any], nexus: NDArray[Any], weights: NDArray[np.float64], missing: str, extra: str
) -> xr.DataArray:
    """Series of nexuses on the flowpaths that end there."""
    at = _places(nexus, series["reach"].values, "nexuses", missing, extra)
    return _laid_out(series, np.where((at >= 0) & (weights > 0), series.to_numpy()[:, at] * weights, 0.0), ids)


def _laid_out(series: xr.DataArray, values: NDArray[Any], ids: NDArray[Any]) -> xr.DataArray:
    coords = {"time": series["time"].variable, "reach": ("reach", ids, {"cf_role": "timeseries_id"})}
    return xr.DataArray(values, dims=("time", "reach"), coords=coords)


def _weights(nexus: NDArray[Any], rivers: xr.Dataset, share: str) -> NDArray[np.float64]:
    """What share of its nexus each flowpath has."""
    groups = pd.Series(nexus)
    size = groups.groupby(nexus).transform("size").to_numpy()
    if share == "last":
        return (~groups.duplicated(keep="last").to_numpy()).astype(np.float64)
    if share == "area" and (size > 1).any():
        if "area" in rivers.variables:
            area = pd.Series(to_si(rivers["area"], "m2", "'area'"))
            total = area.groupby(nexus).transform(lambda one: one.sum(skipna=False)).to_numpy()
            bad = (size > 1) & ~(np.isfinite(total) & (total > 0))
            if not bad.any():
                return np.where(size > 1, area.to_numpy() / np.where(total > 0, total, 1.0), 1.0)
            lacking = np.unique(nexus[bad])
            warn(f"areas are lacking at {lacking.size} nexuses, whose water their flowpaths share equally: {some(lacking)}")
            return np.where(bad | (size == 1), 1.0 / size, area.to_numpy() / np.where(total > 0, total, 1.0))
        logger.info("the network has no 'area': the water of %d nexuses is shared equally", np.unique(nexus[size > 1]).size)
    return 1.0 / size
