"""What the readers of series have in common: which files, which variables, ids and times over several files, gaps.

`open_runoff` opens runoff for the command line; `expand_paths` and `concatenate` serve the readers of other systems' files
as well. Nothing is read here but labels, and the first and the last record, to tell of records that were never written.
"""

from __future__ import annotations

import glob
import importlib.util
import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.accumulations import is_lead, says_in_words
from xroute.exceptions import AlignmentError, TimeAxisError, UnitsError, XRouteError, some, warn
from xroute.files.decoding import DEFAULT_FILL, is_id_name
from xroute.files.opening import PathLike, open_dataset
from xroute.grid_axes import grid_dims
from xroute.ids import declared_fills, exact_ids, is_positional, positions_of, repeated, within
from xroute.stores import is_group
from xroute.time_dims import find_time_dim
from xroute.times import with_bounds
from xroute.units import flux_in_si
from xroute.wording import argument

__all__ = ["check_same_units", "concatenate", "dataset_of", "expand_paths", "file_ids", "open_runoff"]

SAMPLE = 64
"""Entries of each dimension that are looked at, of records that may never have been written."""
_NETCDF = (".nc", ".nc4", ".netcdf", ".cdf")


def expand_paths(paths: PathLike | Sequence[PathLike], what: str = "runoff") -> list[Path]:
    """Files and Zarr stores that paths mean: a folder its netCDF files and stores, a pattern what fits it, by name."""
    found: list[Path] = []
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    for path in given:
        target = Path(path)
        if target.is_dir() and not is_group(target):
            inside = sorted(p for p in target.iterdir() if p.suffix.lower() in _NETCDF or (p.is_dir() and is_group(p)))
            if not inside:
                raise XRouteError(
                    f"{path} is a folder without netCDF files or Zarr stores ({', '.join(_NETCDF)}, .zarr)"
                )
            found += inside
        elif target.exists():
            found.append(target)
        else:
            fitting = sorted(Path(match) for match in glob.glob(os.fspath(path)))
            if not fitting:
                raise FileNotFoundError(f"no {what} files: {path}")
            found += fitting
    if not found:
        raise FileNotFoundError(f"no {what} files are given")
    twice = sorted({str(path) for path in found if found.count(path) > 1})
    if twice:
        raise XRouteError(f"{what} files are named twice: {some(twice)}. Each is read once: leave one out")
    return found


def open_runoff(
    paths: PathLike | Sequence[PathLike],
    variables: str | Sequence[str] | None = None,
    *,
    reach_dim: Hashable | None = None,
    time_dim: Hashable | None = None,
    bounds: bool = True,
) -> xr.DataArray:
    """Open runoff from one file or several, lazily.

    Parameters
    ----------
    paths
        A netCDF file or a Zarr store, a glob pattern, a folder of them, or several of these. Several files follow one
        another in time, in whatever order they are given; each may have its reaches in an order of its own.
    variables
        Name of the variable, or several that are added up. By default ``runoff``, or the only one that could be.
    reach_dim, time_dim
        Dimensions, where they cannot be told.
    bounds
        Whether to note what CF bounds say of the time stamps. Those of values that accumulate are not those of a series.

    Returns
    -------
    xarray.DataArray
        Runoff (time, reach, ...) as stored, in its own units and order of dimensions, with ids exact and what was never
        written missing (NaN). Of one file no Dask is needed; several are Dask arrays where it is installed, and are loaded
        where it is not. ``attrs["source_variables"]`` names variables that were added up.

    Raises
    ------
    XRouteError
        No such variable, or several that could be meant.
    UnitsError
        Variables or files whose units differ.
    TimeAxisError
        Files that hold the same times, or lie within one another.
    AlignmentError
        Files that hold different reaches.

    Examples
    --------
    >>> import tempfile, xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> folder = tempfile.mkdtemp()
    >>> for day in range(2):
    ...     ds.isel(time=slice(24 * day, 24 * (day + 1))).to_netcdf(f"{folder}/day_{day}.nc")
    >>> xroute.io.open_runoff(f"{folder}/day_*.nc").sizes["time"]
    48
    """
    files = expand_paths(paths)
    names = [variables] if isinstance(variables, str) else list(variables or ())
    if len(set(names)) < len(names):
        raise XRouteError(f"a variable is named twice, and would be added to itself: {some(names)}")
    arrays = []
    for file in files:
        dataset = open_dataset(file)
        names = names or [_only_variable(dataset, file)]
        array = _sum(dataset, names, file, time_dim, bounds)
        if "time" in array.coords and array["time"].ndim == 0 and not any(is_lead(array, d) for d in array.dims):
            array = array.expand_dims("time")  # of one time; beside leads it is when the forecast was made
        arrays.append(array)
    if len(arrays) > 1:
        array = concatenate(arrays, files, find_time_dim(arrays[0], time_dim))
    else:
        array = arrays[0]
    _warn_of_never_written(array, files, time_dim)
    return array


def file_ids(variable: xr.DataArray, file: PathLike, error: type[XRouteError] = AlignmentError) -> NDArray[Any]:
    """Ids of a file's variable, exact (int64 or str); an entry that is a declared fill value is an error."""
    values = variable.to_numpy()
    if values.dtype.kind == "i" and str(variable.attrs.get("_Unsigned", "")).lower() == "true":
        values = values.view(f"u{values.dtype.itemsize}")
    return exact_ids(values, f"{variable.name} of {file}", error, fills=declared_fills(variable))


def concatenate(arrays: Sequence[xr.DataArray], files: Sequence[PathLike], time_dim: Hashable) -> xr.DataArray:
    """Series of several files as one: in the order of time, the reaches in the order of the first file."""
    for array, file in zip(arrays, files, strict=True):
        if time_dim not in array.dims or time_dim not in array.coords or not array.sizes[time_dim]:
            raise TimeAxisError(f"{file} has no times on {time_dim!r}, so its place among the files cannot be told")
    first = arrays[0]
    for array, file in zip(arrays[1:], files[1:], strict=True):
        if set(array.dims) != set(first.dims):
            raise AlignmentError(f"{file} has dimensions {some(array.dims)}, and {files[0]} {some(first.dims)}")
        for key, error in (("units", UnitsError), ("time_label", TimeAxisError)):
            if array.attrs.get(key) != first.attrs.get(key):
                raise error(
                    f"{key} of {file} are {array.attrs.get(key)!r}, and of {files[0]} {first.attrs.get(key)!r}: "
                    "make them the same before they are joined"
                )
    placed = [first]
    for array, file in zip(arrays[1:], files[1:], strict=True):
        array = array.transpose(*first.dims)
        for dim in first.dims:
            if dim != time_dim:
                array = _in_order_of(array, first, dim, file, files[0])
        placed.append(array)
    try:
        order = sorted(range(len(placed)), key=lambda k: placed[k][time_dim].values[0])
    except TypeError as problem:
        raise TimeAxisError(f"the times of the files are of different calendars or kinds: {problem}") from problem
    for a, b in zip(order, order[1:], strict=False):
        _check_follows(placed[a][time_dim].values, placed[b][time_dim].values, files[a], files[b])
    if any(array.chunks is not None for array in placed) or not _in_memory(placed):
        if importlib.util.find_spec("dask") is None:
            placed = [array.load() for array in placed]
        else:
            placed = [array if array.chunks is not None else _chunked(array) for array in placed]
    whole = xr.concat(
        [_plain(placed[k], first, time_dim) for k in order], time_dim, coords="minimal", compat="override",
        join="override", combine_attrs="override",
    )  # fmt: skip
    return whole.transpose(*first.dims)


def dataset_of(network: Any) -> xr.Dataset | None:
    """Dataset of a Network, which may be given as its Dataset, or not at all."""
    return network if network is None or isinstance(network, xr.Dataset) else network.dataset


def _only_variable(dataset: xr.Dataset, file: Path) -> str:
    """The runoff variable of a file: called runoff, or the only one on time and reach."""
    bounds = {variable.attrs.get("bounds") for variable in dataset.variables.values()}
    candidates = [n for n, v in dataset.data_vars.items() if v.ndim > 1 and v.dtype.kind in "fiu" and n not in bounds]
    if "runoff" in candidates or not candidates and "runoff" in dataset.data_vars:
        return "runoff"
    if len(candidates) == 1:
        return str(candidates[0])
    what = (
        f"several variables ({some(candidates)})" if candidates else f"no variable on time and reach ({some(dataset)})"
    )
    raise XRouteError(f"{file} has {what}; name the runoff: {argument('variables')} (several are added up)")


def _sum(
    dataset: xr.Dataset, names: Sequence[str], file: Path, time_dim: Hashable | None, bounds: bool
) -> xr.DataArray:
    """One variable of a file, or the sum of several of equal units, with the ids that stand beside it."""
    for name in names:
        if name not in dataset.data_vars:
            raise XRouteError(f"{file} has no variable {name!r}; it has {some(dataset.data_vars)}")
    parts = [_with_ids_beside(dataset, name, time_dim, bounds) for name in names]
    total = parts[0]
    for part, name in zip(parts[1:], names[1:], strict=True):
        if set(part.dims) != set(total.dims):
            raise AlignmentError(
                f"{name} of {file} has dimensions {some(part.dims)}, and {names[0]} {some(total.dims)}: they cannot be "
                "added up"
            )
        check_same_units(total.attrs.get("units"), part.attrs.get("units"), f"{names[0]} and {name} of {file}")
    if len(parts) == 1:
        return total
    if importlib.util.find_spec("dask") is not None:
        parts = [_chunked(part) for part in parts]
    attrs = {**total.attrs, "long_name": " + ".join(names), "source_variables": " + ".join(names)}
    if all(map(says_in_words, parts)):
        attrs["long_name"] = f"accumulated {attrs['long_name']}"  # still to be told, and refused
    attrs.pop("standard_name", None)
    encoding = {k: v for k, v in total.encoding.items() if k in ("preferred_chunks", "chunksizes", "_FillValue")}
    total = parts[0]
    for part in parts[1:]:
        total = total + part.transpose(*total.dims)
    total.attrs, total.encoding = attrs, encoding
    return total.rename("runoff")


def check_same_units(first: Any, second: Any, what: str) -> None:
    """Refuse to add up what is in different units.

    Raises
    ------
    UnitsError
        Naming both, unless they are two spellings of one volume flux.
    """
    a, b = (None if units is None else " ".join(str(units).split()) for units in (first, second))
    if a == b:
        return
    if a is not None and b is not None:
        try:
            if flux_in_si(a, what) == flux_in_si(b, what):
                return
        except UnitsError:  # of no flux: then they must be written alike
            pass
    raise UnitsError(f"{what} are in different units, {first!r} and {second!r}: convert one before they are added up")


def _with_ids_beside(dataset: xr.Dataset, name: str, time_dim: Hashable | None, bounds: bool) -> xr.DataArray:
    """A variable with the ids along its dimensions as coordinates, also where the file calls them data."""
    beside = [
        other
        for other, variable in dataset.data_vars.items()
        if variable.ndim == 1 and variable.dims[0] in dataset[name].dims and variable.dims[0] != other
        and variable.dtype.kind in "iuUSOT" and is_id_name(other, variable.variable)
    ]  # fmt: skip
    dataset = dataset.set_coords(beside)
    return with_bounds(dataset, name, time_dim) if bounds else dataset[name]


def _warn_of_never_written(array: xr.DataArray, files: Sequence[Path], time_dim: Hashable | None) -> None:
    """Warn, once, if the first or the last record holds the fill value that the netCDF library puts where nothing was."""
    default = DEFAULT_FILL.get(np.dtype(array.encoding.get("dtype", array.dtype)).str[1:])
    if default is None or array.encoding.get("_FillValue") != default or not array.size:
        return
    try:
        dim = find_time_dim(array, time_dim)
    except TimeAxisError:  # routing asks for it
        return
    ends = array.isel({dim: sorted({0, array.sizes[dim] - 1})})
    if grid_dims(array):  # some cells are sea
        missing = ends.isnull().all([d for d in array.dims if d != dim])
    else:  # what was never written is so on all reaches: a few will tell, of chunks that are read again for it
        missing = ends.isel({d: slice(0, SAMPLE) for d in array.dims if d != dim}).isnull()
    gaps = int(missing.sum())
    if gaps:
        warn(
            f"{array.name} of {_names(files)} holds records that were never written (the netCDF library's fill value, "
            f"{default:.3g}; {gaps} values in the first and the last step). They count as missing: leave out what the "
            "model did not write, or let it end its run"
        )


def _names(files: Sequence[PathLike]) -> str:
    return ", ".join(map(str, files[:3])) + (f", ... ({len(files)} files)" if len(files) > 3 else "")


def _in_memory(arrays: Sequence[xr.DataArray]) -> bool:
    return all(array.variable._in_memory for array in arrays)


def _chunked(array: xr.DataArray) -> xr.DataArray:
    """An array on Dask, in the chunks of its file."""
    if array.chunks is not None:
        return array
    own = {d: n for d, n in (array.encoding.get("preferred_chunks") or {}).items() if d in array.dims}
    return array.copy(deep=False, data=array.variable.chunk(own).data)


def _plain(array: xr.DataArray, first: xr.DataArray, time_dim: Hashable) -> xr.DataArray:
    """An array with the coordinates that all files share: those along time, and those of the first that are the same."""
    other = [
        name
        for name, coordinate in array.coords.items()
        if time_dim not in coordinate.dims and (name not in first.coords or not coordinate.equals(first[name]))
    ]
    lacking = [n for n, c in array.coords.items() if time_dim in c.dims and n != time_dim and n not in first.coords]
    return array.drop_vars([*other, *lacking])


def _check_follows(before: NDArray[Any], after: NDArray[Any], file: PathLike, next_file: PathLike) -> None:
    shared = sorted(set(before.tolist()) & set(after.tolist())) if before[-1] >= after[0] else []
    if shared:
        same = before[np.isin(before, after)][0] if before.dtype.kind != "O" else shared[0]
        raise TimeAxisError(
            f"time {same} is in {file} and in {next_file} ({len(shared)} times are in both): leave one out, or cut it"
        )
    if before[-1] > after[0]:
        raise TimeAxisError(
            f"{file} ({before[0]} to {before[-1]}) and {next_file} ({after[0]} to {after[-1]}) lie within one another"
        )


def _in_order_of(
    array: xr.DataArray, first: xr.DataArray, dim: Hashable, file: PathLike, first_file: PathLike
) -> xr.DataArray:
    """Rows of ``array`` along ``dim`` in the order of ``first``, by the ids that both bear."""
    names = [
        n
        for n, c in array.coords.items()
        if c.dims == (dim,)
        and c.dtype.kind in "iufUSOT"
        and n in first.coords
        and (n == dim or is_id_name(n, c.variable))
    ]
    if all(np.array_equal(array[n].values, first[n].values) for n in names) and array.sizes[dim] == first.sizes[dim]:
        return array
    beside = [n for n in names if n != dim and not is_positional(array[n].values)]
    by = beside[0] if beside else dim
    if by not in names:
        raise AlignmentError(
            f"{file} has {array.sizes[dim]} entries on {dim!r} without ids, {first_file} {first.sizes[dim]}"
        )
    here, there = (file_ids(a[by], f) for a, f in ((array, file), (first, first_file)))
    for ids, name in ((here, file), (there, first_file)):
        twice = repeated(ids)
        if twice.size:
            raise AlignmentError(f"duplicate {by} ids in {name}: {some(twice)}")
    if here.dtype.kind == there.dtype.kind:
        differing = np.sort(np.concatenate([here[~within(here, there)], there[~within(there, here)]]))
    else:
        differing = np.concatenate([here, there], dtype=str)
    if differing.size:
        raise AlignmentError(
            f"{file} and {first_file} hold different reaches: {differing.size} ids are in one of them only: {some(differing)}"
        )
    ordered = array.isel({dim: positions_of(there, here)})
    wrong = [n for n in beside if not np.array_equal(ordered[n].values, first[n].values)]
    if wrong:
        raise AlignmentError(
            f"{some([by, *wrong])} pair differently in {file} and in {first_file}: drop all but the ids"
        )
    return ordered
