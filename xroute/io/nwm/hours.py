"""Series of the National Water Model by feature: CHRTOUT files, a store of the retrospective, and tables of version 4.

Each source is one array (time, reach), whose features are matched with a network's reaches by id. Stores stay on disk; files of
an hour are read.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, some
from xroute.files.opening import PathLike, open_dataset, stored_chunks
from xroute.ids import exact_ids, positions_of, repeated
from xroute.io.common import concatenate, dataset_of, expand_paths, file_ids
from xroute.io.nwm.files import TABLES, find_files
from xroute.io.nwm.time_columns import read_columns
from xroute.stores import is_group
from xroute.wording import phrase

__all__ = ["read_hours"]

logger = logging.getLogger(__name__)

FEATURE = "feature_id"
VALID_TIME = "model_output_valid_time"
LARGEST = 2**29
"""Bytes of a chunk that holds all reaches."""
UNITS: tuple[list[str], ...] = ([], ["m3", "s-1"], ["m3", "s"])
"""How CHRTOUT and its like write m3 s-1, without signs."""


def read_hours(
    files: PathLike | Sequence[PathLike],
    network: Any,
    names: Sequence[str] | None,
    choose: Callable[[xr.Dataset, Path], list[str]],
    **columns: Any,
) -> xr.DataArray:
    """Read variables that are added up, of all files: (time, reach) [m3 s-1] with their own stamps.

    Parameters
    ----------
    files
        A file or a store, several, a glob pattern, or a folder.
    network
        Network or its Dataset, whose reaches and order are taken; None for the features of the first file.
    names
        Variables; None for those that ``choose`` takes of the first file.
    choose
        Called with a Dataset that was opened and its path.
    **columns
        For tables: ``start`` and ``dt``, where columns are counted, and what a time is, ``label``.

    Returns
    -------
    xarray.DataArray
        With ``source_variables`` and ``time_label`` among its attributes.
    """
    rivers = dataset_of(network)
    wanted = None if rivers is None else exact_ids(rivers["reach"].values, "network reach")
    paths, parts, chosen = _paths(files), [], None if names is None else list(names)
    label = columns.get("label")
    for path in paths:
        if path.suffix.lower() in TABLES:
            part = read_columns(path, **columns)
        else:
            with open_dataset(path) as dataset:
                if FEATURE not in dataset.variables:
                    raise XRouteError(f"{path} is not a CHRTOUT file: it has no {FEATURE}, but {some(dataset.variables)}")
                chosen = chosen or choose(dataset, path)
                part = _of(dataset, chosen, path, wanted)
            part.attrs["time_label"] = label or "end"
        _check_features(part["reach"].values, wanted, path)
        parts.append(_select_reaches(part, wanted))
    whole = concatenate(parts, paths, "time") if len(parts) > 1 else parts[0]
    whole.attrs = {
        "units": "m3 s-1",
        "source_variables": " + ".join(chosen or ["columns of times"]),
        "time_label": parts[0].attrs["time_label"],
    }
    return whole


def _select_reaches(array: xr.DataArray, wanted: NDArray[Any] | None) -> xr.DataArray:
    """Reaches of a network, in its order, by id; all that are wanted are there."""
    if wanted is None or np.array_equal(array["reach"].values, wanted):
        return array
    return array.isel(reach=positions_of(wanted, array["reach"].values))


def _paths(files: PathLike | Sequence[PathLike]) -> list[Path]:
    one = files if isinstance(files, str | os.PathLike) else files[0] if len(files) == 1 else None
    if one is not None and Path(one).is_dir():
        paths: list[Path] = find_files(one).get("forcing", [])
        if paths:
            return paths
        tables = sorted(path for path in Path(one).iterdir() if path.suffix.lower() in TABLES)
        if tables and not is_group(Path(one)):
            return tables
        if not is_group(Path(one)) and not any(is_group(path) for path in Path(one).glob("*.zarr")):
            raise FileNotFoundError(f"no CHRTOUT files: {one}")
    return expand_paths(files, "CHRTOUT")


def _of(dataset: xr.Dataset, names: Sequence[str], path: Path, wanted: NDArray[Any] | None) -> xr.DataArray:
    """Sum of variables of a file or store as (time, reach), with ids; of a store what is wanted alone, not read yet."""
    lazy = path.is_dir()
    features = file_ids(dataset[FEATURE], path)
    if lazy and wanted is not None:
        _check_features(features, wanted, path)
        at = positions_of(wanted, features)
    dim = dataset[FEATURE].dims[0]
    stamps = _stamps(dataset, path)
    total: xr.Variable | None = None
    for name in names:
        if name not in dataset.variables:
            raise XRouteError(f"{path} has no variable {name!r}; it has {some(dataset.data_vars)}")
        array = dataset[name]
        units = str(array.attrs.get("units", "")).replace("^", "").replace("/", " ").split()
        if units not in UNITS:
            raise XRouteError(f"{name} of {path} is in {array.attrs['units']!r}, not in m3 s-1")
        if "time" not in array.dims:
            array = array.expand_dims("time")
        if set(array.dims) != {"time", dim}:
            raise XRouteError(f"{name} of {path} has dimensions {some(array.dims)}, not time and {dim}")
        values = array.variable.transpose("time", dim)
        if not lazy:
            values = values.load()
        else:
            if wanted is not None:
                values = values[:, at]
            if importlib.util.find_spec("dask") is not None:
                values = values.chunk(_chunks(stored_chunks(array), values, dim))
            elif len(names) > 1:  # a sum that is not computed yet
                raise ImportError(f'adding up {" and ".join(names)} of {path} needs dask: pip install "xroute[io]"')
        total = values if total is None else total + values
    assert total is not None
    if len(stamps) != total.sizes["time"] or not stamps.size:
        raise TimeAxisError(f"{path} has {len(stamps)} times and {total.sizes['time']} fields of {' + '.join(names)}")
    total = total.copy(deep=False)
    total.dims = ("time", "reach")
    features = features if not lazy or wanted is None else wanted
    made = xr.DataArray(
        total,
        coords={
            "time": ("time", stamps, {"standard_name": "time"}),
            "reach": ("reach", features, {"cf_role": "timeseries_id", "long_name": "feature id"}),
        },
        name="runoff",
    )  # fmt: skip
    made.attrs = {"units": "m3 s-1"}
    return made


def _stamps(dataset: xr.Dataset, path: Path) -> NDArray[Any]:
    """Times of a file or store; of one that has none, as early ones have not, the valid time that it states."""
    if "time" in dataset.variables:
        return np.atleast_1d(dataset["time"].to_numpy())
    stated = dataset.attrs.get(VALID_TIME)
    if stated is None:
        return np.empty(0)
    try:
        return np.array([np.datetime64(str(stated).replace("_", "T"), "ns")])
    except ValueError as error:
        raise TimeAxisError(f"{VALID_TIME} of {path}, {stated!r}, is no date") from error


def _chunks(stored: Mapping[Hashable, int], values: xr.Variable, dim: Hashable) -> dict[Hashable, int]:
    """Chunks as long as those of the store, each with all reaches where that is not too large: then a store's are read once."""
    steps = stored.get("time", values.sizes["time"])
    if values.sizes[dim] * steps * values.dtype.itemsize <= LARGEST:
        return {"time": steps, dim: values.sizes[dim]}
    return {"time": steps, dim: stored.get(dim, values.sizes[dim])}


def _check_features(features: NDArray[Any], wanted: NDArray[Any] | None, path: Path) -> None:
    twice = repeated(features)
    if twice.size:
        raise AlignmentError(f"duplicate feature ids in {path}: {some(twice)}")
    if wanted is None:
        return
    missing = wanted[positions_of(wanted, features) < 0]
    if missing.size:
        raise AlignmentError(
            f"{missing.size} of the {wanted.size} reaches of the network are not in {path}: {some(missing)}; "
            + ("no id is in both: is this the file's network?" if missing.size == wanted.size
               else phrase("part", 'take a part of the network, or read without network= and route with missing="zero"'))
        )
    if features.size > wanted.size:
        logger.info("%d features of %s are not in the network and are left out", features.size - wanted.size, path)
